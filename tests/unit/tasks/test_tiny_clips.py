"""Clips too small for optical flow: what needs it is missing among the figures, and everything else is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from click.testing import CliRunner

from configs.deflicker_job import DeflickerJob
from flows.cli import main
from tasks.engine.pool import EnginePool
from tasks.filter_pipeline import deflicker_video
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoOutput
from tasks.store import Store
from tests.unit.tasks.shot_clips import dry_job

FRAMES = 3


def restyled(clip: Path, run: Callable[..., Run]) -> VideoOutput:
    job = dry_job(clip.parent / "out", style="sketch", report={"arms": ["control"], "max_megabytes": 0.2})
    return restyle_video(run(job)).output


def deflickered(clip: Path, run: Callable[..., Run]) -> VideoOutput:
    asked = {"source": str(clip), "guide": str(clip), "out": str(clip.parent / "out")}
    job = DeflickerJob.model_validate(asked)
    return deflicker_video(job, run(job.for_stages())).output


def noise(folder: Path, width: int, height: int) -> Path:
    rng, path = np.random.default_rng(0), folder / "tiny.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for _ in range(FRAMES):
            picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("width", "height"), [(1600, 20), (200, 12), (8, 8), (64, 1)])
@pytest.mark.parametrize("made", [restyled, deflickered])
def test_a_file_is_placed_and_only_flicker_is_missing(made: Any, width: int, height: int, tmp_path: Path) -> None:
    """1600x20 is large enough at its own size and too flat at the 512 pixels that figures are taken at."""
    clip = noise(tmp_path, width, height)
    store = Store.open(str(tmp_path / "store"), workers=0)
    with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
        output = made(clip, lambda job: Run(job, str(clip), store, engines))
    assert Path(output.uri).is_file()
    assert (output.frames, output.width, output.height) == (FRAMES, width, height)
    assert output.metrics["pixel_mse"] is None
    if made is restyled:
        assert output.metrics["no_warp"] > 0
        assert output.metrics["fidelity_psnr"] > 0
    elif height > 2:
        assert output.metrics["sharpness_ratio"] > 0


def test_evaluate_gives_what_needs_no_flow(tmp_path: Path) -> None:
    clip = noise(tmp_path, 200, 12)
    done = CliRunner().invoke(main, ["evaluate", str(clip), "--plot", str(tmp_path / "plot.svg"), "--json"])
    assert done.exit_code == 0
    told = json.loads(done.stdout)["metrics"]["conventions"]
    assert told["no_warp"]["pixel_mse"] > 0
    assert [told[c]["pixel_mse"] for c in ("masked", "all", "minus_forward")] == [None] * 3
