"""Running single stages of a job in this process, for benchmarks that look inside one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from configs.job import RestyleJob
from tasks.condition import condition
from tasks.correspond import correspond
from tasks.decode import decode, index_of
from tasks.engine.pool import EnginePool
from tasks.probe import facts_of, probe
from tasks.ref import Ref
from tasks.run import Run
from tasks.shot import Shot
from tasks.store import Store
from tasks.video.frames import working_size


@dataclass(frozen=True)
class Prepared:
    """A clip whose first shot is ready to be denoised."""

    run: Run
    shot: Shot
    inputs: list[Ref]


@contextmanager
def prepared(job: RestyleJob, clip: Path, lanes: int | None = None) -> Iterator[Prepared]:
    """Probe, decode, condition and correspond the first shot of `clip` in a fresh store."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder, workers=0)
        with EnginePool(store.url, 0, "cpu", lanes=lanes) as engines:
            run = Run(job, str(clip), store, engines)
            probed = probe(run, clip)
            facts = facts_of(run, probed)
            decoded = decode(run, probed, facts, clip)
            index = index_of(run, decoded)
            size = working_size(facts, job.working_size, engines.facts(job.model).size_multiple)
            first, stop = index.shots[0]
            shot = Shot(0, first, stop, size, job.window.size, facts, index, clip, decoded)
            yield Prepared(run, shot, [condition(run, shot), correspond(run, shot)])
