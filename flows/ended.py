"""How a job ends for others: its figure, the record of it in the store, the one message about it, whatever ended it.

A night that failed before its first video is told like any other. None of them can take anything from work that is
done: what goes wrong with them is a warning. Knows no method.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from configs.errors import SteadyframeError
from configs.settings import load_settings
from flows import records
from flows.notify import announce
from flows.result import JobResult
from flows.telemetry import exported, telemetry

if TYPE_CHECKING:
    from tasks.store import Store

log = logging.getLogger("steadyframe")


@dataclass
class Ending:
    """The end of one job; `store` is set as soon as it is open."""

    method: str
    job_id: str
    store: Store | None = None
    closed: bool = False

    def close(self, result: JobResult, index: str = "", seconds: float | None = None) -> None:
        """Count, keep the result and how long it took, tell whom the settings name; `index` is a library's page."""
        self.closed = True
        telemetry().job(result.status)
        if self.store is not None:
            try:
                records.write_result(self.store, result)
                if seconds is not None:
                    records.write_took(self.store, self.job_id, seconds)
            except SteadyframeError as fault:
                log.warning("job %s: what came of it could not be kept: %s", self.job_id, fault)
        announce(result, self.store, index)


@contextmanager
def ending(method: str, job_id: str) -> Iterator[Ending]:
    """Close the job as failed by whatever error leaves the block before it was closed; the error is raised on.

    Figures are exported for the block, the end of the job among them.
    """
    told = Ending(method, job_id)
    with exported(load_settings()):
        try:
            yield told
        except Exception as error:
            if not told.closed:
                told.close(JobResult.failure(method, error, job=job_id))
            raise
