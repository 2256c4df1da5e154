"""Gangs are lent one use at a time, first come first served, and stay warm for the next user."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from configs.errors import DeviceError, Interrupted
from configs.job import ModelConfig
from tasks.engine.pool import EnginePool

DRY, OTHER = ModelConfig(path="dry"), ModelConfig(path="dry", dry_delay=0.001)


class FakeEngine:
    def __init__(self, model: ModelConfig) -> None:
        self.model, self.closed = model, False

    def close(self) -> None:
        self.closed = True


class Pool(EnginePool):
    """Opens engines that are nothing, and remembers them."""

    def __init__(self, **options: Any) -> None:
        super().__init__("memory://", **options)
        self.opened: list[FakeEngine] = []

    def _open(self, model: ModelConfig) -> Any:
        self.opened.append(FakeEngine(model))
        return self.opened[-1]


def test_one_gang_serves_one_use_at_a_time_and_loads_once() -> None:
    pool, inside, most = Pool(workers=2), [0], [0]

    def use(n: int) -> None:
        with pool.lent(DRY):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            inside[0] -= 1

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(use, range(30)))
    assert (most, len(pool.opened), len(pool.loans)) == ([1], 1, 30)
    assert [loan.opened for loan in pool.loans] == [True] + [False] * 29


def test_several_gangs_serve_as_many_at_once() -> None:
    pool = Pool(workers=4, workers_per_gang=2)
    met = threading.Barrier(2, timeout=20)

    def use(n: int) -> object:
        with pool.lent(DRY) as engine:
            met.wait()  # passes only when both gangs are lent
            return engine

    with ThreadPoolExecutor(2) as threads:
        engines = list(threads.map(use, range(2)))
    assert pool.gangs == 2
    assert engines[0] is not engines[1]


def test_an_idle_gang_with_the_model_is_taken_before_another_is_opened() -> None:
    pool = Pool(workers=2, workers_per_gang=1)
    with pool.lent(DRY):
        with pool.lent(OTHER):
            pass
        with pool.lent(OTHER):
            pass
    assert [engine.model for engine in pool.opened] == [DRY, OTHER]


def test_a_gang_holds_one_model_at_a_time() -> None:
    pool = Pool(workers=1)
    for model in (DRY, OTHER):
        with pool.lent(model):
            pass
    assert [engine.closed for engine in pool.opened] == [True, False]
    pool.close()
    assert pool.opened[1].closed


def test_waiting_for_workers_hears_a_stop_and_lets_the_next_one_through() -> None:
    pool = Pool(workers=1)
    with pool.lent(DRY), pytest.raises(Interrupted, match="while waiting for workers"), pool.lent(DRY, lambda: True):
        pass
    with pool.lent(DRY):
        assert len(pool.opened) == 1


def test_an_engine_that_does_not_open_leaves_the_gang_free(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = Pool(workers=1)
    monkeypatch.setattr(pool, "_open", lambda model: (_ for _ in ()).throw(DeviceError("no place")))
    with pytest.raises(DeviceError), pool.lent(DRY):
        pass
    monkeypatch.undo()
    with pool.lent(DRY) as engine:
        assert engine is pool.opened[0]


def test_gangs_must_come_out_even() -> None:
    with pytest.raises(DeviceError, match="5 workers cannot be cut into gangs of 2"):
        EnginePool("memory://", 5, workers_per_gang=2)


def test_videos_in_flight_share_one_loaded_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real engine of this process: loaded once for all users, prompts and seeds."""
    from tasks.engine import local

    loads: list[str] = []
    real = local.load
    monkeypatch.setattr(local, "load", lambda model, device: loads.append(model.path) or real(model, device))

    def use(n: int) -> str:
        with pool.lent(DRY) as engine:
            return str(engine.describe()["digest"])

    with EnginePool(str(tmp_path), 0, "cpu", lanes=1) as pool, ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(use, range(8)))) == 1
    assert loads == ["dry"]
