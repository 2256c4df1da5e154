"""Running a program to its end with commits: restore the newest, run, commit, heal lost workers, go on.

Shared by inversion and denoising. Knows the engine's verbs and the step log; knows no method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from configs.errors import Interrupted, WorkerLost
from models.sampling import Window
from tasks.engine.protocol import Engine
from tasks.programs import ShotSpec
from tasks.run import Progress, Run
from tasks.stage import Writing
from tasks.store.manifest import Part
from tasks.store.steps import StepLog

RECOVERIES = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Stepped:
    """What running to the end took: parts of the result, and window-steps in all and computed by this run."""

    parts: Sequence[Part]
    total: int
    computed: int


def recovering(run: Run, engine: Engine, stage: str, work: Callable[[], T], progress: Callable[[], int] = int) -> T:
    """`work()`, again after every lost worker; gives up after `RECOVERIES` in a row without `progress` growing."""
    left, reached = RECOVERIES, -1
    while True:
        try:
            return work()
        except WorkerLost as lost:
            left, reached = (RECOVERIES, progress()) if progress() > reached else (left - 1, reached)
            if left < 0:
                raise WorkerLost(f"{lost}; gave up after {RECOVERIES} recoveries without progress") from lost
            text = f"{lost}; recovering from the last commit"
            run.observe(Progress(run.source, stage, message=text, level="warning", event="recovery"))
            engine.heal()


def run_steps(
    run: Run, engine: Engine, spec: ShotSpec, windows: Sequence[Window], writing: Writing, keep: str = "last"
) -> Stepped:
    """Run the program of `spec` from its newest commit to the end; raises `WorkerLost` past the recovery budget."""
    log, stage = StepLog(run.store, spec.step_key, len(windows)), spec.key.stage
    computed = newest = 0

    def to_the_end() -> Stepped:
        nonlocal computed, newest
        described = engine.place(spec, windows)
        for note in described.notes:
            run.observe(Progress(run.source, stage, message=note, level="warning"))
        total = described.num_steps * len(windows)
        commit = log.newest()
        step = commit.step if commit else 0
        engine.restore(step, commit.parts if commit else None)
        run.observe(Progress(run.source, stage, step * len(windows), total))
        for report in engine.run(step, run.job.commit_every):
            computed += report.windows
            if report.parts:
                writing.lease.check()
                log.commit(report.step, writing.lease.epoch, report.parts)
                log.prune(keep)
                newest = max(newest, report.step)
            run.observe(Progress(run.source, stage, report.step * len(windows), total))
            if run.should_stop():
                raise Interrupted(f"stopped after step {report.step} of {described.num_steps}; run again to go on")
        parts = engine.finish()
        for level, text in engine.logs():
            run.observe(Progress(run.source, stage, message=text, level=level))
        return Stepped(parts, total, computed)

    return recovering(run, engine, stage, to_the_end, lambda: newest)
