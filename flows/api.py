"""`restyle(job)` and `deflicker(job)`: the whole of Steadyframe as one call, for the command line and for Python.

Opens what a run needs (store, engines, Prefect server), runs every source as a flow run of its own, and
returns what `--json` prints. One failed video never stops the others. Knows no stage and no argument
parser.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from configs.deflicker_job import DeflickerJob
from configs.errors import ConfigError, Interrupted, SteadyframeError
from configs.job import RestyleJob
from configs.settings import load_settings
from flows import records
from flows.demo import demo_clip
from flows.result import ErrorEntry, JobResult, Status
from flows.signals import interrupt_on_sigterm
from flows.sources import DEMO, Source, expand
from tasks.run import Progress, Run, VideoResult, WindowSteps, silent

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.store import Store

QUIET_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
}

log = logging.getLogger("steadyframe")


@dataclass
class Tally:
    """What became of the sources of a job so far; survives the exception that ends the loop."""

    videos: list[VideoResult] = field(default_factory=list)
    errors: list[ErrorEntry] = field(default_factory=list)

    def status(self) -> Status:
        """The one word of the JSON contract; `reused` only when no stage of any video was computed."""
        if any(issubclass(error.kind, Interrupted) for error in self.errors):
            return "interrupted"
        if self.errors:
            return "partial" if self.videos else "failed"
        stages = [stage for video in self.videos for stage in video.stages]
        return "reused" if stages and all(stage.status == "reused" for stage in stages) else "completed"

    def attempt(self, named: str, work: Callable[[], VideoResult]) -> bool:
        """Do the work of one video and note what became of it; False when it was interrupted."""
        try:
            self.videos.append(work())
        except (Interrupted, KeyboardInterrupt) as stop:
            self.errors.append(ErrorEntry.of(stop, named))
            return False
        except SteadyframeError as error:
            self.errors.append(ErrorEntry.of(error, named))
        except Exception as error:  # our fault, and no reason to leave the other videos undone
            log.debug("unexpected error on %s", named, exc_info=True)
            self.errors.append(ErrorEntry.of(error, named))
        return True

    def result(self, job_id: str, job: RestyleJob | DeflickerJob) -> JobResult:
        """The tally as the JSON contract has it."""
        steps = [video.window_steps for video in self.videos]
        return JobResult(
            job=job_id,
            method=job.method,
            status=self.status(),
            outputs=[video.output for video in self.videos],
            stages=[stage for video in self.videos for stage in video.stages],
            window_steps=WindowSteps(
                total=sum(s.total for s in steps),
                computed=sum(s.computed for s in steps),
                reused=sum(s.reused for s in steps),
            ),
            deflicker_steps=sorted({step for video in self.videos for step in video.deflicker_steps}),
            errors=list(self.errors),
        )


def restyle(
    job: RestyleJob,
    *,
    store: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    observe: Callable[[Progress], None] = silent,
) -> JobResult:
    """Restyle every source of `job` and return outputs, stages and errors.

    `store` is an fsspec URL (default: the user's), `workers` the number of Ray actors (default: one per
    GPU, else one per core; 0 computes in this process), `device` one of auto, cpu, cuda[:N]. Raises
    `ConfigError` when nothing could start (store, device, sources); later errors are in the result. Ctrl-C
    and SIGTERM end it with status `interrupted`; the same call resumes.
    """

    def work(opened: Store, engines: EnginePool, tally: Tally) -> None:
        sources = expand(job.sources)
        with ExitStack() as serving:
            if any(source.error is None for source in sources):
                serving.enter_context(_served())
            run_sources(job, sources, opened, engines, observe, tally, stoppable=True)

    return _whole_job(job, store, workers, device, work)


def deflicker(
    job: DeflickerJob,
    *,
    store: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    observe: Callable[[Progress], None] = silent,
) -> JobResult:
    """Steady the video of `job`, or fill in between its keyframes; arguments, errors and stops as in `restyle`."""

    from flows.filtering import run_filter

    def work(opened: Store, engines: EnginePool, tally: Tally) -> None:
        with ExitStack() as serving:
            if all(source.error is None for source in expand((job.source or job.guide, job.guide))):
                serving.enter_context(_served())
            run_filter(job, opened, engines, observe, tally, stoppable=True)

    return _whole_job(job, store, workers, device, work)


def _whole_job(
    job: RestyleJob | DeflickerJob,
    store: str | None,
    workers: int | None,
    device: str | None,
    work: Callable[[Store, EnginePool, Tally], None],
) -> JobResult:
    """Do `work` on what a run needs, between the two records that a job leaves in the store."""
    job_id, tally = records.new_job_id(), Tally()
    opened: Store | None = None
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        stack.enter_context(interrupt_on_sigterm())
        try:
            opened, engines = stack.enter_context(resources(store, workers, device))
            records.write_job(opened, job_id, job)
            work(opened, engines, tally)
        except KeyboardInterrupt as stop:  # between two videos, or while things were being opened
            tally.errors.append(ErrorEntry.of(stop))
        result = tally.result(job_id, job)
        if opened is not None:
            records.write_result(opened, result)
    return result


def run_sources(
    job: RestyleJob,
    sources: Sequence[Source],
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None],
    tally: Tally,
    stoppable: bool,
) -> None:
    """Run every source as a flow run of its own and note in `tally` what became of it.

    A video that fails is noted and the next begins; an interruption is noted and ends the loop.
    """
    from flows.video import restyle_one

    for source in sources:
        if source.error is not None:
            tally.errors.append(ErrorEntry.of(source.error, source.uri))
            continue

        def work(source: Source = source) -> VideoResult:
            uri = str(demo_clip()) if source.uri == DEMO else source.uri
            return restyle_one(Run(job, uri, store, engines, source.relative, observe), stoppable=stoppable)

        if not tally.attempt(source.uri, work):
            return


@contextmanager
def resources(store: str | None, workers: int | None, device: str | None) -> Iterator[tuple[Store, EnginePool]]:
    """Open the store and the engines that arguments, then settings, then this machine decide; close the
    engines.
    """
    from tasks.engine.pool import EnginePool
    from tasks.store import Store

    settings = load_settings()
    workers = default_workers() if (workers := settings.workers if workers is None else workers) is None else workers
    if workers < 0:
        raise ConfigError(f"workers must be 0 (in this process) or more, got {workers}")
    opened = Store.open(store or settings.store, workers=workers)
    with EnginePool(opened.url, workers, device or settings.device, settings.ray_address) as engines:
        yield opened, engines


def set_environment(variables: Mapping[str, str]) -> None:
    """Set environment variables that the user has not set; our child processes inherit them."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def default_workers() -> int:
    """One per GPU, else one per core this process may use."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.device_count()
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _served() -> Iterator[str]:
    from flows.server import local_api

    with local_api() as url:
        yield url


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Prefect off the console (its records go to its server) and telemetry off altogether."""
    set_environment(QUIET_ENVIRONMENT)
    import prefect.main  # noqa: F401  (sets its console handlers up, once)
    from prefect.logging.handlers import PrefectConsoleHandler

    loggers = [
        logging.getLogger(),
        *(x for x in logging.root.manager.loggerDict.values() if isinstance(x, logging.Logger)),
    ]
    consoles = {h: h.level for logger in loggers for h in logger.handlers if isinstance(h, PrefectConsoleHandler)}
    for console in consoles:
        console.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for console, level in consoles.items():
            console.setLevel(level)
