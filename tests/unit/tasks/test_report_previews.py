"""Previews: playable H.264, small enough, all alike."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
import pytest

from configs.errors import ConfigError
from tasks.previews import LADDER, preview_mp4, previews_within

Frame = np.ndarray[Any, np.dtype[np.uint8]]


def noise(frames: int, height: int, width: int, seed: int = 0) -> Iterator[Frame]:
    rng = np.random.default_rng(seed)
    for _ in range(frames):
        yield rng.integers(0, 255, (height, width, 3), dtype=np.uint8)


def facts(clip: bytes) -> tuple[str, int, int, int, str]:
    with av.open(io.BytesIO(clip)) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        return stream.codec_context.name, stream.width, stream.height, frames, str(stream.format.name)


@pytest.mark.parametrize(
    ("height", "width", "shown"),
    [(90, 160, (160, 90)), (281, 499, (480, 270)), (600, 200, (160, 480)), (31, 33, (32, 32)), (1, 500, (480, 2))],
)
def test_a_preview_is_h264_with_even_sides_within_the_limit(height: int, width: int, shown: tuple[int, int]) -> None:
    codec, *size, frames, pixels = facts(preview_mp4(noise(3, height, width), 25))
    assert (codec, tuple(size), frames, pixels) == ("h264", shown, 3, "yuv420p")


def test_an_odd_rate_is_kept() -> None:
    with av.open(io.BytesIO(preview_mp4(noise(5, 32, 32), 30000 / 1001))) as container:
        assert float(container.streams.video[0].average_rate) == pytest.approx(29.97, abs=0.01)


def test_no_frame_and_a_change_of_size_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one frame"):
        preview_mp4(iter(()), 25)
    with pytest.raises(ConfigError, match=r"all frames of a preview must be \(32, 32, 3\), got \(16, 32, 3\)"):
        preview_mp4([*noise(1, 32, 32), *noise(1, 16, 32)], 25)


@pytest.mark.parametrize("limit", [1_000_000, 60_000, 3_000])
def test_all_clips_together_stay_below_the_limit_and_alike(limit: int) -> None:
    clips = {name: lambda seed=seed: noise(8, 64, 96, seed) for seed, name in enumerate(("source", "result"))}
    found = previews_within(clips, 24, limit)
    assert set(found.clips) == {"source", "result"}
    assert sum(-(-len(clip) // 3) * 4 for clip in found.clips.values()) <= limit or limit < 5_000
    assert len({facts(clip)[1:4] for clip in found.clips.values()}) == 1, "no clip beside a longer or larger one"
    assert found.fps == 24 / found.every


def test_quality_is_given_up_only_when_it_must_be() -> None:
    clips = {"a": lambda: noise(4, 64, 96)}
    assert previews_within(clips, 24, 1e7).clips["a"] == preview_mp4(noise(4, 64, 96), 24, *LADDER[0][:2])
    assert len(previews_within(clips, 24, 30_000).clips["a"]) * 4 / 3 <= 30_000
