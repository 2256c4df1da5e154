"""The flow that deployments run: a filled-in form becomes a job, and every source of it a sub-run.

Used by `steadyframe serve` and by `infra/prefect.yaml`. Store, workers and device come from the STEADYFRAME_*
variables of the process that runs it. Computes nothing itself.
"""

from __future__ import annotations

from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from configs.errors import SteadyframeError
from configs.form import RestyleForm
from flows import records
from flows.api import Tally, resources, run_sources
from flows.progress import short_name
from flows.result import JobResult
from flows.sources import expand
from tasks.run import silent


def title() -> str:
    """Name of the run for people: `demo · watercolor`, `clip.mp4 and 3 more · oil`."""
    from prefect.runtime import flow_run

    form = RestyleForm.model_validate(flow_run.parameters.get("job") or {})
    first = short_name(form.sources[0]) if form.sources else "nothing"
    more = f" and {len(form.sources) - 1} more" if len(form.sources) > 1 else ""
    return f"{first}{more} · {form.prompt[:40] if form.style == 'none' else form.style}"


@flow(name="restyle", flow_run_name=title, persist_result=False)
def restyle(job: RestyleForm = RestyleForm()) -> State[Any]:  # noqa: B008  (frozen; a literal default for the form)
    """Restyle videos by text and a named style, without flicker. Untouched, the form runs the built-in demo
    clip.

    Args:
        job: what to do; 0 and 'preset' leave a value to the preset
    """
    job_id, tally = records.new_job_id(), Tally()
    try:
        strict = job.to_job()
        sources = expand(strict.sources)
        with resources(None, None, None) as (store, engines):
            records.write_job(store, job_id, strict)
            run_sources(strict, sources, store, engines, silent, tally, stoppable=False)
            result = tally.result(job_id, strict)
            records.write_result(store, result)
    except SteadyframeError as error:
        return Failed(message=f"{type(error).__name__}: {error}")
    create_table_artifact(rows(result), key="job", description=f"Job {job_id}: {result.status}")
    get_run_logger().info("job %s: %s", job_id, result.status)
    return final_state(result)


def rows(result: JobResult) -> list[dict[str, Any]]:
    """One row per source: where its result is, or why there is none."""
    done = [{"source": o.source, "result": o.uri, "error": ""} for o in result.outputs]
    return done + [{"source": e.source, "result": "", "error": f"{e.class_name}: {e.message}"} for e in result.errors]


def final_state(result: JobResult) -> State[Any]:
    """The state of the run as the run list shows it."""
    failed = len(result.errors)
    if result.status == "interrupted":
        return Cancelled(name="Interrupted", message="stopped; a retry of this run resumes")
    if result.status == "failed":
        first = rows(result)[0]["error"] if failed else "no source"
        return Failed(message=first if failed == 1 else f"all {failed} videos failed; first: {first}")
    if failed:
        return Completed(name=f"Completed, {failed} failed")
    return Completed(name="Reused") if result.status == "reused" else Completed()
