"""The `evaluate` stage asks the judge where the style is a known filter, and only there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from configs.job import RestyleJob
from models.judge import JUDGE_VERSION
from models.pocket.scenes import render_clip
from tasks.engine.pool import EnginePool
from tasks.evaluate import JUDGE_EVERY
from tasks.pipeline import restyle_video
from tasks.run import Run
from tasks.store import Store

FRAMES = 6
JUDGED = {"style_accuracy", "structure", "structure_ratio", "colour_error"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("clips") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 72, "yuv420p"
        for frame in render_clip(4, FRAMES, 72, 128).frames_FHWC:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return str(path)


def measured(clip: str, folder: Path, **changes: Any) -> dict[str, Any]:
    """Figures by arm of a job of the dry model, whose pictures show nothing of the source."""
    job = RestyleJob.model_validate(
        {
            "prompt": "x",
            "model": {"path": "dry"},
            "num_inference_steps": 2,
            "window": {"size": 4},
            "working_size": 128,
            "out": str(folder / "out"),
            **changes,
        }
    )
    store = Store.open(str(folder / "store"), workers=0)
    with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
        metrics = restyle_video(Run(job, clip, store, engines)).output.metrics
    return {"result": metrics, **metrics["arms"]}


def test_a_known_style_is_judged_in_every_arm(clip: str, tmp_path: Path) -> None:
    arms = measured(clip, tmp_path, style="neon", report={"arms": ["control"]})
    assert arms["filter"]["style_accuracy"] == 1.0 == arms["filter"]["structure_ratio"]
    assert arms["filter"]["colour_error"] == 0.0
    for name in ("result", "control"):
        assert JUDGED <= arms[name].keys()
        assert arms[name]["style_accuracy"] == 0.0, "the dry model paints noise"
        assert arms[name]["colour_error"] > 5.0
        assert arms[name]["structure"] < 0.7 * arms["filter"]["structure"]
    assert not JUDGED & arms["source"].keys()


def test_without_a_known_style_nothing_is_judged(clip: str, tmp_path: Path) -> None:
    arms = measured(clip, tmp_path)
    assert set(arms) == {"source", "result"}
    assert not any(JUDGED & row.keys() for row in arms.values())


def test_the_stage_says_which_judge_and_how_often(clip: str, tmp_path: Path) -> None:
    measured(clip, tmp_path, style="oil")
    (found,) = tmp_path.rglob("stages/evaluate/**/part-*-metrics.json")
    text = found.read_text()
    assert f'"judge": {{"version": {JUDGE_VERSION}, "every": {JUDGE_EVERY}}}' in text
