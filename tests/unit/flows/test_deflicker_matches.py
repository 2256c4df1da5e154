"""`deflicker` and the matches of its frames: kept and shared, or computed ahead of the filter and let go."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from configs.deflicker_job import DeflickerJob, build_deflicker_job
from configs.errors import ConfigError, Interrupted
from flows.cli import main
from tasks import filter_pipeline, strips
from tasks.engine.pool import EnginePool
from tasks.filter_pipeline import deflicker_video
from tasks.run import Run, VideoResult
from tasks.store import Store
from tests.two_shots import write_two_shots

FRAMES = 20
Deflicker = Callable[..., VideoResult]
Stop = Callable[[], bool]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    write_two_shots(path)
    return path


@pytest.fixture
def deflicker(clip: Path, tmp_path: Path) -> Deflicker:
    """Steady the clip along itself, or fill it between painted keys."""

    def run(
        place: str = "store", *sets: str, keys: bool = False, stop: Callable[[], bool] | None = None
    ) -> VideoResult:
        flags: dict[str, Any] = {"guide": str(clip), "source": str(clip), "out": str(tmp_path / "out")}
        if keys:
            flags |= {"source": None, "keyframes": tuple(painted(tmp_path))}
        job = build_deflicker_job(None, sets, flags)
        store = Store.open(str(tmp_path / place), workers=0)
        with EnginePool(store.url, 0, "cpu", lanes=2) as engines:
            started = Run(job.for_stages(), job.source or job.guide, store, engines)
            return deflicker_video(job, replace(started, should_stop=stop) if stop else started)

    return run


def painted(folder: Path) -> list[str]:
    rng = np.random.default_rng(4)
    for frame in (2, 7, 13):
        cv2.imwrite(str(folder / f"{frame}.png"), rng.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    return [str(folder / f"{frame}.png") for frame in (2, 7, 13)]


WAYS = [
    ("window=3",),
    ("window=2", "operator=checked", "deflicker.mode=naive"),
    ("window=2", "deflicker.match=style", "operator=checked"),
    ("window=1", "deflicker.correspondence=flow"),
]


@pytest.mark.parametrize("sets", WAYS, ids=" ".join)
def test_matches_that_are_not_kept_give_the_same_frames(deflicker: Deflicker, tmp_path: Path, sets: Any) -> None:
    kept = deflicker("kept", *sets)
    lean = deflicker("lean", *sets, "keep_matches=false")
    assert lean.output.rgb_digest == kept.output.rgb_digest
    assert "correspond (shot 1)" not in [stage.stage for stage in lean.stages]
    assert list((tmp_path / "kept").rglob("*.parquet"))
    assert not (tmp_path / "lean" / "pairs").exists()
    again = deflicker("kept", *sets, "keep_matches=false")
    assert {stage.status for stage in again.stages} == {"reused"}, "it is the same question"


def test_keys_are_matched_ahead_too(deflicker: Deflicker, tmp_path: Path) -> None:
    kept = deflicker("kept", keys=True)
    lean = deflicker("lean", "keep_matches=false", keys=True)
    assert lean.output.rgb_digest == kept.output.rgb_digest
    assert lean.output.metrics == kept.output.metrics
    assert not (tmp_path / "lean" / "pairs").exists()


def test_matches_that_are_there_are_not_computed_again(deflicker: Deflicker, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = deflicker("store", "window=3")
    monkeypatch.setattr("tasks.matcher.match", lambda *_: pytest.fail("matched once more"))
    lean = deflicker("store", "window=3", "crf=20", "deflicker.detail=0.5", "keep_matches=false")
    assert {stage.stage: stage.status for stage in lean.stages}["filter (shot 1)"] == "computed"
    assert lean.output.rgb_digest != kept.output.rgb_digest


@pytest.mark.parametrize("keys", [False, True])
def test_a_stopped_run_without_matches_goes_on_with_the_same_bits(
    deflicker: Deflicker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: bool
) -> None:
    monkeypatch.setattr(strips, "MOST_FRAMES", 3)
    straight = deflicker("a", "keep_matches=false", keys=keys)

    def stop() -> bool:
        return any((tmp_path / "b").rglob("*strip-000001*"))

    with pytest.raises(Interrupted):
        deflicker("b", "keep_matches=false", keys=keys, stop=stop)
    assert deflicker("b", "keep_matches=false", keys=keys).output.rgb_digest == straight.output.rgb_digest
    found = [json.loads(path.read_text())["meta"] for path in (tmp_path / "b" / "stages" / "filter").rglob("man*.json")]
    assert 2 in [meta["resumed"] for meta in found]


class Disk(NamedTuple):
    free: int


@pytest.mark.parametrize("keys", [False, True])
def test_a_disk_that_will_not_hold_the_matches_is_said_before_the_first(
    deflicker: Deflicker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(3000))
    with pytest.raises(ConfigError, match=r"take about .* kB and .* has 3.0 kB left: give --set keep_matches"):
        deflicker(keys=keys)
    assert not (tmp_path / "store" / "pairs").exists()
    assert deflicker("store", "keep_matches=false", keys=keys).output.frames == FRAMES


def test_a_store_that_is_no_folder_has_no_disk_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: pytest.fail("asked"))
    store = Store.open("memory://deflicker-matches", workers=0)
    with EnginePool(store.url, 0, "cpu") as engines:
        job = DeflickerJob(source="a", guide="b")
        filter_pipeline.check_space(Run(job.for_stages(), "a", store, engines), [], lambda _: set())


def planned(store: Path, *args: object) -> dict[str, Any]:
    command = ["plan", "deflicker", *map(str, args), "--store", str(store), "--workers", "0", "--json"]
    told: dict[str, Any] = json.loads(CliRunner().invoke(main, command).stdout)
    return told


def test_a_plan_tells_the_pairs_that_the_job_then_computes(deflicker: Deflicker, clip: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    args = (clip, "--guide", clip, "--set", "window=3")
    (plan,) = planned(store, *args)["plans"]
    assert not store.exists()
    assert (plan["frames"], plan["working_width"], plan["shots"], plan["shots_known"]) == (FRAMES, 64, 1, False)
    assert plan["correspondence"]["cached"] == 0
    assert plan["fits"]
    result = deflicker("store", "window=3")
    computed = [json.loads(path.read_text())["meta"] for path in (store / "stages" / "correspond").rglob("man*.json")]
    (plan,) = planned(store, *args)["plans"]
    found = plan["correspondence"]
    assert (plan["shots"], plan["shots_known"]) == (result.output.shots, True)
    assert found["pairs"] == found["cached"] == sum(meta["computed"] for meta in computed) > 0
    wider = planned(store, clip, "--guide", clip, "--set", "window=5")["plans"][0]["correspondence"]
    assert 0 < wider["cached"] < wider["pairs"]
    filled = planned(store, "--guide", clip, "--keyframes", f"2={painted(tmp_path)[0]}", "--keyframes", "13=b.png")
    assert filled["plans"][0]["correspondence"]["pairs"] == FRAMES - 2


def test_a_plan_says_when_the_disk_is_too_small(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Disk(3000))
    (plan,) = planned(tmp_path / "store", clip, "--guide", clip)["plans"]
    assert (plan["fits"], plan["free"]) == (False, 3000)
    (plan,) = planned(tmp_path / "store", clip, "--guide", clip, "--set", "keep_matches=false")["plans"]
    assert (plan["fits"], plan["correspondence"]["bytes"]) == (True, 0)
    said = CliRunner().invoke(
        main, ["plan", "deflicker", str(clip), "--guide", str(clip), "--store", str(tmp_path / "s")]
    )
    assert "give --set keep_matches=false" in said.stdout


def test_a_plan_of_what_cannot_run_says_what_the_run_would_say(clip: Path, tmp_path: Path) -> None:
    told = planned(tmp_path / "store", clip, "--guide", "/nowhere.mkv")
    assert (told["method"], told["status"]) == ("plan", "failed")
    assert "/nowhere.mkv: there is no such file" in told["errors"][0]["message"]
    assert "no guide given" in planned(tmp_path / "store", clip)["errors"][0]["message"]
