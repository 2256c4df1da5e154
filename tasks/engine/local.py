"""The engine in this process: lanes are threads that share one loaded model. Part of the product, no test double."""

from __future__ import annotations

import concurrent.futures as cf
import os
from typing import Any

import torch

from configs.job import ModelConfig
from models.backbone import load
from tasks.engine.lockstep import Lockstep
from tasks.engine.protocol import Future
from tasks.engine.worker import Worker
from tasks.store import Store
from tasks.video.copies import SourceCopies


class ThreadLane:
    """A worker on a thread of its own; calls run in the order they were queued."""

    def __init__(self, worker: Worker, threads_per_call: int) -> None:
        self.worker = worker
        # BLAS results depend on the thread count, which torch keeps per thread: set it where the calls will run.
        self.pool = cf.ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads_per_call,))

    def call(self, method: str, *args: Any, returns: int = 1) -> list[Future]:
        """Queue a method; with `returns` != 1 its list of results becomes as many futures."""
        whole = self.pool.submit(self._run, method, args)
        if returns == 1 and method != "publish":
            return [Future(whole)]
        return [Future((whole, n)) for n in range(returns)]

    def _run(self, method: str, args: tuple[Any, ...]) -> Any:
        return self.worker.run(method, *(_value(a) if isinstance(a, Future) else a for a in args))


def _value(future: Future) -> Any:
    if isinstance(future.handle, tuple):
        whole, n = future.handle
        return whole.result()[n]
    return future.handle.result()


class LocalEngine(Lockstep):
    """`workers=0`: as many lanes as cores and threads per call allow, one model, no other process."""

    def __init__(
        self, store: Store, model: ModelConfig, device: str, lanes: int | None = None, shard_windows: int | None = None
    ) -> None:
        backbone = load(model, device)
        cores = 1 if backbone.device.type == "cuda" else max(1, (os.cpu_count() or 1) // model.threads_per_call)
        copies = SourceCopies()
        workers = [Worker(store, backbone, copies) for _ in range(lanes or cores)]
        self._threads = [ThreadLane(worker, model.threads_per_call) for worker in workers]
        super().__init__(self._threads, lambda futures: [_value(f) for f in futures], shard_windows)

    def heal(self) -> None:
        """Threads do not die alone."""

    def describe(self) -> dict[str, Any]:
        """See `Engine`."""
        facts: dict[str, Any] = self.wait(self.lanes[0].call("describe"))[0]
        return facts

    def close(self) -> None:
        """Stop the lanes; what they still hold is dropped."""
        for lane in self._threads:
            lane.pool.shutdown(wait=False, cancel_futures=True)
