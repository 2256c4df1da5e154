"""The engines of a process: opened when a stage first needs one, warm for the next video, closed together."""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch

from configs.errors import DeviceError
from configs.job import ModelConfig
from models.backbone import describe
from tasks.engine.local import LocalEngine
from tasks.engine.protocol import Engine
from tasks.numerics import numerics_class
from tasks.store import Store


@dataclass(frozen=True)
class ModelFacts:
    """Digest of the weights, the multiple a frame's sides must have, and the numerics class of this pool."""

    digest: str
    size_multiple: int
    numerics: dict[str, Any]


class EnginePool:
    """One engine per model; `workers=0` runs in this process, else on that many Ray actors.

    `shard_windows` fixes the size of a shard (default: even over the workers); `lanes` the
    threads of `workers=0` (default: one per core). Neither changes a result.
    """

    def __init__(
        self,
        store_url: str,
        workers: int,
        device: str = "auto",
        ray_address: str | None = None,
        shard_windows: int | None = None,
        lanes: int | None = None,
    ) -> None:
        if device not in ("auto", "cpu") and not device.startswith("cuda"):
            raise DeviceError(f"device must be auto, cpu or cuda[:N], got {device!r}")
        if device.startswith("cuda") and not torch.cuda.is_available() and not ray_address:
            raise DeviceError(f"device {device!r} asked for, but torch sees no GPU here; use --device cpu")
        self.store_url, self.workers, self.ray_address = store_url, workers, ray_address
        self.device = device
        self.shard_windows, self.lanes = shard_windows, lanes
        self._engines: dict[str, Engine] = {}
        self._facts: dict[str, ModelFacts] = {}
        self._started_ray = False

    def engine(self, model: ModelConfig) -> Engine:
        """The warm engine of a model."""
        name = model.model_dump_json()
        if name not in self._engines:
            self.release()  # one model at a time: two would have to share the devices
            if self.workers == 0:
                store = Store.open(self.store_url, workers=0)
                self._engines[name] = LocalEngine(store, model, self._device(model), self.lanes, self.shard_windows)
            else:
                self._engines[name] = self._on_ray(model)
        return self._engines[name]

    def _on_ray(self, model: ModelConfig) -> Engine:
        from tasks.engine.ray import RayEngine, connect

        # Slots are logical: more workers than cores is slow but right, and how exactness over workers is tested.
        self._started_ray |= connect(self.ray_address, max(self.workers, os.cpu_count() or 1))
        return RayEngine(self.store_url, model, self.device, self.workers, self.shard_windows)

    def facts(self, model: ModelConfig) -> ModelFacts:
        """What keys and plans need of a model; read from its files, so that a run that reuses all loads nothing."""
        name = model.model_dump_json()
        if name not in self._facts:
            known = describe(model)
            self._facts[name] = ModelFacts(
                known.digest, known.size_multiple, numerics_class(model, self._device(model))
            )
        return self._facts[name]

    def _device(self, model: ModelConfig) -> str:
        """Where this pool's engines compute; only a cluster elsewhere must be asked."""
        if self.device != "auto":
            return self.device
        if self.workers and self.ray_address:
            return str(self.engine(model).describe()["device"])
        return "cuda" if torch.cuda.is_available() else "cpu"

    def release(self) -> None:
        """Let the workers go, keep the cluster."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def close(self) -> None:
        """Release every engine; a cluster we started goes too."""
        self.release()
        if self._started_ray:
            import ray

            ray.shutdown()
            self._started_ray = False

    def __enter__(self) -> EnginePool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
