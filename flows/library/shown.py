"""A library as one call with everything opened, and as one Prefect flow run above those of its videos.

The flow run is made only when a video must run. Its state says how the library ended: `Completed`, `Completed, 6 dead`,
`Failed` above the set share. Decides nothing about videos.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from configs.errors import Interrupted
from configs.library import LibraryJob
from configs.library_layers import video_job
from configs.redact import redact
from flows import records
from flows.ended import Ending, ending
from flows.library.batch import title
from flows.library.ends import LibraryResult, state_name
from flows.library.running import Pending, run_library
from flows.progress import Watch
from flows.resources import quiet, resources, served
from flows.signals import interrupt_on_sigterm
from flows.tally import Tally
from tasks.run import Progress, silent

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.store import Store

log = logging.getLogger("steadyframe")


def library(
    job: LibraryJob,
    *,
    store: str | None = None,
    workers: int | None = None,
    device: str | None = None,
    observe: Callable[[Progress], None] = silent,
) -> LibraryResult:
    """Restyle what is new or changed in a library; arguments, errors and stops as in `flows.api.restyle`."""
    with ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(interrupt_on_sigterm())
        told = stack.enter_context(ending("library", records.new_job_id()))
        opened, engines = stack.enter_context(resources(store, workers, device))
        return recorded(job, opened, engines, observe, told)


def recorded(
    job: LibraryJob,
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None] = silent,
    told: Ending | None = None,
) -> LibraryResult:
    """Run a library between the two records that a job leaves in the store, shown as a flow run of its own."""
    told = told or Ending("library", records.new_job_id())
    told.store, job_id = store, told.job_id
    records.write_job(store, job_id, job)

    def around(pending: Pending) -> LibraryResult:
        with served():
            return as_flow_run(job, partial(with_consent, job, pending))

    try:
        result = run_library(job, store, engines, observe, job_id=job_id, around=around)
    except (KeyboardInterrupt, Interrupted) as stop:  # before the first video, or while things were being opened
        result = LibraryResult.model_validate(LibraryResult.failure("library", stop, job=job_id).model_dump())
    told.close(result, result.library.page)
    return result


def with_consent(job: LibraryJob, pending: Pending, watch: Watch) -> LibraryResult:
    """Run what is left of a library; with `preview` only once somebody agreed to a few frames of it.

    Without a deployment nobody can be asked: then the run ends with the sheets, and the same library without `preview`
    goes on from there.
    """
    if job.preview:
        from flows.approval import approved

        tally, running = Tally(pending.running.job_id), pending.running
        sources = [video.source for video in pending.left]
        own = video_job(job)
        if not approved(own, sources, running.store, running.engines, running.observe, tally):
            return pending.not_run(tally.errors, tally.previews)
    return pending.run(watch.cancelled, watch)


def as_flow_run(job: LibraryJob, body: Callable[[Watch], LibraryResult]) -> LibraryResult:
    """Run `body` in a flow run; cancelling that on the server stops the library."""
    kept: list[LibraryResult] = []

    @flow(
        name="library",
        flow_run_name=title(job).replace("{", "(").replace("}", ")"),
        persist_result=False,
        validate_parameters=False,
        log_prints=False,
    )
    def whole(sources: list[str], out: str, preset: str, max_in_flight: int) -> State[Any]:
        """Restyle a library."""
        with Watch("library", silent) as watch:
            kept.append(body(watch))
        return state_of(kept[0])

    try:
        whole([redact(text) for text in job.sources], redact(job.out), job.preset, job.max_in_flight, return_state=True)
    except Exception as lost:
        if not kept:
            raise
        log.warning("the end of the library could not be shown by the Prefect server (%s)", type(lost).__name__)
    if not kept:
        raise Interrupted("the library's flow run was stopped by the Prefect server before it began")
    return kept[0]


def state_of(result: LibraryResult) -> State[Any]:
    """The state in which the run list shows a library that ended so."""
    facts, look = result.library, sum(output.review for output in result.outputs)
    told = f"{facts.computed} computed, {facts.reused} reused, {facts.dead} dead, {facts.waiting} not reached"
    told += f"; {look} to look at" if look else ""
    if result.status == "interrupted":
        return Cancelled(name="Interrupted", message=f"stopped: {told}; the same library goes on from here")
    if result.status == "failed":
        first = result.errors[0].message if result.errors else "no video"
        return Failed(message=f"{told}; first: {first}")
    return Completed(name="Preview" if result.previews else state_name(facts), message=told)
