"""Gangs on a cluster that outlives its drivers: warm for the next, fenced by epoch, and gone after their idle time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray
from ray.util import list_named_actors

from configs.errors import LeaseLost
from configs.job import ModelConfig
from tasks.engine.actor import gang_kind
from tasks.engine.cluster import NAMESPACE, connect
from tasks.engine.gangs import GangLease, Registry, registry
from tasks.engine.pool import EnginePool
from tasks.engine.ray import RayEngine
from tasks.store import Store

DRY = ModelConfig(path="dry")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster that is there before us and stays: to the pool it is a cluster at an address."""
    connect(None, 4)
    yield
    ray.shutdown()


@pytest.fixture
def pool(cluster: None, tmp_path: Path) -> Iterator[Callable[..., EnginePool]]:
    """Pools of drivers that share a store; what they leave behind is sent away."""
    url = Store.open(str(tmp_path / "store"), workers=1).url
    yield lambda **options: EnginePool(url, 2, "cpu", ray_address="auto", **options)
    ray.get(registry().reap.remote(all_idle=True))
    living(0)


def living(count: int) -> set[str]:
    """Ids of the actors of all gangs, once there are `count`; the names of killed ones go a moment later."""
    deadline = time.monotonic() + 20
    while True:
        named = [name for name in list_named_actors() if name.startswith("gang-")]
        if len(named) == count or time.monotonic() > deadline:
            assert len(named) == count, named
            return {ray.get_actor(name, namespace=NAMESPACE)._actor_id.hex() for name in named}
        time.sleep(0.1)


def test_the_next_job_finds_loaded_actors(pool: Callable[..., EnginePool]) -> None:
    with pool() as first:
        with first.lent(DRY) as engine:
            assert len(list(engine.map("sees", [("x",), ("y",)]))) == 2
        before = living(2)
    with pool() as second, second.lent(DRY):
        assert living(2) == before
    (cold,), (warm,) = first.loans, second.loans
    assert warm.seconds < cold.seconds


def test_two_drivers_at_once_have_gangs_of_their_own(pool: Callable[..., EnginePool]) -> None:
    with pool() as one, pool() as other, one.lent(DRY), other.lent(DRY):
        living(4)
    living(4)  # both idle now


def test_idle_gangs_make_room_for_another_model(pool: Callable[..., EnginePool]) -> None:
    with pool() as one, pool() as other:
        with one.lent(DRY), other.lent(DRY):
            pass
    with pool() as third, third.lent(ModelConfig(path="dry", dry_delay=0.001)):
        living(2)


def test_facts_of_a_cluster_are_asked_without_a_model(pool: Callable[..., EnginePool]) -> None:
    with pool() as asking:
        assert asking.facts(DRY).numerics["processor"].startswith("cpu ")
        living(0)


def test_a_driver_that_lost_its_lease_is_refused(cluster: None, tmp_path: Path) -> None:
    url = Store.open(str(tmp_path / "store"), workers=1).url
    kind = gang_kind(url, DRY, "cpu", 1)
    old = GangLease.acquire(kind, 1, 60)
    zombie = RayEngine(url, DRY, "cpu", 1, lease=old)
    ray.get(registry().release.remote(old.name, old.epoch))  # as when it was silent too long
    new = GangLease.acquire(kind, 1, 60)
    assert (new.name, new.warm, new.epoch) == (old.name, True, old.epoch + 1)
    engine = RayEngine(url, DRY, "cpu", 1, lease=new)
    for use in (zombie.logs, zombie.heal):
        with pytest.raises(LeaseLost, match="leased by another run"):
            use()
    assert engine.describe()["device"] == "cpu"
    assert isinstance(engine.logs(), list)
    old.release()  # nothing is left of it to give back
    new.discard()
    living(0)


def test_a_dead_warm_actor_is_replaced(pool: Callable[..., EnginePool]) -> None:
    with pool() as first, first.lent(DRY):
        pass
    before = living(2)
    (one, _) = [name for name in list_named_actors() if name.startswith("gang-")]
    ray.kill(ray.get_actor(one, namespace=NAMESPACE), no_restart=True)
    with pool() as second, second.lent(DRY) as engine:
        assert engine.describe()["device"] == "cpu"
        assert len(living(2) & before) == 1


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_registry_by_its_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Idle time ends a gang, silence ends a lease, and an epoch is never given twice."""
    deleted: list[str] = []
    monkeypatch.setattr("tasks.engine.gangs.delete_gang", lambda name, workers: deleted.append(name))
    monkeypatch.setattr("tasks.engine.gangs.list_named_actors", list)
    clock = Clock()
    held = Registry(reap_every=0, clock=clock)
    name, epoch, warm = held.lease("a", 2, ttl=100)
    assert not warm
    clock.now += 40
    assert held.renew(name, epoch)
    clock.now += 46  # longer than a lease lives
    assert held.lease("a", 2, ttl=100) == (name, epoch + 1, True)
    assert not held.renew(name, epoch)
    held.release(name, epoch)  # the old holder has nothing to give back
    assert held.listed()[name]["leased"]
    held.release(name, epoch + 1)
    clock.now += 99
    assert held.reap() == []
    clock.now += 2
    assert held.reap() == [name] == deleted
    assert held.lease("a", 2, ttl=100)[0] != name


def test_a_new_registry_adopts_what_an_old_one_left(monkeypatch: pytest.MonkeyPatch) -> None:
    deleted: list[tuple[str, int]] = []
    monkeypatch.setattr("tasks.engine.gangs.delete_gang", lambda name, workers: deleted.append((name, workers)))
    monkeypatch.setattr("tasks.engine.gangs.ray.is_initialized", lambda: True)
    names = ["gang-k-500-1/0", "gang-k-500-1/1", "gang-k-600-2/0", "gangs", "other"]
    monkeypatch.setattr("tasks.engine.gangs.list_named_actors", lambda: names)
    clock = Clock()
    held = Registry(reap_every=0, clock=clock)
    assert {name: row["workers"] for name, row in held.listed().items()} == {"gang-k-500-1": 2, "gang-k-600-2": 1}
    assert held.renew("gang-k-600-2", 600)  # its driver lives
    clock.now += 40
    assert held.renew("gang-k-600-2", 600)
    clock.now += 10
    assert held.reap() == ["gang-k-500-1"]
    assert deleted == [("gang-k-500-1", 2)]
