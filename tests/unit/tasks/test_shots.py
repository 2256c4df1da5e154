"""One shot asked for differently is the only one that is computed again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from configs.errors import ConfigError
from tasks.engine.pool import EnginePool
from tasks.evaluate import judged_style
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoResult
from tasks.store import StageKey, Store
from tests.unit.tasks.shot_clips import LENGTHS, cut_clip, dry_job

Restyle = Callable[..., VideoResult]
STEPS = 3


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


@pytest.fixture
def restyle(clip: Path, tmp_path: Path) -> Restyle:
    def run(**changes: Any) -> VideoResult:
        store = Store.open(str(tmp_path / "store"), workers=0)
        with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
            return restyle_video(Run(dry_job(tmp_path / "out", **changes), str(clip), store, engines))

    return run


def computed(result: VideoResult) -> list[str]:
    return [stage.stage for stage in result.stages if stage.status == "computed"]


@pytest.mark.parametrize(
    "change", [{"prompt": "y"}, {"style": "oil"}, {"negative_prompt": "blur"}, {"seed": 9}, {"guidance_scale": 3.0}]
)
def test_only_the_windows_of_that_shot_run_again(restyle: Restyle, change: dict[str, Any], tmp_path: Path) -> None:
    first = restyle()
    assert first.output.shots == len(LENGTHS)
    second = restyle(shots={"2": change})
    assert computed(second) == ["denoise (shot 2)", "encode", "evaluate", "report"]
    windows = -(-LENGTHS[1] // 4)
    assert second.window_steps.computed == windows * STEPS
    assert second.window_steps.total == first.window_steps.total
    assert second.output.rgb_digest != first.output.rgb_digest
    assert restyle().window_steps.computed == 0, "without `shots` the job asks what it asked before"
    (name,) = change
    page = Path(second.output.report).read_text()
    assert f"Shot 2 has its own {name}" in page


def test_another_depth_map_is_another_condition_of_its_shot_only(restyle: Restyle, tmp_path: Path) -> None:
    """Of the whole folder only the maps of a shot are read for it, also where the job takes a range of frames."""
    maps = tmp_path / "maps"
    maps.mkdir()
    for frame in range(2, sum(LENGTHS)):
        cv2.imwrite(str(maps / f"{frame:04d}.png"), np.full((48, 64), 9 * frame, np.uint8))
    job = {
        "model": {"path": "dry", "controls": [{"kind": "depth"}]},
        "depth": str(maps),
        "input": {"frames": [2, sum(LENGTHS)]},
    }
    restyle(**job)
    cv2.imwrite(str(maps / f"{LENGTHS[0]:04d}.png"), np.zeros((48, 64), np.uint8))  # the first frame of shot 2
    (maps / "9999.png").write_bytes(b"of no frame")
    again = restyle(**job)
    assert computed(again) == ["condition (shot 2)", "denoise (shot 2)", "encode", "evaluate", "report"]


def test_a_shot_that_says_what_the_job_says_is_the_job(restyle: Restyle) -> None:
    first = restyle()
    same = restyle(shots={"2": {"prompt": "x", "seed": 0}, "3": {}})
    assert same.window_steps.computed == 0
    assert same.output.key == first.output.key


def test_a_shot_that_is_not_there_is_refused_by_number(restyle: Restyle) -> None:
    with pytest.raises(ConfigError, match=r"shots\.4: .*clip\.mp4 has 3 shots, counted from 1"):
        restyle(shots={"4": {"prompt": "y"}, "12": {"prompt": "z"}})


def test_control_arms_follow_the_shot(restyle: Restyle) -> None:
    arms = {"report": {"arms": ["control"], "max_megabytes": 0.2}}
    restyle(**arms)
    again = restyle(shots={"1": {"seed": 4}}, **arms)
    assert computed(again)[:2] == ["denoise (shot 1)", "denoise (shot 1 · control)"]


def test_a_clip_of_two_styles_is_judged_by_none(tmp_path: Path) -> None:
    job = dry_job(tmp_path, style="oil")
    assert judged_style(job, 3) == "oil"
    assert judged_style(dry_job(tmp_path, style="oil", shots={"2": {"style": "neon"}}), 3) is None
    assert judged_style(dry_job(tmp_path, style="oil", shots={"2": {"prompt": "b"}}), 3) == "oil"


def test_the_key_of_a_shot_knows_nothing_of_the_others(restyle: Restyle, tmp_path: Path) -> None:
    result = restyle(shots={"2": {"prompt": "y"}})
    store = Store.attach(str(tmp_path / "store"))
    keys = [stage.key for stage in result.stages if stage.stage.startswith("denoise")]
    prompts = [store.require(StageKey("denoise", key, {})).preimage["params"]["prompt"] for key in keys]
    assert prompts == ["x", "y", "x"]
