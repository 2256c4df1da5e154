"""The one video of a deflicker job: found, run as a flow run of its own, and noted in the tally. Knows no stage."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from configs.deflicker_job import DeflickerJob
from configs.errors import ConfigError
from flows.dead import write_dead
from flows.demo import demo_clip
from flows.sources import DEMO, expand
from tasks.results import ResultFolder
from tasks.run import Progress, Run, StageRecord, VideoResult

if TYPE_CHECKING:
    from flows.tally import Tally
    from tasks.engine.pool import EnginePool
    from tasks.store import Store


def run_filter(
    job: DeflickerJob,
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None],
    tally: Tally,
    stoppable: bool,
) -> None:
    """Run the one video of a deflicker job as a flow run and note in `tally` what became of it."""
    named = job.source or job.guide

    def dead(error: Exception) -> None:
        write_dead(store, job_id=tally.job_id, job=job, source=named, relative="", error=error, attempt=1)

    tally.attempt(named, partial(filter_one, job, store, engines, observe, stoppable), dead)


def filter_one(
    job: DeflickerJob,
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None],
    stoppable: bool,
    finished: list[StageRecord],
) -> VideoResult:
    """Run the one video of a deflicker job as a flow run; raises what the pipeline raised. `finished` fills with the
    stages that are done.
    """
    from flows.video import deflicker_one

    ResultFolder(job.out).check()
    source, guide = (one_video(text) for text in (job.source or job.guide, job.guide))
    found = job.model_copy(update={"source": source if job.source else None, "guide": guide})
    run = Run(found.for_stages(), source, store, engines, "", observe, finished=finished)
    return deflicker_one(found, run, stoppable=stoppable)


def one_video(text: str) -> str:
    """The single video that `text` names. Errors: UnreadableVideo when there is none, ConfigError for several."""
    found = expand((text,))
    if len(found) > 1:
        raise ConfigError(f"{text} names {len(found)} videos; deflicker takes one video and its one guide")
    if found[0].error is not None:
        raise found[0].error
    return str(demo_clip()) if found[0].uri == DEMO else found[0].uri
