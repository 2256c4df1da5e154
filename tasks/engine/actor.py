"""A worker in a Ray actor, and the lane that drives it. Knows nothing of gangs but the epoch that guards a call."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from typing import Any

import ray
import torch

from configs.errors import LeaseLost, SteadyframeError
from configs.job import ModelConfig
from tasks.code import code_digest
from tasks.engine.protocol import Future
from tasks.engine.pulse import beat
from tasks.engine.records import Records
from tasks.store import Store


def gang_kind(store_url: str, model: ModelConfig, device: str, workers: int) -> str:
    """Names what makes actors interchangeable: store, model, device, how many, and the code they run."""
    code = [code_digest(), torch.__version__]
    text = json.dumps([store_url, model.model_dump(mode="json"), device, workers, code], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Actor:
    """A `Worker` in a process of its own; the store and the model are opened there."""

    def __init__(self, store_url: str, model: ModelConfig, device: str) -> None:
        from models.backbone import load
        from tasks.engine.meter import Meter
        from tasks.engine.worker import Worker

        beat(ray.get_runtime_context().get_actor_id())
        torch.set_num_threads(model.threads_per_call)
        records = Records()
        logging.getLogger().addHandler(records)
        logging.getLogger("steadyframe").setLevel(logging.INFO)
        self.refusal: SteadyframeError | None = None
        self.epoch = 0
        self.meter = Meter()
        try:
            began = time.perf_counter()
            self.worker = Worker(Store.open(store_url, workers=1), load(model, device), records=records)
            seconds = time.perf_counter() - began
            self.meter.loaded(seconds)
            logging.getLogger("steadyframe.worker").info("%s loaded on %s in %.1f s", model.path, device, seconds)
        except SteadyframeError as error:
            # A raising constructor reads like a lost machine; said by the first call it is our own clear sentence.
            self.refusal = error

    def call(self, epoch: int, method: str, args: tuple[Any, ...], *foreign: Any) -> Any:
        """Call a worker method; `foreign` are the resolved futures that stand behind `args`.

        An `epoch` older than the newest seen is refused: another driver leased this gang since.
        """
        if self.refusal:
            raise self.refusal
        if epoch < self.epoch:
            raise LeaseLost(f"this gang was leased by another run (epoch {self.epoch}, ours is {epoch}); run it again")
        self.epoch = epoch
        with self.meter.call(method):
            result = self.worker.run(method, *args, *foreign)
        if method == "publish":
            return result[0] if len(result) == 1 else tuple(result)
        return result


class ActorLane:
    """A lane over an actor handle."""

    def __init__(self, actor: Any, epoch: int = 0) -> None:
        self.actor, self.epoch = actor, epoch

    def call(self, method: str, *args: Any, returns: int = 1) -> list[Future]:
        """Queue a method; futures must stand last in `args` so that Ray resolves them."""
        plain = tuple(a for a in args if not isinstance(a, Future))
        foreign = [a.handle for a in args if isinstance(a, Future)]
        refs = self.actor.call.options(num_returns=max(returns, 1)).remote(self.epoch, method, plain, *foreign)
        refs = refs if isinstance(refs, list) else [refs]
        return [Future(r) for r in refs[:returns]] if method == "publish" else [Future(r) for r in refs]
