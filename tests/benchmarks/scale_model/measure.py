"""One real run of a library with the `dry` model on logical GPUs of Ray, and what its manifests say it took.

`dry_delay` is a sleep, so a logical GPU costs no core; all else (decoding, correspondence, commits, encoding, reports,
Prefect) is the product's own work on this machine's cores.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray

from configs.library import LibraryJob
from configs.library_layers import video_job
from flows.library.shown import recorded
from flows.resources import quiet, served
from tasks.engine.cluster import NAMESPACE
from tasks.engine.pool import EnginePool
from tasks.store import StageKey, Store
from tests.benchmarks.scale_model.mix import WINDOW, windows, write_mix


@dataclass(frozen=True)
class Setting:
    """How a run is laid out: GPUs in gangs of `gang`, videos in flight, seconds per model call, steps of a video."""

    gpus: int
    gang: int
    in_flight: int
    delay: float
    steps: int


@dataclass(frozen=True)
class Took:
    """One video: its frames and the seconds of service of each stage, waiting for workers not counted."""

    frames: int
    stages: dict[str, float]

    @property
    def windows(self) -> int:
        """Its windows."""
        return windows(self.frames)


@dataclass(frozen=True)
class Measured:
    """A whole run; `gpu_seconds` were spent in model calls, `driver_cpu` (with its server's)
    and `worker_cpu` by processes on cores."""

    setting: Setting
    videos: tuple[Took, ...]
    makespan: float
    driver_cpu: float
    worker_cpu: float

    @property
    def gpu_seconds(self) -> float:
        """Seconds of model calls."""
        return sum(v.windows for v in self.videos) * self.setting.steps * self.setting.delay

    @property
    def busy(self) -> float:
        """Share of the GPUs' time that was in model calls."""
        return self.gpu_seconds / (self.setting.gpus * self.makespan)


@contextmanager
def logical_gpus(count: int) -> Iterator[None]:
    """A local Ray with so many GPUs that do not exist, and the Prefect server that all runs share."""
    with quiet():
        slots = {"num_cpus": 2 * count, "num_gpus": count}
        ray.init(address="local", namespace=NAMESPACE, include_dashboard=False, log_to_driver=False, **slots)
        try:
            with served():
                yield
        finally:
            ray.shutdown()


def measured(setting: Setting, lengths: Sequence[int], folder: Path, seed: int) -> Measured:
    """Run a library of such videos; engines are opened and one video is done before the clock starts."""
    store = Store.open(str(folder / "store"), workers=setting.gpus)
    with EnginePool(store.url, setting.gpus, "auto", workers_per_gang=setting.gang) as engines:
        model = video_job(_job(setting, folder, folder)).model
        with ExitStack() as all_gangs:
            for _ in range(engines.gangs):
                all_gangs.enter_context(engines.lent(model))
        warm = write_mix(folder / "warm", [WINDOW], seed + 500)
        assert recorded(_job(setting, warm, folder), store, engines).status == "completed"
        clips = write_mix(folder / "clips", lengths, seed)
        before, began = _cpu(), time.perf_counter()
        result = recorded(_job(setting, clips, folder), store, engines)
        makespan, after = time.perf_counter() - began, _cpu()
        assert result.status == "completed", result.errors
        assert result.window_steps.computed == sum(map(windows, lengths)) * setting.steps
    frames = {output.source: output.frames for output in result.outputs}
    stages: dict[str, dict[str, float]] = {source: {} for source in frames}
    for stage in result.stages:
        name = stage.stage.split(" ")[0]
        manifest = store.require(StageKey(name, stage.key, {}))
        waited = float(manifest.meta.get("opening", 0.0))
        stages[stage.source][name] = stages[stage.source].get(name, 0.0) + stage.seconds - waited
    took = tuple(Took(frames[source], stages[source]) for source in sorted(frames))
    return Measured(setting, took, makespan, after[0] - before[0], after[1] - before[1])


def _job(setting: Setting, sources: Path, folder: Path) -> LibraryJob:
    settings: dict[str, Any] = {
        "prompt": "x",
        "model": {"path": "dry", "dry_delay": setting.delay},
        "num_inference_steps": setting.steps,
        "window": {"size": WINDOW},
        "deflicker": {"window": 1, "steps": [1.0]},
        "report": {"max_megabytes": 0.2},
    }
    return LibraryJob(
        sources=(str(sources),),
        out=str(folder / "out"),
        preset="dry",
        settings=settings,
        max_in_flight=setting.in_flight,
        failed_share=0.0,
    )


def _cpu() -> tuple[float, float]:
    """Seconds on cores of this process with the Prefect server it started, and of Ray's workers below it."""
    me = psutil.Process()
    driver, workers = sum(me.cpu_times()[:2]), 0.0
    for process in me.children(recursive=True):
        try:
            command, spent = process.cmdline(), sum(process.cpu_times()[:2])
        except psutil.Error:
            continue
        if any(part.startswith("ray::") for part in command):
            workers += spent
        elif "flows.server_process" in command:
            driver += spent
    return driver, workers
