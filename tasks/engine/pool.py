"""The engines of a process: gangs of workers, lent to one shot at a time and warm for the next shot, video and job.

Safe for videos in flight at once: who needs workers borrows a gang for as long as one shot needs it, first come first
served. Which gang serves a shot, and how many there are, changes no result. Knows no stage.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch

from configs.errors import DeviceError
from configs.job import ModelConfig
from models.backbone import describe
from tasks.engine.lending import Gang, Loan, Queue
from tasks.engine.local import LocalEngine
from tasks.engine.protocol import Engine
from tasks.numerics import numerics_class
from tasks.rungs import Rungs
from tasks.store import Store

if TYPE_CHECKING:
    from tasks.history import History

ACTOR_TTL = 900.0
_LOANS_KEPT = 10_000


@dataclass(frozen=True)
class ModelFacts:
    """Digest of the weights, the multiple a frame's sides must have, and the numerics class of this pool.

    Latent channels and pixels per latent of a model that is not here are those of Stable Diffusion 1.
    """

    digest: str
    size_multiple: int
    numerics: dict[str, Any]
    latent_channels: int = 4
    factor: int = 8


class EnginePool:
    """`workers=0` runs in this process, else on that many Ray actors, in gangs of `workers_per_gang` (default: one).

    `shard_windows` fixes the size of a shard (default: even over the workers); `lanes` the
    threads of `workers=0` (default: one per core). `actor_ttl`: seconds that idle actors stay on a cluster which we did
    not start. None of them changes a result.
    """

    def __init__(
        self,
        store_url: str,
        workers: int,
        device: str = "auto",
        ray_address: str | None = None,
        shard_windows: int | None = None,
        lanes: int | None = None,
        workers_per_gang: int | None = None,
        actor_ttl: float = ACTOR_TTL,
    ) -> None:
        if device not in ("auto", "cpu") and not device.startswith("cuda"):
            raise DeviceError(f"device must be auto, cpu or cuda[:N], got {device!r}")
        if device.startswith("cuda") and not torch.cuda.is_available() and not ray_address:
            raise DeviceError(f"device {device!r} asked for, but torch sees no GPU here; use --device cpu")
        each = workers if workers_per_gang is None else workers_per_gang
        if workers and (each < 1 or workers % each):
            raise DeviceError(f"{workers} workers cannot be cut into gangs of {each}; choose a divisor of {workers}")
        self.store_url, self.workers, self.ray_address = store_url, workers, ray_address
        self.device = device
        self.shard_windows, self.lanes, self.actor_ttl = shard_windows, lanes, actor_ttl
        self.workers_per_gang = each
        self.loans: deque[Loan] = deque(maxlen=_LOANS_KEPT)
        self._gangs = [Gang(n) for n in range(workers // each if workers else 1)]
        self._queue = Queue(self._gangs)
        self.rungs = Rungs()
        self.history: History | None = None  # what earlier jobs took, once somebody asked
        self._facts: dict[str, ModelFacts] = {}
        self._opening = threading.RLock()  # one engine is opened at a time, so that they do not race for places
        self._describing = threading.Lock()
        self._started_ray = False

    @property
    def gangs(self) -> int:
        """How many shots can be served at once."""
        return len(self._gangs)

    @contextmanager
    def lent(self, model: ModelConfig, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Engine]:
        """Lend a gang with the warm engine of `model` for one use; waits while all are busy.

        Raises Interrupted when `should_stop()` says so while waiting, and what opening an engine raises.
        """
        began = time.perf_counter()
        name = model.model_dump_json()
        gang = self._queue.take(name, should_stop)
        try:
            lent = time.perf_counter()
            opened = self._ready(gang, model, name)
            ready = time.perf_counter()
            self.loans.append(Loan(gang.number, model.path, opened, ready - lent, lent - began))
            assert gang.engine is not None
            yield gang.engine
        finally:
            self._queue.give_back(gang)

    def engine(self, model: ModelConfig) -> Engine:
        """The warm engine of a model, for a caller who is alone with this pool."""
        name = model.model_dump_json()
        gang = next((g for g in self._gangs if g.model == name), self._gangs[0])
        self._ready(gang, model, name)
        assert gang.engine is not None
        return gang.engine

    def facts(self, model: ModelConfig) -> ModelFacts:
        """What keys and plans need of a model; read from its files, so that a run that reuses all loads nothing."""
        name = model.model_dump_json()
        with self._describing:
            if name not in self._facts:
                known = describe(model)
                self._facts[name] = ModelFacts(
                    known.digest, known.size_multiple, self._numerics(model), known.latent_channels, known.factor
                )
            return self._facts[name]

    def warm(self, model: ModelConfig) -> bool:
        """Whether a gang has this model open."""
        name = model.model_dump_json()
        return any(gang.model == name for gang in self._gangs)

    def release(self) -> None:
        """Let the workers go, keep the cluster."""
        for gang in self._gangs:
            gang.close()

    def close(self) -> None:
        """Release every engine; a cluster we started goes too."""
        self.release()
        if self._started_ray:
            import ray

            ray.shutdown()
            self._started_ray = False

    def _ready(self, gang: Gang, model: ModelConfig, name: str) -> bool:
        """Make the engine of `model` the gang's; whether it had to be opened."""
        if gang.model == name:
            return False
        with self._opening:
            gang.close()  # one model at a time: two would have to share the devices
            gang.engine = self._open(model)
            gang.model = name
        return True

    def _open(self, model: ModelConfig) -> Engine:
        if self.workers == 0:
            store = Store.open(self.store_url, workers=0)
            return LocalEngine(store, model, self._device(), self.lanes, self.shard_windows)
        from tasks.engine.actor import gang_kind
        from tasks.engine.cluster import wants_gpu
        from tasks.engine.gangs import GangLease
        from tasks.engine.ray import RayEngine

        self._connect()
        place = "cuda" if wants_gpu(self.device, self.workers) else "cpu"  # alike for all gangs, as in `_numerics`
        lease = None
        if self.ray_address:
            kind = gang_kind(self.store_url, model, place, self.workers_per_gang)
            lease = GangLease.acquire(kind, self.workers_per_gang, self.actor_ttl)
        try:
            processor = self._numerics(model)["processor"]
            return RayEngine(self.store_url, model, place, self.workers_per_gang, self.shard_windows, lease, processor)
        except BaseException:
            if lease is not None:
                lease.discard()
            raise

    def _connect(self) -> None:
        from tasks.engine.cluster import connect

        with self._opening:
            # Slots are logical: more workers than cores is slow but right, and how exactness over workers is tested.
            self._started_ray |= connect(self.ray_address, max(self.workers, os.cpu_count() or 1))

    def _numerics(self, model: ModelConfig) -> dict[str, Any]:
        """The numerics class of this pool; a cluster elsewhere is asked what its machines are, without a model."""
        if not (self.workers and self.ray_address):
            return numerics_class(model, self._device())
        from tasks.engine.cluster import survey

        self._connect()
        place, processor = survey(self.device, self.workers)
        return numerics_class(model, place, processor)

    @property
    def computes_on(self) -> str:
        """The device engines compute on, as far as this machine knows it."""
        return self._device()

    def _device(self) -> str:
        """Where engines of this machine compute."""
        if self.device != "auto":
            return self.device
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return "cuda" if gpus and gpus >= self.workers else "cpu"

    def __enter__(self) -> EnginePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
