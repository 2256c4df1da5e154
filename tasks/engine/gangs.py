"""Warm gangs of actors on a cluster that outlives us: who holds which, and for how long an idle one may stay.

One registry actor per cluster leases gangs by epoch. A lease that is not renewed ends (its driver died), a gang that is
idle past its TTL is deleted by the registry itself. Actors refuse calls of an older epoch, so a driver back from the
dead disturbs nobody. Refuses to know what the actors compute.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util import get_placement_group, list_named_actors, remove_placement_group

from tasks.engine.cluster import NAMESPACE

RENEW_SECONDS = 10.0
LEASE_SECONDS = 45.0
ASK_SECONDS = 300.0  # the first to ask starts the registry: a new process, on a machine that may be very busy
REGISTRY = "gangs"
_PREFIX = "gang-"


@dataclass
class _Held:
    """One gang: `leased` while its lease is renewed; `since` is the last renewal, or when it became idle."""

    kind: str
    workers: int
    epoch: int
    ttl: float
    since: float
    leased: bool = True


class Registry:
    """Runs inside a detached actor; times in seconds of `clock`."""

    def __init__(self, reap_every: float = RENEW_SECONDS, clock: Callable[[], float] = time.time) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._gangs: dict[str, _Held] = {}
        self._made = 0
        self._adopt()
        if reap_every:
            threading.Thread(target=self._reap_for_ever, args=(reap_every,), daemon=True).start()

    def lease(self, kind: str, workers: int, ttl: float) -> tuple[str, int, bool]:
        """(name, epoch, whether its actors are there) of an idle gang of this kind, else of a new one."""
        with self._lock:
            self._end_silent_leases()
            idle = [name for name, held in self._gangs.items() if held.kind == kind and not held.leased]
            now = self._clock()
            if idle:
                name, held = idle[0], self._gangs[idle[0]]
                held.epoch, held.ttl, held.since, held.leased = held.epoch + 1, ttl, now, True
                return name, held.epoch, True
            self._made += 1
            # an epoch of the clock's size is above all that an earlier registry can have given
            epoch = int(now * 1000)
            name = f"{_PREFIX}{kind}-{epoch}-{self._made}"
            self._gangs[name] = _Held(kind, workers, epoch, ttl, now)
            return name, epoch, False

    def renew(self, name: str, epoch: int) -> bool:
        """Keep a lease; False when another holder came."""
        with self._lock:
            held = self._gangs.get(name)
            if held is None or epoch < held.epoch:
                return False
            held.epoch, held.since, held.leased = epoch, self._clock(), True
            return True

    def release(self, name: str, epoch: int) -> None:
        """The gang is idle from now on."""
        with self._lock:
            held = self._gangs.get(name)
            if held is not None and held.epoch == epoch:
                held.since, held.leased = self._clock(), False

    def discard(self, name: str, epoch: int) -> None:
        """Delete a gang of ours; another holder's stays."""
        with self._lock:
            held = self._gangs.get(name)
            if held is None or held.epoch != epoch:
                return
            del self._gangs[name]
        delete_gang(name, held.workers)

    def reap(self, all_idle: bool = False) -> list[str]:
        """Delete gangs that are idle past their TTL (or all idle ones) and return their names."""
        with self._lock:
            self._end_silent_leases()
            now = self._clock()
            old = [n for n, h in self._gangs.items() if not h.leased and (all_idle or now - h.since > h.ttl)]
            gone = {name: self._gangs.pop(name) for name in old}
        for name, held in gone.items():
            delete_gang(name, held.workers)
        return list(gone)

    def listed(self) -> dict[str, dict[str, Any]]:
        """What is held, for people: name -> kind, workers, epoch, leased, seconds in that state."""
        now = self._clock()
        with self._lock:
            return {
                name: {
                    "kind": held.kind,
                    "workers": held.workers,
                    "epoch": held.epoch,
                    "leased": held.leased,
                    "seconds": now - held.since,
                }
                for name, held in self._gangs.items()
            }

    def _end_silent_leases(self) -> None:
        """A driver that stopped renewing is gone, or will be refused: its gang has been idle since then."""
        for held in self._gangs.values():
            if held.leased and self._clock() - held.since > LEASE_SECONDS:
                held.leased = False

    def _adopt(self) -> None:
        """Take over the gangs of a registry that died; a driver that still holds one renews it in time."""
        for actor in list_named_actors() if ray.is_initialized() else []:
            gang, _, number = actor.rpartition("/")
            if gang.startswith(_PREFIX) and number.isdigit():
                kind = gang.removeprefix(_PREFIX).rsplit("-", 2)[0]
                held = self._gangs.setdefault(gang, _Held(kind, 0, int(gang.rsplit("-", 2)[1]), 0.0, self._clock()))
                held.workers = max(held.workers, int(number) + 1)

    def _reap_for_ever(self, every: float) -> None:
        while True:
            time.sleep(every)
            with suppress(RayError, ValueError):
                self.reap()


def actor_name(gang: str, number: int) -> str:
    """Name of a gang's actor, in our namespace."""
    return f"{gang}/{number}"


def delete_gang(name: str, workers: int) -> None:
    """Kill the actors of a gang and free its place; what is gone already is no error."""
    for number in range(workers):
        with suppress(ValueError):
            ray.kill(ray.get_actor(actor_name(name, number), namespace=NAMESPACE), no_restart=True)
    with suppress(ValueError):
        remove_placement_group(get_placement_group(name))


def registry() -> Any:
    """The cluster's registry actor, started if it is not there. It needs no CPU of anybody."""
    options: dict[str, Any] = {"name": REGISTRY, "namespace": NAMESPACE, "lifetime": "detached", "num_cpus": 0}
    return ray.remote(Registry).options(get_if_exists=True, max_restarts=-1, **options).remote()


class GangLease:
    """Our hold on a gang, renewed from a thread until it is released. `warm`: its actors were there already."""

    def __init__(self, keeper: Any, name: str, epoch: int, warm: bool) -> None:
        self._keeper, self.name, self.epoch, self.warm = keeper, name, epoch, warm
        self._stop = threading.Event()
        threading.Thread(target=self._beat, name=f"lease-{name}", daemon=True).start()

    @classmethod
    def acquire(cls, kind: str, workers: int, ttl: float) -> GangLease:
        """Lease a gang of `workers` actors of one kind; `ttl` is how many seconds it may be idle afterwards."""
        keeper = registry()
        name, epoch, warm = ray.get(keeper.lease.remote(kind, workers, ttl), timeout=ASK_SECONDS)
        return cls(keeper, name, epoch, warm)

    def make_room(self) -> None:
        """Delete every idle gang of the cluster: they hold what we need."""
        ray.get(self._keeper.reap.remote(all_idle=True), timeout=ASK_SECONDS)

    def release(self) -> None:
        """Leave the gang warm for the next; idempotent."""
        if not self._stop.is_set() and ray.is_initialized():
            self._stop.set()
            with suppress(RayError):
                ray.get(self._keeper.release.remote(self.name, self.epoch), timeout=ASK_SECONDS)

    def discard(self) -> None:
        """Delete the gang."""
        self._stop.set()
        with suppress(RayError):
            ray.get(self._keeper.discard.remote(self.name, self.epoch), timeout=ASK_SECONDS)

    def _beat(self) -> None:
        # not after `ray.shutdown`: a remote call would start a cluster of its own
        while not self._stop.wait(RENEW_SECONDS) and ray.is_initialized():
            with suppress(RayError):
                self._keeper.renew.remote(self.name, self.epoch)
