"""The engine on Ray: one actor per worker in an all-or-nothing placement group, warm between shots and videos.

Tensors between windows go actor to actor through the object store; the driver sees references only. With a lease the
actors are named and stay on their cluster for the next job; without one they go with the engine.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup, get_placement_group, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from configs.errors import DeviceError, LeaseLost, SteadyframeError, StoreError, WorkerLost
from configs.job import ModelConfig
from tasks.engine.actor import ActorLane, _Actor
from tasks.engine.cluster import NAMESPACE, check_processors, connect, keep_signals, wants_gpu
from tasks.engine.gangs import GangLease, actor_name
from tasks.engine.lockstep import Lockstep
from tasks.engine.protocol import Future
from tasks.engine.pulse import Pulses, forget
from tasks.store import Store

__all__ = ["RayEngine", "connect", "keep_signals"]

PLACE_SECONDS = 60
ROOM_SECONDS = 3  # how long to wait for a place before idle gangs of others are sent away
LOOK_SECONDS = 10  # how often one who waits for a call looks whether the actors live; a call may take hours


def _values(futures: Sequence[Future], seconds: float) -> list[Any] | None:
    """Results of calls, or None when not all are there in so many seconds; WorkerLost, or what a call raised."""
    try:
        return list(ray.get([f.handle for f in futures], timeout=seconds))
    except GetTimeoutError:
        return None
    except RayActorError as error:
        raise WorkerLost(f"a worker died: {type(error).__name__}") from error
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, (RayActorError, ray.exceptions.ObjectLostError)):
            raise WorkerLost(f"a worker died: {type(cause).__name__}") from error
        if isinstance(cause, SteadyframeError):
            raise cause from None
        raise
    except ray.exceptions.ObjectLostError as error:
        raise WorkerLost("a worker's tensor was lost with its machine") from error


class RayEngine(Lockstep):
    """`workers` actors of one class of machine; dead ones are replaced by `heal`, all then restore the last commit.

    With a `lease` (a cluster that outlives us) the gang's actors are taken as they are, or made under its name.
    `processor` is the one that keys name: actors on another are refused, as their floats may differ.
    """

    def __init__(
        self,
        store_url: str,
        model: ModelConfig,
        device: str,
        workers: int,
        shard_windows: int | None = None,
        lease: GangLease | None = None,
        processor: str | None = None,
    ) -> None:
        gpu = wants_gpu(device, workers)
        self._need = {"GPU": 1.0, "CPU": 1.0} if gpu else {"CPU": 1.0}
        self._args = (store_url, model, "cuda" if gpu else "cpu")
        self._lease, self._epoch = lease, lease.epoch if lease else 0
        total = ray.cluster_resources()
        for name, amount in self._need.items():
            if total.get(name, 0) < amount * workers:
                raise DeviceError(
                    f"{workers} workers need {amount * workers:g} {name}, the Ray cluster has {total.get(name, 0):g}; "
                    f"lower --workers"
                )
        self._group = self._reserve(workers)
        self._actors: list[Any] = [self._actor(n) for n in range(workers)]
        self._facts: dict[int, dict[str, Any]] = {}
        self._processor, self._pulses = processor, Pulses()
        try:
            if lease is not None and lease.warm:
                self._replace(self._lost(wait_for_busy=False))  # busy with what a driver that is gone had asked for
            else:
                self._ready(range(workers))
            self._one_store(Store.attach(store_url))
        except BaseException:
            self._destroy()
            raise
        super().__init__(self._lanes(), self._wait_for, shard_windows)

    def _lanes(self) -> list[ActorLane]:
        return [ActorLane(actor, self._epoch) for actor in self._actors]

    def _reserve(self, workers: int) -> PlacementGroup:
        """The gang's place, all or nothing: the one it has already, else a new one."""
        lease = self._lease
        if lease is not None and lease.warm:
            with suppress(ValueError):
                return get_placement_group(lease.name)
        named = {"name": lease.name, "lifetime": "detached"} if lease else {}
        group: PlacementGroup = placement_group([dict(self._need)] * workers, strategy="PACK", **named)
        if lease is not None and not group.wait(ROOM_SECONDS):
            lease.make_room()
        if not group.wait(PLACE_SECONDS):
            remove_placement_group(group)
            raise DeviceError(
                f"no place for {workers} workers within {PLACE_SECONDS} s; the cluster is busy, lower --workers"
            )
        return group

    def _actor(self, bundle: int) -> Any:
        """The actor of a bundle: a warm one where there is one."""
        if self._lease is not None and self._lease.warm:
            with suppress(ValueError):
                return ray.get_actor(actor_name(self._lease.name, bundle), namespace=NAMESPACE)
        return self._spawn(bundle)

    def _spawn(self, bundle: int) -> Any:
        strategy = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=bundle)
        remote = ray.remote(max_restarts=0, max_task_retries=0)(_Actor)
        options: dict[str, Any] = {"num_cpus": self._need["CPU"], "num_gpus": self._need.get("GPU", 0)}
        if self._lease is not None:
            named = actor_name(self._lease.name, bundle)
            options |= {"name": named, "namespace": NAMESPACE, "lifetime": "detached"}
        for patience in range(20):
            try:
                return remote.options(scheduling_strategy=strategy, **options).remote(*self._args)
            except ValueError:  # the name of an actor that was killed is free a moment later
                if patience == 19:
                    raise
                time.sleep(0.5)

    def _wait_for(self, futures: Sequence[Future]) -> list[Any]:
        """Results of calls, however long they take while all actors live."""
        while (found := _values(futures, LOOK_SECONDS)) is None:
            silent = self._pulses.silent([_id(actor) for actor in self._actors])
            if silent:
                raise WorkerLost(f"{len(silent)} of {len(self._actors)} workers gave no sign of life for a minute")
        return found

    def _ready(self, numbers: Sequence[int]) -> None:
        """Wait for constructors: what fails here is our configuration, never a lost machine."""
        asked = [self._actors[n].call.remote(self._epoch, "describe", ()) for n in numbers]
        try:
            facts = ray.get(asked, timeout=PLACE_SECONDS * 5)
        except RayTaskError as error:
            if isinstance(error.cause, SteadyframeError):
                raise error.cause from None
            raise
        except (RayActorError, GetTimeoutError) as error:
            raise DeviceError(f"a worker could not start: {error}") from error
        self._facts |= dict(zip(numbers, facts, strict=True))
        check_processors([known["processor"] for known in self._facts.values()], self._processor)

    def _one_store(self, store: Store) -> None:
        """Every worker must see what the driver writes: a folder of this machine is no store of a cluster."""
        path = f"probes/{uuid.uuid4().hex}"
        store.blobs.put(path, b"seen from everywhere")
        try:
            seen = ray.get([a.call.remote(self._epoch, "sees", (path,)) for a in self._actors], timeout=PLACE_SECONDS)
        finally:
            store.blobs.delete(path)
        if not all(seen):
            raise StoreError(
                f"store {store.url} is not one store on every machine: {seen.count(False)} of {len(seen)} workers do "
                f"not see what was written here; use a shared folder or an object store such as s3://"
            )

    def heal(self) -> None:
        """Replace actors that are gone; the others keep their loaded model, also those that are busy."""
        self._replace(self._lost(wait_for_busy=True))

    def _lost(self, wait_for_busy: bool) -> list[int]:
        """Actors that are dead or silent; those that only do not answer yet, unless `wait_for_busy`."""
        asked = {actor.call.remote(self._epoch, "describe", ()): n for n, actor in enumerate(self._actors)}
        pulses, began, dead = Pulses(), time.monotonic(), []
        while asked:
            silent = pulses.silent([_id(self._actors[n]) for n in asked.values()])
            answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=LOOK_SECONDS)
            for answer in answered:
                n = asked.pop(answer)
                try:
                    self._facts[n] = ray.get(answer)
                except (RayActorError, RayTaskError) as error:
                    if isinstance(cause := getattr(error, "cause", None), LeaseLost):
                        raise cause from None  # they are alive and another's
                    dead.append(n)
            impatient = not wait_for_busy and time.monotonic() - began > PLACE_SECONDS
            for answer, n in list(asked.items()):
                here = _id(self._actors[n])
                if impatient or here in silent:
                    dead.append(n)
                    del asked[answer]
                elif wait_for_busy and pulses.moving(here):
                    del asked[answer]
        return dead

    def _replace(self, dead: Sequence[int]) -> None:
        for again in (True, True, False):
            for n in dead:
                ray.kill(self._actors[n], no_restart=True)
                self._actors[n] = self._spawn(n)
            try:
                self._ready(dead)
                break
            except DeviceError as error:
                # put on a machine that is gone and not yet known to be: by now its place has moved to another
                if not (again and dead and isinstance(error.__cause__, RayActorError)):
                    raise
        self.lanes = list(self._lanes())

    def describe(self) -> dict[str, Any]:
        """Facts of the loaded model that go into keys (see `Worker.describe`)."""
        return self._facts[0]

    def close(self) -> None:
        """Release actors and their place; leased ones stay, warm, for the next until they are idle past their TTL."""
        if self._lease is not None:
            self._lease.release()
        else:
            self._destroy()

    def _destroy(self) -> None:
        if self._lease is not None:
            self._lease.discard()
            return
        for actor in self._actors:
            ray.kill(actor, no_restart=True)
        forget(map(_id, self._actors))
        remove_placement_group(self._group)


def _id(actor: Any) -> str:
    return str(actor._actor_id.hex())
