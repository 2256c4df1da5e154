"""Bar 2: every real clip beside the project goes through the whole product with its frames, times, size and sound."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import pytest

CLIPS = Path(__file__).resolve().parents[3] / "shared" / "clips"
NAMES = [
    "dog_audio.mp4",
    "juggle_portrait.mp4",
    "bottle_vfr.mp4",
    "cuts_join.mp4",
    "cars_500x282.mp4",
    "sign_fullrange.mkv",
]
FAST = ("num_inference_steps=1", "working_size=64", "deflicker.window=1", "deflicker.steps=[1.0]")


@pytest.mark.parametrize("name", NAMES)
def test_frames_times_size_and_sound_of_a_real_clip_survive(
    name: str, run: Callable[..., tuple[int, dict[str, Any]]]
) -> None:
    source = CLIPS / name
    if not source.exists():
        pytest.skip(f"{source} is not here; real clips are no part of the repository")
    code, result = run(str(source), *(word for setting in FAST for word in ("--set", setting)))
    assert (code, result["status"]) == (0, "completed")
    [output] = result["outputs"]
    before, after = facts(source), facts(Path(output["uri"]))
    assert output["frames"] == len(before["times"]) == len(after["times"])
    # everything may move together (a container without negative times), nothing against anything else
    shift = after["times"][0] - before["times"][0]
    assert max(abs(b - a - shift) for a, b in zip(before["times"], after["times"], strict=True)) <= 0.001
    assert after["size"] == before["size"] == (output["width"], output["height"])
    assert after["sound"] == before["sound"]
    if before["sound_start"] is not None:
        assert abs(after["sound_start"] - before["sound_start"] - shift) <= 0.001


def facts(path: Path) -> dict[str, Any]:
    with av.open(str(path)) as container:
        stream = container.streams.best("video")
        frames = list(container.decode(stream))
        times = [float(f.pts * f.time_base) for f in frames]
        size = (frames[0].width, frames[0].height)
    sound: list[bytes] = []
    start = None
    with av.open(str(path)) as container:
        if container.streams.audio:
            packets = [p for p in container.demux(container.streams.audio[0]) if p.size]
            sound = [bytes(p) for p in packets]
            start = float(packets[0].pts * packets[0].time_base)
    return {"times": times, "size": size, "sound": sound, "sound_start": start}
