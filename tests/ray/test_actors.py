"""What only real actors can show: their logs reach the driver, their refusals stay clear sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from ray._private.state import actors

from configs.errors import DeviceError, StoreError, WeightsError, WorkerLost
from configs.job import ModelConfig
from tasks.engine.cluster import check_processors
from tasks.engine.pulse import BEAT_SECONDS
from tasks.engine.ray import RayEngine, connect
from tasks.store import Store


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    connect(None, 2)
    yield
    ray.shutdown()


def test_actor_logs_reach_the_driver_once(cluster: None, tmp_path: Path) -> None:
    engine = RayEngine(Store.open(str(tmp_path), workers=2).url, ModelConfig(path="dry"), "cpu", 2)
    said = [text for _, text in engine.logs()]
    assert sum("dry loaded on cpu" in text for text in said) == 2
    assert engine.logs() == []
    engine.close()


def test_a_constructor_that_refuses_says_our_sentence(cluster: None, tmp_path: Path) -> None:
    store = Store.open(str(tmp_path), workers=1)
    with pytest.raises(WeightsError, match="/nowhere"):
        RayEngine(store.url, ModelConfig(path="/nowhere"), "cpu", 1)


def test_more_workers_than_the_cluster_has_is_refused_at_once(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"99 workers need 99 CPU"):
        RayEngine(Store.open(str(tmp_path), workers=1).url, ModelConfig(path="dry"), "cpu", 99)


def test_a_store_that_workers_do_not_share_is_refused(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when `file://` means another disk on every machine: what the driver writes, no worker sees."""
    elsewhere = Store.open(str(tmp_path / "elsewhere"), workers=1)
    monkeypatch.setattr("tasks.engine.ray.Store.attach", lambda url: elsewhere)
    with pytest.raises(StoreError, match="not one store on every machine: 1 of 1"):
        RayEngine(Store.open(str(tmp_path / "here"), workers=1).url, ModelConfig(path="dry"), "cpu", 1)


class Slow:
    """An argument that takes its reader so many seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return eval, (f"__import__('time').sleep({self.seconds}) or 'x'",)


@pytest.fixture
def engine(cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RayEngine]:
    """Two workers, and a driver that soon runs out of patience with a call that is not answered."""
    opened = RayEngine(Store.open(str(tmp_path), workers=1).url, ModelConfig(path="dry"), "cpu", 2)
    monkeypatch.setattr("tasks.engine.ray.LOOK_SECONDS", 0.5)
    monkeypatch.setattr("tasks.engine.ray.PLACE_SECONDS", 1)
    yield opened
    monkeypatch.undo()
    opened.close()


def test_a_busy_worker_is_waited_for_and_kept(engine: RayEngine) -> None:
    """What tells that it lives does not queue behind its call, nor behind calls that wait for others."""
    before = [actor._actor_id for actor in engine._actors]
    slow = engine.lanes[0].call("sees", Slow(10.0))
    behind = engine.lanes[1].call("drain_logs", *slow)
    engine.heal()
    assert [actor._actor_id for actor in engine._actors] == before
    assert engine.wait(slow) == [False]
    with pytest.raises(TypeError):  # it takes no arguments; what matters is that it came to that
        engine.wait(behind)


def test_a_worker_that_hangs_is_found_and_replaced(engine: RayEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process is there and does nothing: Ray itself never tells."""
    monkeypatch.setattr("tasks.engine.pulse.SILENT_SECONDS", 3 * BEAT_SECONDS)
    before = [actor._actor_id for actor in engine._actors]
    engine.wait(engine.everywhere("describe"))
    hung = psutil.Process(actors(before[0].hex())["Pid"])
    hung.suspend()
    with pytest.raises(WorkerLost, match="1 of 2 workers gave no sign of life"):
        engine.wait(engine.everywhere("describe"))
    monkeypatch.setattr("tasks.engine.ray.PLACE_SECONDS", 60)
    engine.heal()
    after = [actor._actor_id for actor in engine._actors]
    assert after[0] != before[0]
    assert after[1] == before[1]
    assert len(engine.wait(engine.everywhere("describe"))) == 2


def test_workers_on_another_processor_than_keys_name_are_refused(cluster: None, tmp_path: Path) -> None:
    url = Store.open(str(tmp_path), workers=1).url
    with pytest.raises(DeviceError, match=r"several kinds \(abacus, cpu .*one kind of machine"):
        RayEngine(url, ModelConfig(path="dry"), "cpu", 1, processor="abacus")


def test_workers_of_one_engine_are_of_one_kind(cluster: None) -> None:
    check_processors(["cpu AVX2", "cpu AVX2"], None)
    with pytest.raises(DeviceError, match=r"cpu AVX2, cpu AVX512"):
        check_processors(["cpu AVX2", "cpu AVX512"], None)
