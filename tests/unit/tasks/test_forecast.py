"""Forecasts learn from similar work, count what is in the store as nothing, say what they rest on; budgets use them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from configs.errors import BudgetReached, Interrupted
from configs.job import RestyleJob
from flows.records import write_result, write_took
from flows.result import JobResult
from tasks.decode import decode, index_of
from tasks.engine.pool import EnginePool
from tasks.forecast import forecast_video
from tasks.foreseen import Forecast, in_words, rows
from tasks.history import JOBS, History
from tasks.pipeline import restyle_video
from tasks.probe import facts_of, probe
from tasks.run import Progress, Run, VideoResult
from tasks.store import Store
from tasks.work import Clip, Work, work_of
from tests.unit.tasks.shot_clips import cut_clip, dry_job


@dataclasses.dataclass
class Lab:
    """A store, a pool and clips; `run` leaves what a job leaves, `foresee` asks before it."""

    folder: Path
    store: Store
    engines: EnginePool
    jobs: int = 0

    def run(self, clip: Path, slow: float = 0.0, observe: Callable[[Progress], None] = lambda _: None, **changes: Any):  # type: ignore[no-untyped-def]
        job = self.job(**changes)
        result = restyle_video(Run(job, str(clip), self.store, self.engines, observe=observe))
        self.jobs += 1
        named = f"2026-{self.jobs:03d}"
        told = JobResult(job=named, method="restyle", status="completed", outputs=[result.output], stages=result.stages)
        write_result(self.store, told)
        write_took(self.store, named, sum(stage.seconds for stage in result.stages) + 1.5)
        return result

    def job(self, **changes: Any) -> RestyleJob:
        return dry_job(self.folder / "out", **changes)

    def foresee(self, clip: Path, decoded: bool = True, **changes: Any) -> Forecast:
        job = self.job(**changes)
        run = Run(job, str(clip), self.store, self.engines)
        probed = probe(run, clip)
        facts = facts_of(run, probed)
        index = index_of(run, decode(run, probed, facts, clip)) if decoded else None
        return forecast_video(job, facts, index, self.store, engines=self.engines)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    store = Store.open(str(tmp_path / "store"), workers=0)
    with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
        yield Lab(tmp_path, store, engines)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut_clip(tmp_path_factory.mktemp("clips") / "clip.mp4")


def seconds(found: Forecast | VideoResult, stage: str) -> float:
    return sum(s.seconds for s in found.stages if s.stage.split(" ")[0] == stage)


def test_an_empty_store_gives_rules_of_thumb_and_says_so(lab: Lab, clip: Path) -> None:
    found = lab.foresee(clip, decoded=False, model={"path": "dry", "dry_delay": 0.1})
    assert found.basis.startswith("rules of thumb") or "by rule of thumb" in found.basis
    denoise = next(s for s in found.stages if s.stage == "denoise")
    windows = -(-22 // 4)  # before it is decoded the clip is one shot
    assert denoise.seconds == pytest.approx(0.1 * 2 * windows * 3)  # the rule knows nothing of how guidance batches
    assert denoise.low < denoise.seconds < denoise.high


def test_all_that_is_in_the_store_takes_nothing(lab: Lab, clip: Path) -> None:
    lab.run(clip)
    found = lab.foresee(clip)
    assert {stage.status for stage in found.stages} == {"reused"}
    assert (found.seconds, found.bytes, found.gpu_seconds) == (0, 0, 0)
    assert in_words(found) == "forecast: all of it is in the store"


def test_another_seed_takes_only_what_hangs_on_it(lab: Lab, clip: Path) -> None:
    first = lab.run(clip)
    found = lab.foresee(clip, seed=8)
    fresh = {stage.stage for stage in found.stages if stage.status == "computed"}
    assert fresh == {"denoise", "encode", "evaluate", "report"}
    second = lab.run(clip, seed=8)
    assert [s.status for s in found.stages] == [s.status for s in _in_order(found, second)]
    held = {s.stage.split(" ")[0]: s.bytes for s in first.stages}
    assert found.bytes == pytest.approx(sum(s.bytes for s in second.stages if s.status == "computed"), rel=0.5), held


def _in_order(found: Forecast, result: VideoResult) -> list[Any]:
    named = {stage.stage: stage for stage in result.stages}
    return [named[f"{s.stage} ({s.part})" if s.part else s.stage] for s in found.stages]


def test_one_changed_shot_takes_one_shot(lab: Lab, clip: Path) -> None:
    lab.run(clip)
    found = lab.foresee(clip, shots={"2": {"seed": 5}})
    assert [s.part for s in found.stages if s.stage == "denoise" and s.status == "computed"] == ["shot 2"]


def test_twice_the_steps_are_forecast_from_the_rate_of_the_first_job(lab: Lab, clip: Path) -> None:
    slow = {"model": {"path": "dry", "dry_delay": 0.02}}
    first = lab.run(clip, **slow)
    found = lab.foresee(clip, num_inference_steps=6, **slow)
    assert "learnt from earlier jobs" in found.basis
    manifests = list(lab.store.manifests("denoise"))
    learnt = sum(m.seconds - m.meta["opening"] for m in manifests)
    assert seconds(found, "denoise") == pytest.approx(2 * learnt, rel=0.5)
    assert seconds(first, "denoise") > 0
    low, high = found.range
    assert low <= found.seconds <= high


def test_steps_that_are_committed_are_not_forecast_again(lab: Lab, clip: Path) -> None:
    lab.run(clip)
    whole = lab.foresee(clip, seed=2)
    asked = {"times": 0}

    def stop() -> bool:
        asked["times"] += 1
        return asked["times"] > 12

    with pytest.raises(Interrupted):
        restyle_video(Run(lab.job(seed=2), str(clip), lab.store, lab.engines, should_stop=stop))
    left = lab.foresee(clip, seed=2)
    assert seconds(left, "denoise") < seconds(whole, "denoise")


def test_the_run_itself_tells_the_forecast_with_its_table(lab: Lab, clip: Path) -> None:
    seen: list[Progress] = []
    lab.run(clip, observe=seen.append)
    (told,) = [p for p in seen if p.table]
    assert told.message.startswith("forecast: about")
    assert [row["stage"] for row in told.table][-1] == "all"
    assert {"denoise (shot 1)", "denoise (shot 2)", "encode"} <= {row["stage"] for row in told.table}


def test_rates_come_from_work_that_is_most_alike() -> None:
    known = History()

    def sample(units: float, took: float, *traits: str) -> None:
        from tasks.history import Sample

        known.samples["denoise"].append(Sample(Work(units, units, traits), took, 100))

    sample(100, 1000, "model a", "gpu", "2", "host")
    sample(100, 200, "model a", "cpu", "2", "host")
    sample(100, 300, "model a", "cpu", "2", "host")
    sample(100, 400, "model a", "cpu", "2", "host")
    sample(9000, 9000, "model a", "cpu", "2", "host")
    asked = Work(120, 120, ("model a", "cpu", "2", "host"))
    rate = known.rate("denoise", asked)
    assert rate is not None
    assert (rate.seconds, rate.samples) == (3.0, 3), "work of another order of magnitude is left out"
    assert (rate.low, rate.high) == (2.0, 4.0)
    other = known.rate("denoise", Work(120, 120, ("model a", "gpu", "4", "elsewhere")))
    assert other is not None
    assert (other.seconds, other.samples) == (10.0, 1)
    assert known.rate("denoise", Work(1, 1, ("model b", "cpu", "2", "host"))) is None


def test_windows_side_by_side_take_no_longer_than_one_of_them() -> None:
    preimage = {
        "params": {
            "shot": [0, 16], "size": [10, 10], "window": 4, "num_inference_steps": 5, "strength": 1.0,
            "start": "noise", "guidance_scale": 1.0, "controls": [], "deflicker": None, "deflicker_steps": [],
        },
        "models": {"model": "m"},
        "numerics": {},
    }  # fmt: skip
    clip = Clip(16, 100)
    alone, four, three = (work_of("denoise", preimage, clip, lanes).units for lanes in (1, 4, 3))
    assert alone == 4 * 4 * 100 * 5
    assert four == alone / 4
    assert three == alone / 2


def test_opening_and_the_time_between_stages_are_learnt_apart(lab: Lab, clip: Path) -> None:
    lab.run(clip)
    known = History.read(lab.store)
    assert known.beside(1) == pytest.approx(1.5)
    opened = [m.meta["opening"] for m in lab.store.manifests("condition")]
    assert len(opened) == 3
    assert max(opened) == sorted(opened)[-1]
    assert all(m.meta["lanes"] == 1 for m in lab.store.manifests("denoise"))


def test_a_table_sums_up(lab: Lab, clip: Path) -> None:
    found = lab.foresee(clip)
    listed = rows(found)
    assert listed[-1]["seconds"] == pytest.approx(sum(row["seconds"] for row in listed[:-1]) + found.opening, abs=0.1)
    assert listed[-1]["bytes"] == sum(row["bytes"] for row in listed[:-1])


def test_a_budget_stops_before_the_shot_that_would_pass_it_and_the_same_again_goes_on(lab: Lab, clip: Path) -> None:
    first = lab.run(clip)
    held = {stage.stage: stage.bytes for stage in first.stages}
    limit = held["denoise (shot 1)"] + held["denoise (shot 2)"] // 2
    with pytest.raises(BudgetReached, match=r"shot 2 of .*clip\.mp4 would take about .* left"):
        lab.run(clip, seed=1, budget={"bytes": limit})
    assert len(list(lab.store.manifests("denoise"))) == 4, "of the second job shot 1, and nothing of shot 2"
    with pytest.raises(BudgetReached, match="shot 3"):
        lab.run(clip, seed=1, budget={"bytes": limit})
    resumed = lab.run(clip, seed=1, budget={"bytes": 10 * limit})
    assert [s.stage for s in resumed.stages if s.stage.startswith("denoise") and s.status == "computed"] == [
        "denoise (shot 3)"
    ]
    assert resumed.output.rgb_digest == lab.run(clip, seed=1).output.rgb_digest


def test_the_bytes_of_the_end_count_too(lab: Lab, clip: Path) -> None:
    lab.run(clip)
    with pytest.raises(BudgetReached, match="finishing"):
        lab.run(clip, report={"max_megabytes": 0.3}, output={"crf": 1}, budget={"bytes": 1})


def test_a_library_s_quiet_nights_do_not_make_the_forecast_forget(
    lab: Lab, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs that computed nothing teach nothing; how far back they are passed over has an end."""
    lab.run(clip)
    for _ in range(JOBS + 3):
        lab.run(clip)
    known = History.read(lab.store)
    assert {"decode", "condition", "denoise", "encode"} <= {stage for stage, found in known.samples.items() if found}
    monkeypatch.setattr("tasks.history.LOOK", JOBS)
    assert not any(History.read(lab.store).samples.values())
