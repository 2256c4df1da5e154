"""`run_library`: plan, take what is known, run the rest, tell all of it.

The order of a library run: what the store has already is found first, without a model, a worker, a server or a flow
run; only what is left is flown (`flows.library.batch`). What is opened around it, and how Prefect shows it, is the
business of `flows.library.shown`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.job import RestyleJob
from configs.library import LibraryJob
from flows import records
from flows.library.batch import Batch
from flows.library.ends import LibraryResult
from flows.library.plan import Video, plan_videos
from flows.result import ErrorEntry, PreviewSheet, Status
from flows.sources import Source, expand
from tasks.run import Progress, silent

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.store import Store


def run_library(
    job: LibraryJob,
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None] = silent,
    *,
    job_id: str = "",
    attempt: int = 1,
    stoppable: bool = True,
    expanded: Callable[[Sequence[str]], list[Source]] = expand,
    check: Callable[[RestyleJob], None] = lambda job: None,
    around: Callable[[Pending], LibraryResult] = lambda pending: pending.run(),
) -> LibraryResult:
    """Restyle what is new or changed in a library; returns the contract's object.

    `attempt` counts tries of one `job_id`; with it a video's flow run is its own. `stoppable`: Ctrl-C and SIGTERM
    end it as `interrupted`, else (under a Prefect worker) they are raised again once the videos have stopped. `around`
    is called when videos must run, and only then: it brings what that needs (a server, a flow run, somebody's consent)
    and calls `run` of its argument, or `not_run`. Raises ConfigError when nothing could start:
    settings that make no job, patterns that leave nothing, two results of one name.
    """
    began = time.monotonic()
    running = Batch(job, store, engines, observe, job_id or records.new_job_id(), attempt, stoppable, began)
    videos = plan_videos(job, expanded, check)
    left = running.known_already(videos)
    pending = Pending(running, videos, left)
    return around(pending) if left else pending.not_run()


@dataclass(frozen=True)
class Pending:
    """What a library run found that it must compute: `left`, of all its `videos`."""

    running: Batch
    videos: Sequence[Video]
    left: Sequence[Video]

    def run(
        self, should_stop: Callable[[], bool] = lambda: False, tell: Callable[[Progress], None] = silent
    ) -> LibraryResult:
        """Run what is left; `tell` hears of every end."""
        self.running.tell, stopped = tell, False
        try:
            self.running.fly(self.left, should_stop)
        except BaseException as stop:
            if not self.running.stoppable or isinstance(stop, Exception):
                raise
            stopped = True
        return self.running.told(self.videos, stopped)

    def not_run(self, errors: Sequence[ErrorEntry] = (), previews: Sequence[PreviewSheet] = ()) -> LibraryResult:
        """Tell what was known already, and why the rest was not run, or what it would look like."""
        result = self.running.told(self.videos, stopped=False)
        status: Status = "interrupted" if errors else result.status
        told = {"errors": [*result.errors, *errors], "previews": list(previews), "status": status}
        return result.model_copy(update=told)
