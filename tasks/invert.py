"""Stage `invert`: DDIM inversion of the source of a shot, on the workers, for `start: inverted`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasks.borrow import borrowed
from tasks.programs import ShotSpec
from tasks.ref import Ref
from tasks.run import Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.stepwise import run_steps
from tasks.store.keys import StageKey, stage_key

VERSION = 2


def invert_key(run: Run, shot: Shot, conditioned: Mapping[str, Any]) -> StageKey:
    """Key of the inversion of a shot; prompt, guidance and deflicker are not in it."""
    model, job = run.engines.facts(run.job.model), run.job
    params = {
        **shot.as_params(),
        "inversion": job.inversion.model_dump(exclude={"keep"}),
        "attention": job.attention.model_dump(),
        "controls": [c.model_dump() for c in job.model.controls],
    }
    return stage_key("invert", VERSION, params, {"model": model.digest}, [conditioned], model.numerics)


def invert(run: Run, shot: Shot, conditioned: Ref) -> Ref:
    """The noise that denoises back to the source."""
    job, key = run.job, invert_key(run, shot, conditioned.as_input())

    def compute(writing: Writing) -> Computed:
        spec = ShotSpec(
            "invert", key, key.key, job, "", shot.size, shot.pts, StageKey("condition", conditioned.key, {})
        )
        with borrowed(run) as lent:
            stepped = run_steps(run, lent.engine, spec, shot.windows, writing, job.inversion.keep)
        return stepped.parts, {"total": stepped.total, "computed": stepped.computed, **lent.took}

    return run_stage(run, key, compute)
