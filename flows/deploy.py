"""The deployed flow `restyle`: a filled-in form becomes a job, and every source of it a sub-run.

Used by `steadyframe serve` and by `infra/prefect.yaml`. What it shares with the other deployed flows is
`flows.deployed`. Computes nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State

from configs.form import RestyleForm
from configs.job import RestyleJob
from configs.settings import load_settings
from flows.api import run_sources
from flows.approval import approved
from flows.deployed import check_places, landing, reveal, run_deployed
from flows.progress import short_name
from flows.roots import expand_within
from flows.tally import Tally
from tasks.run import silent

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.store import Store


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
    roots = load_settings().roots

    def make() -> RestyleJob:
        strict = job.to_job()
        strict = strict.model_copy(
            update={"out": landing(strict.out), "sources": tuple(reveal(text) for text in strict.sources)}
        )
        check_places(strict, roots)
        return strict

    def work(strict: RestyleJob, store: Store, engines: EnginePool, tally: Tally) -> None:
        sources = expand_within(strict.sources, roots)
        if not strict.preview or approved(strict, sources, store, engines, silent, tally):
            run_sources(strict, sources, store, engines, silent, tally, stoppable=False)

    return run_deployed("restyle", make, work)
