"""Stage `condition`: source frames of a shot become posterior-mean latents and control images, on the workers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from configs.job import ControlConfig
from models.conditions import depth_maps
from tasks.borrow import borrowed
from tasks.ref import Ref
from tasks.run import Progress, Run
from tasks.shot import Shot
from tasks.source_windows import SourceSpec
from tasks.stage import Computed, Writing, run_stage
from tasks.stepwise import recovering
from tasks.store.keys import StageKey, stage_key
from tasks.store.manifest import Part

VERSION = 1
CHUNK = 4  # windows per call: neighbours share one open decoder, yet no worker is left without work for long


def condition_key(run: Run, shot: Shot) -> StageKey:
    """Key of the conditions of a shot; the prompt, the sampler and the deflicker are not in it."""
    params = {
        **shot.as_params(),
        "controls": [
            {**c.model_dump(exclude={"scale", "path"}), "files": _digest_of(c, shot)} for c in run.job.controls
        ],
    }
    model = run.engines.facts(run.job.model)
    return stage_key("condition", VERSION, params, {"model": model.digest}, [shot.decoded.as_input()], model.numerics)


def _digest_of(control: ControlConfig, shot: Shot) -> str | None:
    """What a control's own files hold for this shot, so that other depth maps under the same name are noticed."""
    if control.path is None:
        return None
    files: list[Path] = []  # no other kind reads any
    if control.kind == "reference-latents":
        files = [Path(control.path).expanduser()]
    elif control.kind in ("depth", "depth-blocks"):
        maps, first = depth_maps(control.path), shot.index.first
        files = [maps[n] for n in range(first + shot.first, first + shot.stop) if n in maps]
    whole = hashlib.sha256()
    for file in files:
        whole.update(file.name.encode() + hashlib.sha256(file.read_bytes()).digest())
    return whole.hexdigest()


def condition(run: Run, shot: Shot) -> Ref:
    """One part per window with `x` (latents) and `control0..`."""
    key = condition_key(run, shot)

    def compute(writing: Writing) -> Computed:
        spec = SourceSpec(key, run.job, run.source, shot.facts, shot.index_for_reading, shot.size)
        chunks = [shot.windows[n : n + CHUNK] for n in range(0, len(shot.windows), CHUNK)]
        with borrowed(run) as lent:

            def encoded() -> list[Part]:
                parts: list[Part] = []
                lent.engine.check_room(shot.windows, shot.size)  # of all that follows: this is a shot's first work
                lent.engine.everywhere("open_source", spec)  # once: an index is too large to go along with every call
                for done in lent.engine.map("condition", [(chunk,) for chunk in chunks]):
                    parts += done
                    run.observe(Progress(run.source, "condition", len(parts), len(shot.windows)))
                return parts

            try:
                return recovering(run, lent.engine, "condition", encoded), lent.took
            finally:
                lent.engine.everywhere("close_source")

    return run_stage(run, key, compute)
