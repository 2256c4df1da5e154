"""Borrowing workers for one stage of a shot, and noting what the wait for them took: it is no part of the work."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tasks.engine.protocol import Engine
from tasks.run import Run

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool


@dataclass(frozen=True)
class Borrowed:
    """An engine to use, and what a manifest keeps of it: `opening` seconds until it was there, and its `lanes`."""

    engine: Engine
    took: dict[str, float | int] = field(default_factory=dict)


def lanes_of(pool: EnginePool, threads_per_call: int) -> int:
    """How many windows are worked on at once: workers of a gang, or in this process threads."""
    return pool.workers_per_gang or pool.lanes or max(1, (os.cpu_count() or 1) // threads_per_call)


@contextmanager
def borrowed(run: Run) -> Iterator[Borrowed]:
    """Lend the workers of `run.job.model` for one use; waits, opens and raises as `EnginePool.lent` does."""
    asked = time.perf_counter()
    model = run.job.model
    with run.engines.lent(model, run.should_stop) as engine:
        opening = round(time.perf_counter() - asked, 3)
        yield Borrowed(engine, {"opening": opening, "lanes": lanes_of(run.engines, model.threads_per_call)})
