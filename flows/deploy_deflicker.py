"""The deployed flow `deflicker`: a filled-in form becomes a deflicker job, and its one video a sub-run.

What it shares with the other deployed flows is `flows.deployed`. Computes nothing itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prefect import flow
from prefect.client.schemas.objects import State

from configs.deflicker_job import DeflickerJob
from configs.form_deflicker import DeflickerJobForm
from configs.settings import load_settings
from flows.deployed import landing, reveal, run_deployed
from flows.filtering import run_filter
from flows.progress import short_name
from flows.roots import check_within
from flows.sources import DEMO
from flows.tally import Tally
from tasks.run import silent

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.store import Store


def title() -> str:
    """Name of the run for people: `styled.mp4 · deflicker`, `clip.mp4 · keyframes`."""
    from prefect.runtime import flow_run

    form = DeflickerJobForm.model_validate(flow_run.parameters.get("job") or {})
    named = form.guide if form.keyframes else form.source
    return f"{short_name(named)} · {'keyframes' if form.keyframes else 'deflicker'}"


@flow(name="deflicker", flow_run_name=title, persist_result=False)
def deflicker(job: DeflickerJobForm = DeflickerJobForm()) -> State[Any]:  # noqa: B008  (frozen; a literal default)
    """Steady a finished video along the motion of its guide, or fill in between keyframes. Untouched, the form runs
    the built-in demo clip.

    Args:
        job: what to do
    """
    roots = load_settings().roots

    def make() -> DeflickerJob:
        strict = job.to_job()
        revealed = {key: reveal(text) for key in ("source", "guide") if (text := getattr(strict, key))}
        places = {key: text for key, text in revealed.items() if text != DEMO} | {"out": landing(strict.out)}
        for key, text in [*places.items(), *(("keyframes", frame.image) for frame in strict.keyframes)]:
            check_within(key, text, roots)
        return strict.model_copy(update=revealed | places)

    def work(strict: DeflickerJob, store: Store, engines: EnginePool, tally: Tally) -> None:
        run_filter(strict, store, engines, silent, tally, stoppable=False)

    return run_deployed("deflicker", make, work)
