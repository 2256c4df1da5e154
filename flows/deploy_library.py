"""The deployed flow `library`: a filled-in form becomes a library job, every video that must run a sub-run.

Every run is a run of its own: nothing it did before a crash is taken as an answer, only what the store holds. Roots,
limits and secrets are those of `flows.deployed`. Computes nothing itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Failed

from configs.errors import SteadyframeError
from configs.form_library import LibraryForm
from configs.job import RestyleJob
from configs.library import LibraryJob
from configs.redact import clean
from configs.settings import load_settings
from flows import records
from flows.budget import budget_of_attempt, suspend_over_budget
from flows.deployed import check_places, gang_slot, landing, reveal, rows
from flows.ended import ending
from flows.library.ends import LibraryResult
from flows.library.running import Pending, run_library
from flows.library.shown import state_of, with_consent
from flows.logs import redact_logs
from flows.progress import Watch, short_name
from flows.resources import resources
from flows.roots import check_within, expand_within
from flows.sources import Source
from tasks.run import silent


def title() -> str:
    """Name of the run for people: `clips · watercolor`, `nightly.yaml`."""
    from prefect.runtime import flow_run

    form = LibraryForm.model_validate(flow_run.parameters.get("job") or {})
    if form.job_file:
        return short_name(form.job_file)
    first = short_name(form.sources[0]) if form.sources else "nothing"
    more = f" and {len(form.sources) - 1} more" if len(form.sources) > 1 else ""
    return f"{first}{more} · {form.prompt[:40] if form.style == 'none' else form.style}"


@flow(name="library", flow_run_name=title, persist_result=False)
def library(job: LibraryForm = LibraryForm()) -> State[Any]:  # noqa: B008  (frozen; a literal default for the form)
    """Restyle what is new or changed in a library. Untouched, the form runs the built-in demo clip.

    Args:
        job: what to do; 0 and 'preset' leave a value to the preset
    """
    redact_logs()
    job_id, attempt = records.new_job_id(), _attempt()
    try:
        with ExitStack() as stack:
            told = stack.enter_context(ending("library", job_id))
            strict = _strict(job)
            stack.enter_context(gang_slot(load_settings().gang_limit))
            store, engines = stack.enter_context(resources(None, None, None))
            told.store = store
            records.write_job(store, job_id, strict)
            result = run_library(
                strict,
                store,
                engines,
                job_id=job_id,
                attempt=attempt,
                stoppable=False,
                expanded=_expanded,
                check=_inside,
                around=partial(_watched, strict),
            )
            told.close(result, result.library.page)
        suspend_over_budget(result)
    except SteadyframeError as error:
        return Failed(message=f"{type(error).__name__}: {error}")
    except Exception as error:
        raise clean(error) from None  # its message is stored
    create_table_artifact(rows(result), key="library", description=f"Job {job_id}: {result.library.page}")
    get_run_logger().info("job %s: %s", job_id, result.status)
    return state_of(result)


def _strict(form: LibraryForm) -> LibraryJob:
    """The library job of a form, inside the roots, with its secrets revealed."""
    roots = load_settings().roots
    strict = form.to_job(lambda path: check_within("job_file", path, roots))
    strict = strict.model_copy(update={"out": landing(strict.out)})
    check_within("out", strict.out, roots)
    changes: dict[str, Any] = {"sources": tuple(reveal(text) for text in strict.sources)}
    if strict.budget is not None and strict.budget.limited:
        changes["budget"] = budget_of_attempt(strict.budget)
    return strict.model_copy(update=changes)


def _expanded(texts: Sequence[str]) -> list[Source]:
    return expand_within(texts, load_settings().roots)


def _inside(job: RestyleJob) -> None:
    """Refuse the job of a video, its sidecar laid over it, that names something outside the roots."""
    check_places(job, load_settings().roots)


def _watched(job: LibraryJob, pending: Pending) -> LibraryResult:
    with Watch("library", silent) as watch:
        return with_consent(job, pending, watch)


def _attempt() -> int:
    """How often this flow run was begun, this time included."""
    from prefect.runtime import flow_run

    return max(1, int(flow_run.run_count or 1))
