"""The engine on Ray: one actor per worker in an all-or-nothing placement group, warm between shots and videos.

Tensors between windows go actor to actor through the object store; the driver sees references only.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayActorError, RayTaskError
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from configs.errors import DeviceError, SteadyframeError, StoreError, WorkerLost
from configs.job import ModelConfig
from tasks.engine.lockstep import Lockstep
from tasks.engine.protocol import Future
from tasks.engine.records import Records
from tasks.store import Store

PLACE_SECONDS = 60
CALL_SECONDS = 3600


@contextmanager
def keep_signals() -> Iterator[None]:
    """Give SIGTERM back after `ray.init`, which takes it over in the main thread: a cancel would skip our `finally`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def connect(address: str | None, cpus: int) -> bool:
    """Join the cluster at `address`, or start a local one of `cpus` slots; True when we started it."""
    if ray.is_initialized():
        return False
    with keep_signals():
        if address:
            ray.init(address=address, namespace="steadyframe", log_to_driver=False, logging_level=logging.ERROR)
            return False
        ray.init(
            num_cpus=cpus,
            namespace="steadyframe",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=True,
        )
        return True


class _Actor:
    """A `Worker` in a process of its own; the store and the model are opened there."""

    def __init__(self, store_url: str, model: ModelConfig, device: str) -> None:
        import torch

        from models.backbone import load
        from tasks.engine.worker import Worker

        torch.set_num_threads(model.threads_per_call)
        records = Records()
        logging.getLogger().addHandler(records)
        logging.getLogger("steadyframe").setLevel(logging.INFO)
        self.refusal: SteadyframeError | None = None
        try:
            began = time.perf_counter()
            self.worker = Worker(Store.open(store_url, workers=1), load(model, device), records)
            seconds = time.perf_counter() - began
            logging.getLogger("steadyframe.worker").info("%s loaded on %s in %.1f s", model.path, device, seconds)
        except SteadyframeError as error:
            # A raising constructor reads like a lost machine; said by the first call it is our own clear sentence.
            self.refusal = error

    def call(self, method: str, args: tuple[Any, ...], *foreign: Any) -> Any:
        """Call a worker method; `foreign` are the resolved futures that stand behind `args`."""
        if self.refusal:
            raise self.refusal
        result = self.worker.run(method, *args, *foreign)
        if method == "publish":
            return result[0] if len(result) == 1 else tuple(result)
        return result


class ActorLane:
    """A lane over an actor handle."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    def call(self, method: str, *args: Any, returns: int = 1) -> list[Future]:
        """Queue a method; futures must stand last in `args` so that Ray resolves them."""
        plain = tuple(a for a in args if not isinstance(a, Future))
        foreign = [a.handle for a in args if isinstance(a, Future)]
        refs = self.actor.call.options(num_returns=max(returns, 1)).remote(method, plain, *foreign)
        refs = refs if isinstance(refs, list) else [refs]
        return [Future(r) for r in refs[:returns]] if method == "publish" else [Future(r) for r in refs]


def _wait(futures: Sequence[Future]) -> list[Any]:
    try:
        return list(ray.get([f.handle for f in futures], timeout=CALL_SECONDS))
    except (RayActorError, GetTimeoutError) as error:
        raise WorkerLost(f"a worker died or hung: {type(error).__name__}") from error
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
    """`workers` actors of one class of machine; dead ones are replaced by `heal`, all then restore the last commit."""

    def __init__(
        self,
        store_url: str,
        model: ModelConfig,
        device: str,
        workers: int,
        shard_windows: int | None = None,
    ) -> None:
        total = ray.cluster_resources()
        gpu = device.startswith("cuda") or (device == "auto" and total.get("GPU", 0) >= workers)
        self._need = {"GPU": 1.0, "CPU": 1.0} if gpu else {"CPU": 1.0}
        self._args = (store_url, model, "cuda" if gpu else "cpu")
        for name, amount in self._need.items():
            if total.get(name, 0) < amount * workers:
                raise DeviceError(
                    f"{workers} workers need {amount * workers:g} {name}, the Ray cluster has {total.get(name, 0):g}; "
                    f"lower --workers"
                )
        self._group: PlacementGroup = placement_group([dict(self._need)] * workers, strategy="PACK")
        if not self._group.wait(PLACE_SECONDS):
            remove_placement_group(self._group)
            raise DeviceError(
                f"no place for {workers} workers within {PLACE_SECONDS} s; the cluster is busy, lower --workers"
            )
        self._actors: list[Any] = [self._spawn(n) for n in range(workers)]
        self._facts: dict[str, Any] = {}
        try:
            self._ready(self._actors)
            self._one_store(Store.attach(store_url))
        except BaseException:
            self.close()
            raise
        super().__init__([ActorLane(a) for a in self._actors], _wait, shard_windows)

    def _spawn(self, bundle: int) -> Any:
        strategy = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=bundle)
        remote = ray.remote(max_restarts=0, max_task_retries=0)(_Actor)
        options = {"num_cpus": self._need["CPU"], "num_gpus": self._need.get("GPU", 0)}
        return remote.options(scheduling_strategy=strategy, **options).remote(*self._args)

    def _ready(self, actors: Sequence[Any]) -> None:
        """Wait for constructors: what fails here is our configuration, never a lost machine."""
        try:
            facts = ray.get([a.call.remote("describe", ()) for a in actors], timeout=PLACE_SECONDS * 5)
        except RayTaskError as error:
            if isinstance(error.cause, SteadyframeError):
                raise error.cause from None
            raise
        except (RayActorError, GetTimeoutError) as error:
            raise DeviceError(f"a worker could not start: {error}") from error
        self._facts = facts[0]

    def _one_store(self, store: Store) -> None:
        """Every worker must see what the driver writes: a folder of this machine is no store of a cluster."""
        path = f"probes/{uuid.uuid4().hex}"
        store.blobs.put(path, b"seen from everywhere")
        try:
            seen = ray.get([a.call.remote("sees", (path,)) for a in self._actors], timeout=PLACE_SECONDS)
        finally:
            store.blobs.delete(path)
        if not all(seen):
            raise StoreError(
                f"store {store.url} is not one store on every machine: {seen.count(False)} of {len(seen)} workers do "
                f"not see what was written here; use a shared folder or an object store such as s3://"
            )

    def heal(self) -> None:
        """Replace actors that do not answer; those that do keep their loaded model."""
        pings = [a.call.remote("describe", ()) for a in self._actors]
        dead = []
        for n, ping in enumerate(pings):
            try:
                ray.get(ping, timeout=PLACE_SECONDS)
            except (RayActorError, RayTaskError, GetTimeoutError):
                dead.append(n)
        for n in dead:
            ray.kill(self._actors[n], no_restart=True)
            self._actors[n] = self._spawn(n)
        self._ready([self._actors[n] for n in dead] or self._actors)
        self.lanes = [ActorLane(a) for a in self._actors]

    def describe(self) -> dict[str, Any]:
        """Facts of the loaded model that go into keys (see `Worker.describe`)."""
        return self._facts

    def close(self) -> None:
        """Release actors and their place."""
        for actor in self._actors:
            ray.kill(actor, no_restart=True)
        remove_placement_group(self._group)
