"""Running a program to its end with commits: restore the newest, run, commit, heal lost workers, go on.

Shared by inversion and denoising. Knows the engine's verbs and the step log; knows no method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from configs.errors import Interrupted, WorkerLost
from models.sampling import Window
from tasks.engine.protocol import Engine
from tasks.programs import ShotSpec
from tasks.run import Progress, Run
from tasks.stage import Writing
from tasks.store.manifest import Part
from tasks.store.steps import StepLog

RECOVERIES = 3  # in a row, without a new commit between


@dataclass(frozen=True)
class Stepped:
    """What running to the end took: parts of the result, and window-steps in all and computed by this run."""

    parts: Sequence[Part]
    total: int
    computed: int


def run_steps(
    run: Run, engine: Engine, spec: ShotSpec, windows: Sequence[Window], writing: Writing, keep: str = "last"
) -> Stepped:
    """Run the placed program from its newest commit to the end; raises `WorkerLost` past the recovery budget."""
    log = StepLog(run.store, spec.step_key, len(windows))
    computed, budget, newest = 0, RECOVERIES, -1
    while True:
        try:
            described = engine.place(spec, windows)
            total = described.num_steps * len(windows)
            commit = log.newest()
            step = commit.step if commit else 0
            engine.restore(step, commit.parts if commit else None)
            run.observe(Progress(run.source, spec.key.stage, step * len(windows), total))
            for report in engine.run(step, run.job.commit_every):
                computed += report.windows
                if report.parts:
                    writing.lease.check()
                    log.commit(report.step, writing.lease.epoch, report.parts)
                    log.prune(keep)
                    budget = RECOVERIES if report.step > newest else budget
                    newest = max(newest, report.step)
                run.observe(Progress(run.source, spec.key.stage, report.step * len(windows), total))
                if run.should_stop():
                    raise Interrupted(f"stopped after step {report.step} of {described.num_steps}; run again to go on")
            parts = engine.finish()
            for level, text in engine.logs():
                run.observe(Progress(run.source, spec.key.stage, message=text, level=level))
            return Stepped(parts, total, computed)
        except WorkerLost as lost:
            budget -= 1
            if budget < 0:
                raise WorkerLost(f"{lost}; gave up after {RECOVERIES} recoveries without a new commit") from lost
            run.observe(
                Progress(
                    run.source,
                    spec.key.stage,
                    message=f"{lost}; recovering from the last commit",
                    level="warning",
                )
            )
            engine.heal()
