"""Stage `invert`: DDIM inversion of the source of a shot, on the workers, for `start: inverted`."""

from __future__ import annotations

from tasks.programs import ShotSpec
from tasks.ref import Ref
from tasks.run import Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.stepwise import run_steps
from tasks.store.keys import StageKey, stage_key

VERSION = 2


def invert(run: Run, shot: Shot, conditioned: Ref) -> Ref:
    """The noise that denoises back to the source; prompt, guidance and deflicker are not in its key."""
    model, job = run.engines.facts(run.job.model), run.job
    params = {
        **shot.as_params(),
        "inversion": job.inversion.model_dump(exclude={"keep"}),
        "attention": job.attention.model_dump(),
        "controls": [c.model_dump() for c in job.model.controls],
    }
    key = stage_key("invert", VERSION, params, {"model": model.digest}, [conditioned.as_input()], model.numerics)

    def compute(writing: Writing) -> Computed:
        spec = ShotSpec(
            "invert", key, key.key, job, "", shot.size, shot.pts, StageKey("condition", conditioned.key, {})
        )
        stepped = run_steps(run, run.engines.engine(job.model), spec, shot.windows, writing, job.inversion.keep)
        return stepped.parts, {"total": stepped.total, "computed": stepped.computed}

    return run_stage(run, key, compute)
