"""A finished video is held against the gate of its job, and another limit costs another page and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from configs.job import RestyleJob
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoResult
from tasks.store import Store
from tasks.thumbnail import LONG_SIDE, jpeg, thumbnail_of

FRAMES = 6
Restyle = Callable[..., VideoResult]


@pytest.fixture(scope="module")
def restyle(tmp_path_factory: pytest.TempPathFactory) -> Restyle:
    """Restyle one clip with one store, the job's gate being what the test says."""
    folder = tmp_path_factory.mktemp("gated")
    big = np.random.default_rng(1).integers(0, 255, (12, 32, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for n in range(FRAMES):
            picture = np.ascontiguousarray(np.roll(big, n, axis=1)[:, :64])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())

    def run(**gate: Any) -> VideoResult:
        job = RestyleJob.model_validate(
            {
                "prompt": "x",
                "model": {"path": "dry"},
                "num_inference_steps": 2,
                "window": {"size": 4},
                "deflicker": {"window": 1},
                "working_size": 64,
                "out": str(folder / "out"),
                "gate": gate,
            }
        )
        store = Store.open(str(folder / "store"), workers=0)
        with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
            return restyle_video(Run(job, str(folder / "clip.mp4"), store, engines))

    run.store = lambda: Store.open(str(folder / "store"), workers=0)  # type: ignore[attr-defined]
    return run


def test_another_limit_flags_the_same_video_and_makes_only_its_page_anew(restyle: Restyle) -> None:
    passed = restyle(enabled=False)
    assert (passed.output.review, passed.output.metrics["review_reasons"]) == (False, [])
    flicker = passed.output.metrics["pixel_mse"]
    flagged = restyle(max_pixel_mse=flicker / 2, require=["excess_flicker"])
    assert flagged.output.review
    reasons = flagged.output.metrics["review_reasons"]
    assert any(f"Flicker {flicker:.2f} is above" in reason for reason in reasons)
    assert reasons[-1].startswith("Excess flicker (excess_flicker) was not measured")
    assert {s.stage for s in flagged.stages if s.status == "computed"} == {"report"}
    assert flagged.output.key == passed.output.key
    page = Path(flagged.output.report).read_text(encoding="utf-8")
    assert all(reason in page for reason in reasons)


def test_a_page_found_again_speaks_of_its_own_limits(restyle: Restyle) -> None:
    """Two gates in turn: neither shows the other's verdict."""
    for limit, flagged in ((0.001, True), (1e6, False), (0.001, True)):
        gate = {"max_pixel_mse": limit, "max_flicker_over_source": None, "min_sharpness_to_source": None}
        output = restyle(**gate, max_sharpness_pulsing=None, max_seam_over_steady=None).output
        assert output.review is flagged
        assert ("Worth a look" in Path(output.report).read_text(encoding="utf-8")) is flagged


def test_a_thumbnail_is_kept_with_the_report(restyle: Restyle) -> None:
    store = restyle.store()  # type: ignore[attr-defined]
    result = restyle(enabled=False)
    kept = thumbnail_of(store, result.stages)
    assert cv2.imdecode(np.frombuffer(kept, np.uint8), cv2.IMREAD_COLOR).shape == (48, 64, 3)
    gone = [stage.model_copy(update={"key": "0" * 64}) for stage in result.stages]
    assert thumbnail_of(store, gone) == b""


def test_a_thumbnail_is_small_and_keeps_its_shape() -> None:
    small = cv2.imdecode(np.frombuffer(jpeg(np.zeros((2160, 3840, 3), np.uint8)), np.uint8), cv2.IMREAD_COLOR)
    assert small.shape == (round(LONG_SIDE * 2160 / 3840), LONG_SIDE, 3)
