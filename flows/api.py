"""`restyle(job)` and `deflicker(job)`: the whole of Steadyframe as one call, for the command line and for Python.

Opens what a run needs (store, engines, Prefect server), runs every source as a flow run of its own, and
returns what `--json` prints. One failed video never stops the others. Knows no stage and no argument
parser.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from configs.deflicker_job import DeflickerJob
from configs.job import RestyleJob
from flows import records
from flows.dead import write_dead
from flows.demo import demo_clip
from flows.ended import ending
from flows.resources import quiet, resources, served
from flows.result import ErrorEntry, JobResult
from flows.signals import interrupt_on_sigterm
from flows.sources import DEMO, Source, expand
from flows.tally import Tally
from tasks.run import Progress, Run, StageRecord, VideoResult, silent

if TYPE_CHECKING:
    from configs.library import LibraryJob
    from flows.library.ends import LibraryResult
    from flows.replaying import ReplayRequest
    from tasks.engine.pool import EnginePool
    from tasks.purse import Purse
    from tasks.store import Store


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
    with ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(interrupt_on_sigterm())
        told = stack.enter_context(ending(job.method, job_id))
        try:
            opened, engines = stack.enter_context(resources(store, workers, device))
            told.store = opened
            records.write_job(opened, job_id, job)
            work(opened, engines, tally)
        except KeyboardInterrupt as stop:  # between two videos, or while things were being opened
            tally.errors.append(ErrorEntry.of(stop))
        result = tally.result(job_id, job)
        told.close(result, seconds=time.perf_counter() - began)
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
    purse: Purse | None,
    finished: list[StageRecord],
) -> VideoResult:
    """Restyle one expanded source as a flow run of its own; raises what the pipeline raised, or the source's error.

    `finished` fills with the stages that are done, whatever becomes of the video.
    """
    from flows.video import restyle_one

    if source.error is not None:
        raise source.error
    uri = str(demo_clip()) if source.uri == DEMO else source.uri
    run = Run(job, uri, store, engines, source.relative, observe, purse=purse, finished=finished)
    return restyle_one(run, stoppable=stoppable)
