"""What a job names besides its source is looked at before any work; work that was done before a failure is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.errors import ConfigError, StoreError
from configs.job import ControlConfig, ControlKind, ModelConfig, RestyleJob
from flows.tally import Tally
from tasks import pipeline
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoResult
from tasks.store import Store
from tests.small_clips import write_clip
from tests.unit.tasks.shot_clips import dry_job


@pytest.fixture
def tried(tmp_path: Path) -> Callable[..., Tally]:
    """The tally of one video of a job with these changes."""

    def run(**changes: Any) -> Tally:
        job: RestyleJob = dry_job(tmp_path / "out").model_copy(update=changes)
        tally, clip = Tally("j"), write_clip(tmp_path / "clip.mp4", 4)
        store = Store.open(str(tmp_path / "store"), workers=0)
        with EnginePool(store.url, 0, "cpu", lanes=1) as engines:

            def work(finished: list[Any]) -> VideoResult:
                return restyle_video(Run(job, str(clip), store, engines, finished=finished))

            tally.attempt("clip.mp4", work)
        result = tally.result("j", job)
        assert tally.videos or result.status == "failed"
        return tally

    return run


def control(kind: ControlKind, **files: str) -> dict[str, Any]:
    return {"model": ModelConfig(path="dry", controls=(ControlConfig(kind=kind),)), **files}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"out": "{folder}/clip.mp4"}, "cannot write .*clip.mp4"),
        (control("reference-latents", reference="{folder}/none.png"), "reference .*none.png.* is not a picture"),
        (control("depth-blocks", depth="{folder}/none"), "no such folder of depth maps: .*none"),
        (control("depth", depth="{folder}"), "no depth map in"),
    ],
)
def test_a_wrong_place_is_said_before_the_first_stage(
    tried: Callable[..., Tally], tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    placed = {k: v.format(folder=tmp_path) if isinstance(v, str) else v for k, v in changes.items()}
    tally = tried(**placed)
    (error,) = tally.errors
    assert issubclass(error.kind, ConfigError)
    assert re.search(said, error.message)
    assert tally.unfinished == []


def test_a_source_this_user_may_not_read_is_bad_and_not_our_fault(
    tried: Callable[..., Tally], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stands in for mode 000, which does not stop root."""
    whole = Path.open

    def opened(self: Path, *how: Any, **more: Any) -> Any:
        if self.name == "clip.mp4":
            raise PermissionError(13, "Permission denied")
        return whole(self, *how, **more)

    monkeypatch.setattr(Path, "open", opened)
    (error,) = tried().errors
    assert error.class_name == "UnreadableVideo"
    assert "clip.mp4: cannot be read (Permission denied); check its permissions" in error.message


def test_the_check_leaves_nothing_behind(tried: Callable[..., Tally], tmp_path: Path) -> None:
    assert tried().errors == []
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".mp4", ".html"}


def test_stages_of_a_video_that_fails_later_are_told(
    tried: Callable[..., Tally], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(pipeline, "place_output", full)
    tally = tried()
    stages = tally.result("j", dry_job(Path("out"))).stages
    assert [stage.stage for stage in stages] == [
        "probe",
        "decode",
        "condition",
        "correspond",
        "denoise",
        "encode",
        "evaluate",
    ]
    assert {stage.status for stage in stages} == {"computed"}
