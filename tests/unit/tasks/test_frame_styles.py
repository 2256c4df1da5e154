"""What is previewed is what the job gives: every style on one frame, by the stages of the job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from configs.errors import ConfigError
from configs.job import RestyleJob
from tasks.engine.pool import EnginePool
from tasks.frame_styles import StyledFrames, single_frame_job, style_frame
from tasks.pipeline import restyle_video
from tasks.rendered import rendered_frames
from tasks.run import Progress, Run
from tasks.store import Store

FRAMES = 12
STYLES = ("oil", "sketch", "neon")


def clip(path: Path, height: int, width: int) -> str:
    rng = np.random.default_rng(1)
    big = rng.integers(0, 255, (height, width + FRAMES, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for n in range(FRAMES):
            picture = np.ascontiguousarray(big[:, n : n + width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


def job(**changes: Any) -> RestyleJob:
    values = {"style": "oil", "prompt": "a car", "model": {"path": "dry"}, "num_inference_steps": 3}
    values |= {"guidance_scale": 2.0, "working_size": 64, "window": {"size": 4}, "deflicker": {"window": 2}}
    return RestyleJob.model_validate({**values, **changes})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), workers=0)


@pytest.fixture
def engines(store: Store) -> Iterator[EnginePool]:
    with EnginePool(store.url, 0, "cpu", lanes=1) as pool:
        yield pool


@pytest.fixture
def previewed(store: Store, engines: EnginePool) -> Callable[..., StyledFrames]:
    def preview(uri: str, frame: int, made: RestyleJob, **more: Any) -> StyledFrames:
        return style_frame(Run(made, uri, store, engines, **more), frame, STYLES)

    return preview


def job_frames(made: RestyleJob, uri: str, store: Store, engines: EnginePool, out: Path) -> list[Any]:
    result = restyle_video(Run(made.model_copy(update={"out": str(out)}), uri, store, engines))
    refs = [s for s in result.stages if s.stage == "denoise"]
    (manifest,) = store.find(refs[0].key)
    return list(rendered_frames(store, [store.ref(manifest, "reused", 0.0)]))


@pytest.mark.parametrize("start", ["noise", "noised", "inverted"])
@pytest.mark.parametrize("frame", [0, 7])
def test_a_preview_is_the_job_of_that_frame_bit_for_bit(
    previewed: Any, store: Store, engines: EnginePool, tmp_path: Path, start: str, frame: int
) -> None:
    uri = clip(tmp_path / "c.mkv", 48, 64)
    made = job(start=start)
    found = previewed(uri, frame, made)
    alone = {"input": {"frames": (frame, frame + 1)}, "window": {"size": 1}, "deflicker": {"enabled": False}}
    own = job(start=start, attention={"pattern": ("0",)}, **alone)
    (expected,) = job_frames(own, uri, store, engines, tmp_path / "out")
    assert np.array_equal(found.styled[0].picture, expected)
    assert found.frame == frame


def test_the_first_frame_is_that_of_the_whole_job_before_the_deflicker(
    previewed: Any, store: Store, engines: EnginePool, tmp_path: Path
) -> None:
    """Window size and pattern are what the preview changes; they move no picture by more than rounding."""
    uri = clip(tmp_path / "c.mkv", 48, 64)
    found = previewed(uri, 0, job())
    expected = job_frames(job(deflicker={"enabled": False}), uri, store, engines, tmp_path / "out")
    difference = np.abs(found.styled[0].picture.astype(int) - expected[0])
    assert difference.max() <= 1
    assert np.abs(found.styled[0].picture.astype(int) - expected[5]).max() > 10, "and not that of any frame"


@pytest.mark.parametrize(("height", "width", "expected"), [(128, 72, (64, 32)), (47, 61, (40, 56)), (16, 200, (8, 64))])
def test_portrait_and_odd_sizes_have_the_working_size_of_the_job(
    previewed: Any, tmp_path: Path, height: int, width: int, expected: tuple[int, int]
) -> None:
    found = previewed(clip(tmp_path / "c.mkv", height, width), 3, job())
    assert {found.source.shape, *(s.picture.shape for s in found.styled)} == {(*expected, 3)}


def test_styles_differ_only_by_their_prompt_and_are_in_the_order_asked(previewed: Any, tmp_path: Path) -> None:
    found = previewed(clip(tmp_path / "c.mkv", 48, 64), 0, job())
    assert [s.style for s in found.styled] == list(STYLES)
    assert found.styled[0].prompt == "a car, oil painting"
    pictures = {s.picture.tobytes() for s in found.styled}
    assert len(pictures) == len(STYLES)


def test_the_model_is_loaded_once_and_a_second_preview_computes_nothing(
    previewed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.engine import local

    loads, load = [], local.load
    monkeypatch.setattr(local, "load", lambda *given: loads.append(given) or load(*given))
    uri = clip(tmp_path / "c.mkv", 48, 64)
    first = previewed(uri, 0, job())
    assert len(loads) == 1
    assert first.window_steps.computed == first.window_steps.total == 3 * len(STYLES)
    second = previewed(uri, 0, job())
    assert {stage.status for stage in second.stages} == {"reused"}
    assert second.window_steps.reused == second.window_steps.total


def test_progress_is_one_count_over_all_styles(previewed: Any, tmp_path: Path) -> None:
    signs: list[Progress] = []
    previewed(clip(tmp_path / "c.mkv", 48, 64), 0, job(), observe=signs.append)
    counted = [(sign.done, sign.total) for sign in signs if sign.stage == "styles"]
    assert counted == sorted(counted)
    assert counted[-1] == (9, 9)
    assert not [sign for sign in signs if sign.stage == "denoise"]


@pytest.mark.parametrize(("given", "frame", "last"), [(None, 12, 11), (None, 400, 11), ((4, 9), 5, 4), ((4, 99), 8, 7)])
def test_a_frame_that_is_not_there_is_refused_before_anything_is_decoded(
    previewed: Any, tmp_path: Path, given: Any, frame: int, last: int
) -> None:
    uri = clip(tmp_path / "c.mkv", 48, 64)
    with pytest.raises(ConfigError, match=rf"^frame must be 0 to {last} for .*c.mkv, got {frame}$"):
        previewed(uri, frame, job(input={"frames": given}))


def test_frames_are_counted_in_what_the_job_reads(previewed: Any, tmp_path: Path) -> None:
    uri = clip(tmp_path / "c.mkv", 48, 64)
    ranged = previewed(uri, 2, job(input={"frames": (4, 9)}))
    assert ranged.frame == 6
    assert np.array_equal(ranged.source, previewed(uri, 6, job()).source)


def test_a_single_frame_job_never_reads_past_its_range() -> None:
    assert single_frame_job(job(input={"frames": (4, 9)}), 4).input.frames == (8, 9)
    assert single_frame_job(job(input={"max_frames": 1}), 3).input.frames == (3, 4)
