"""`restyle(job)` and `deflicker(job)`: the whole of Steadyframe as one call, for the command line and for Python.

Opens what a run needs (store, engines, Prefect server), runs every source as a flow run of its own, and
returns what `--json` prints. One failed video never stops the others. Knows no stage and no argument
parser.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from configs.deflicker_job import DeflickerJob
from configs.errors import ConfigError, Interrupted, SteadyframeError
from configs.job import RestyleJob
from configs.settings import load_settings
from flows import records
from flows.dead import write_dead
from flows.demo import demo_clip
from flows.logs import redact_logs
from flows.notify import announce
from flows.result import ErrorEntry, JobResult, PreviewSheet, Status
from flows.signals import interrupt_on_sigterm
from flows.sources import DEMO, Source, expand
from flows.telemetry import exported
from tasks.run import Progress, Run, VideoResult, WindowSteps, silent

if TYPE_CHECKING:
    from configs.library import LibraryJob
    from flows.library.ends import LibraryResult
    from flows.replaying import ReplayRequest
    from tasks.engine.pool import EnginePool
    from tasks.purse import Purse
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

    job_id: str = ""
    videos: list[VideoResult] = field(default_factory=list)
    errors: list[ErrorEntry] = field(default_factory=list)
    previews: list[PreviewSheet] = field(default_factory=list)

    def status(self) -> Status:
        """The one word of the JSON contract; `reused` only when no stage of any video was computed."""
        if any(issubclass(error.kind, Interrupted) for error in self.errors):
            return "interrupted"
        if self.errors:
            return "partial" if self.videos else "failed"
        stages = [stage for video in self.videos for stage in video.stages]
        return "reused" if stages and all(stage.status == "reused" for stage in stages) else "completed"

    def attempt(
        self,
        named: str,
        work: Callable[[], VideoResult],
        dead: Callable[[Exception], object] = lambda error: None,
    ) -> bool:
        """Do the work of one video and note what became of it; False when it was interrupted.

        `dead` is handed the error of a video that failed.
        """
        try:
            self.videos.append(work())
        except (Interrupted, KeyboardInterrupt) as stop:
            self.errors.append(ErrorEntry.of(stop, named))
            return False
        except Exception as error:  # also our own faults: no reason to leave the other videos undone
            if not isinstance(error, SteadyframeError):
                log.debug("unexpected error on %s", named, exc_info=True)
            self.errors.append(ErrorEntry.of(error, named))
            dead(error)
        return True

    def result(self, job_id: str, job: RestyleJob | DeflickerJob | ReplayRequest) -> JobResult:
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
            previews=list(self.previews),
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
    and SIGTERM end it with status `interrupted`; the same call resumes. A job with `preview` ends with the
    sheets in the result's `previews`; the same without it makes the rest.
    """

    def work(opened: Store, engines: EnginePool, tally: Tally) -> None:
        sources = expand(job.sources)
        if job.preview:
            from flows.preview import preview_sources

            preview_sources(job, sources, opened, engines, observe, tally)
            return
        with ExitStack() as serving:
            if any(source.error is None for source in sources):
                serving.enter_context(served())
            run_sources(job, sources, opened, engines, observe, tally, stoppable=True)

    return whole_job(job, store, workers, device, work)


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
                serving.enter_context(served())
            run_filter(job, opened, engines, observe, tally, stoppable=True)

    return whole_job(job, store, workers, device, work)


def library(
    job: LibraryJob,
    *,
    store: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    observe: Callable[[Progress], None] = silent,
) -> LibraryResult:
    """Restyle what is new or changed in a library, several videos at a time; arguments and stops as in `restyle`."""
    from flows.library.shown import library

    return library(job, store=store, workers=workers, device=device, observe=observe)


def whole_job(
    job: RestyleJob | DeflickerJob | ReplayRequest,
    store: str | None,
    workers: int | None,
    device: str | None,
    work: Callable[[Store, EnginePool, Tally], None],
) -> JobResult:
    """Do `work` on what a run needs, between the records that a job leaves in the store."""
    began = time.perf_counter()
    tally = Tally(job_id := records.new_job_id())
    opened: Store | None = None
    with ExitStack() as stack:
        stack.enter_context(quiet())
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
            records.write_took(opened, job_id, time.perf_counter() - began)
            announce(result, opened)
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
    from tasks.purse import Purse

    purse = Purse(job.budget)
    for source in sources:
        work = partial(restyle_source, job, source, store, engines, observe, stoppable, purse)
        named = partial(write_dead, store, job_id=tally.job_id, job=job, source=source.uri, relative=source.relative)

        def dead(error: Exception, letter: Callable[..., str] = named) -> None:
            letter(error=error, attempt=1)

        if not tally.attempt(source.uri, work, dead):
            return


def restyle_source(
    job: RestyleJob,
    source: Source,
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None],
    stoppable: bool,
    purse: Purse | None = None,
) -> VideoResult:
    """Restyle one expanded source as a flow run of its own; raises what the pipeline raised, or the source's error."""
    from flows.video import restyle_one

    if source.error is not None:
        raise source.error
    uri = str(demo_clip()) if source.uri == DEMO else source.uri
    run = Run(job, uri, store, engines, source.relative, observe, purse=purse)
    return restyle_one(run, stoppable=stoppable)


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
    engines = EnginePool(
        opened.url,
        workers,
        device or settings.device,
        settings.ray_address,
        workers_per_gang=settings.workers_per_gang if workers else None,
        actor_ttl=settings.actor_ttl,
    )
    with exported(settings), engines:
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
def served() -> Iterator[str]:
    """Yield the address of the Prefect server that runs are shown by (`flows.server.local_api`)."""
    from flows.server import local_api

    with local_api() as url:
        yield url


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Prefect off the console (its records go to its server) and telemetry off altogether."""
    set_environment(QUIET_ENVIRONMENT)
    import prefect.main  # noqa: F401  (sets its console handlers up, once)
    from prefect.logging.handlers import PrefectConsoleHandler

    redact_logs()

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
