"""What every deployed flow does around its work: form to job, limits of the server, records, and an honest state.

Store, workers, device, roots and limit come from the STEADYFRAME_* variables of the process that runs it. Knows no
method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from prefect import get_run_logger
from prefect.artifacts import create_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from configs.deflicker_job import DeflickerJob
from configs.errors import ConfigError, SteadyframeError
from configs.job import RestyleJob
from configs.redact import clean
from configs.settings import load_settings
from flows import records
from flows.budget import renewed, suspend_over_budget
from flows.ended import ending
from flows.logs import redact_logs
from flows.resources import resources
from flows.result import JobResult
from flows.roots import check_within
from flows.sources import is_url
from flows.tally import Tally

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.store import Store

SECRET = "secret:"
LEASE_SECONDS = 60.0  # a holder that was killed gives its slot back after that
J = TypeVar("J", RestyleJob, DeflickerJob)


def run_deployed(method: str, make: Callable[[], J], work: Callable[[J, Store, EnginePool, Tally], None]) -> State[Any]:
    """Make the job, do `work` on what it needs, and return the state that the run list shows."""
    redact_logs()
    tally = Tally(job_id := records.new_job_id())
    try:
        with ExitStack() as stack:
            told = stack.enter_context(ending(method, job_id))
            job = renewed(make())
            stack.enter_context(gang_slot(load_settings().gang_limit))
            store, engines = stack.enter_context(resources(None, None, None))
            told.store = store
            records.write_job(store, job_id, job)
            work(job, store, engines, tally)
            result = tally.result(job_id, job)
            told.close(result)
    except SteadyframeError as error:
        return Failed(message=f"{type(error).__name__}: {error}")
    except Exception as error:
        raise clean(error) from None  # its message is stored
    create_table_artifact(rows(result), key="job", description=f"Job {job_id}: {result.status}")
    get_run_logger().info("job %s: %s", job_id, result.status)
    suspend_over_budget(result)
    return final_state(result)


@contextmanager
def gang_slot(limit: str) -> Iterator[None]:
    """Hold one slot of the server's global concurrency limit `limit` ('' for none); waits for it.

    Errors: ConfigError when the server has no such limit: without `strict` that would silently be no limit at all.
    """
    if not limit:
        yield
        return
    from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
    from prefect.concurrency.sync import concurrency

    with ExitStack() as held:
        try:
            held.enter_context(
                concurrency(
                    limit,
                    strict=True,
                    lease_duration=LEASE_SECONDS,
                    # a server that is away for a minute must not cost a night; the store's own leases keep two apart
                    raise_on_lease_renewal_failure=False,
                )
            )
        except ConcurrencySlotAcquisitionError as error:
            raise ConfigError(
                f"STEADYFRAME_GANG_LIMIT: the Prefect server gives no slot of {limit!r} ({error}); make the limit with "
                "`python -m infra.provision`, or leave the variable empty"
            ) from error
        yield


def reveal(text: str) -> str:
    """The address that `secret:NAME` stands for: the text in the Prefect Secret block NAME; other texts as they are.

    Errors: ConfigError that names the block.
    """
    if not text.startswith(SECRET):
        return text
    from prefect.blocks.system import Secret

    name = text.removeprefix(SECRET).strip()
    try:
        return str(Secret.load(name, _sync=True).get())  # type: ignore[union-attr,call-arg]
    except ValueError as error:
        raise ConfigError(
            f"{text}: the Prefect server has no Secret block {name!r}; make it in the UI under Blocks"
        ) from error


def landing(out: str) -> str:
    """The output folder of a deployed run: a relative one lies below STEADYFRAME_OUT_DIR, where that is set."""
    root = load_settings().out_dir
    return out if root is None or is_url(out) else str(root.expanduser() / Path(out).expanduser())


def check_places(job: RestyleJob, roots: Sequence[str]) -> None:
    """Refuse a job that reads or writes outside the roots, its sources aside. Errors: ConfigError, naming the key."""
    for key, text in _places(job):
        check_within(key, text, roots)


def _places(job: RestyleJob) -> Iterator[tuple[str, str]]:
    """(job key, path) of everything that the job names beside its sources."""
    yield "out", job.out
    yield from (("reference", job.reference),) if job.reference else ()
    yield from (("depth", job.depth),) if job.depth else ()
    yield from (("model.controls", control.path) for control in job.model.controls if control.path)
    models = (job.model.path, *job.model.loras, *(control.model for control in job.model.controls))
    yield from (("model.path", path) for path in models if _looks_like_a_path(path))


def _looks_like_a_path(model: str) -> bool:
    """Other names of models are a folder of the model, a name of ours, or a hub id."""
    return model.startswith(("/", "~", ".")) or "\\" in model or ".." in model.split("/")


def rows(result: JobResult) -> list[dict[str, Any]]:
    """One row per source: where its result is, or why there is none."""
    done = [{"source": o.source, "result": o.uri, "error": ""} for o in result.outputs]
    return done + [{"source": e.source, "result": "", "error": f"{e.class_name}: {e.message}"} for e in result.errors]


def final_state(result: JobResult) -> State[Any]:
    """The state of the run as the run list and notifications show it."""
    failed = len(result.errors)
    if result.previews and not result.outputs and not result.errors:
        return Completed(name="Preview", message="the same without preview makes the whole")
    if result.errors and result.errors[-1].class_name == "Rejected":
        return Cancelled(name="Rejected", message=result.errors[-1].message)
    if result.status == "interrupted":
        return Cancelled(name="Interrupted", message="stopped; a retry of this run resumes")
    if result.status == "failed":
        first = rows(result)[0]["error"] if failed else "no source"
        return Failed(message=first if failed == 1 else f"all {failed} videos failed; first: {first}")
    told = summary(result)
    if failed:
        return Completed(name=f"Completed, {failed} failed", message=told)
    return Completed(name="Reused", message=told) if result.status == "reused" else Completed(message=told)


def summary(result: JobResult) -> str:
    """One line for notifications: `38 done, 2 failed, 1 to look at; 4120 of 5000 window-steps computed`."""
    steps, look = result.window_steps, sum(output.review for output in result.outputs)
    counts = [(len(result.outputs), "done"), (len(result.errors), "failed"), (look, "to look at")]
    told = ", ".join(f"{count} {what}" for count, what in counts if count or what == "done")
    return f"{told}; {steps.computed} of {steps.total} window-steps computed"
