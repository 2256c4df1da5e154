"""Stage `denoise`: the sampling loop of a shot in lockstep over the workers, then decoding, into 8-bit windows."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.job import RestyleJob
from configs.presets import template_of
from models.methods.restyle import deflicker_steps, run_length
from tasks.borrow import borrowed
from tasks.correspond import pairs_base
from tasks.programs import ShotSpec, SourceFrames
from tasks.ref import Ref
from tasks.run import Run
from tasks.shot import Shot
from tasks.stage import Computed, Writing, run_stage
from tasks.stepwise import run_steps
from tasks.store.keys import StageKey, stage_key
from tasks.store.manifest import Manifest
from tasks.store.steps import StepLog

VERSION = 2


@dataclass(frozen=True)
class Denoised:
    """The artifact of a shot with the work it took: window-steps in all, and computed by this run."""

    ref: Ref
    total: int
    computed: int


def denoise_key(run: Run, shot: Shot, inputs: Sequence[Mapping[str, Any]]) -> StageKey:
    """Key of a restyled shot, from its inputs; the job's `shots` are not in it: `run.job` is that of this shot."""
    model, job = run.engines.facts(run.job.model), run.job
    steps = deflicker_steps(job)
    params = {
        **shot.as_params(),
        "prompt": (job.prompt or "").strip(),
        "template": template_of(job.style),  # apart: in a text too long for the model only the prompt is cut
        **job.model_dump(include={"num_inference_steps", "guidance_scale", "seed", "start", "noise"}),
        "strength": job.strength if job.start == "noised" else None,
        "negative_prompt": job.negative_prompt if job.guidance_scale != 1.0 else None,
        "attention": job.attention.model_dump(),
        "controls": [c.model_dump() for c in job.model.controls],
        "loras": list(job.model.loras),
        "deflicker": _blending(job),
        "deflicker_steps": list(steps),
    }
    return stage_key("denoise", VERSION, params, {"model": model.digest}, inputs, model.numerics)


def _blending(job: RestyleJob) -> dict[str, Any] | None:
    """How the deflicker works, where it does; when, inside the loop, is told apart."""
    blends = deflicker_steps(job) or job.deflicker.filters_after
    return job.deflicker.model_dump(exclude={"steps", "enabled"}) if blends else None


def denoise(run: Run, shot: Shot, inputs: Sequence[Ref]) -> Denoised:
    """Restyle one shot; `inputs` are its condition and, where the job asks for them, inversion and correspondence."""
    job, by_stage, deflicker = run.job, {ref.stage: ref for ref in inputs}, _blending(run.job)
    key = denoise_key(run, shot, [ref.as_input() for ref in inputs])
    total = run_length(job) * len(shot.windows)
    work = {"computed": 0}

    def compute(writing: Writing) -> Computed:
        inverted = by_stage.get("invert")
        spec = ShotSpec(
            program="restyle",
            key=key,
            step_key=key.key,
            job=job,
            prompt=job.prompt or "",
            size=shot.size,
            pts=shot.pts,
            condition=StageKey("condition", by_stage["condition"].key, {}),
            frame_digests=shot.digests,
            inverted=StageKey("invert", inverted.key, {}) if inverted else None,
            pairs=pairs_base(run, shot) if "correspond" in by_stage else None,
            source=(
                SourceFrames(run.source, shot.facts, shot.index_for_reading)
                if deflicker and deflicker["match"] != "guide"
                else None
            ),
        )
        with borrowed(run) as lent:
            stepped = run_steps(run, lent.engine, spec, shot.windows, writing)
        work["computed"] = stepped.computed
        return stepped.parts, {"window_steps": stepped.total, "computed": stepped.computed, **lent.took}

    ref = run_stage(run, key, compute)
    if ref.status == "computed":
        StepLog(run.store, key).clear()  # what was published needs no way back into its middle
    return Denoised(ref, total, work["computed"])


def digest_over(manifests: Sequence[Manifest], tensor: str) -> str:
    """Digest of a tensor (`x` latents, `frames` RGB) over all windows of all shots in order; free of file formats."""
    whole = hashlib.sha256()
    for manifest in manifests:
        for part in sorted(manifest.parts, key=lambda p: p.name):
            whole.update(part.meta["digests"][tensor].encode())
    return whole.hexdigest()
