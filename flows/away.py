"""A Prefect server that goes away takes nothing from a video: it waits a while for it, and can do without.

Prefect only shows. Its own client asks again too, but not before it was answered once, and every flow run has a client
of its own. Knows no flow and no stage.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from configs.errors import Interrupted
from configs.redact import redact
from tasks.failure import classify
from tasks.run import Run

DELAYS = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0, 60.0)
"""Seconds before a server that does not answer is asked again for a flow run; then the video goes without one."""

log = logging.getLogger("steadyframe")


@dataclass
class Kept:
    """What a flow or task run leaves for its caller beside its state: Prefect would copy or persist it."""

    value: Any = None
    error: BaseException | None = None


def begun(shown: Callable[[], None], run: Run, kept: Kept) -> bool:
    """Call `shown`, again after `DELAYS` while the server cannot be reached; False when it never could.

    Raises what a flow run that began was lost by, and `Interrupted` when the run is asked to stop meanwhile.
    """
    for tried, delay in enumerate((*DELAYS, None)):
        try:
            shown()
            return True
        except Exception as away:
            if kept.value is not None or kept.error is not None or classify(away) != "transient":
                raise
            if not tried:
                log.warning("%s: the Prefect server cannot be reached (%s)", redact(run.source), redact(str(away)))
        until = time.monotonic() + (delay or 0.0)
        while delay is not None and (left := until - time.monotonic()) > 0:
            if run.should_stop():
                raise Interrupted(f"{run.source}: stopped; committed work stays, the same command resumes")
            time.sleep(min(left, 1.0))
    log.warning("%s: runs without a flow run, and will not be seen in the UI", redact(run.source))
    return False


@contextmanager
def finished_anyway(run: Run, kept: Kept) -> Iterator[None]:
    """A server that went away while the end of a run was reported to it takes nothing from a video that has ended."""
    try:
        yield
    except Exception as lost:
        if kept.value is None and kept.error is None:
            raise
        log.warning(
            "%s: its end could not be shown by the Prefect server (%s)", redact(run.source), type(lost).__name__
        )
