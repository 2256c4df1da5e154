"""Task 3, appearance swap: the prompt names another colour for the object; its contours and motion stay."""

from __future__ import annotations

import numpy as np

from models.pocket.scenes import Scene, open_scene
from models.pocket.sprites import COLOURS
from tests.benchmarks.five_tasks.bench import STEADY, Bench, Frames, Row, rows_of
from tests.benchmarks.pocket_quality.naming import inner, mean_lab, name_colour

COMMAND = 'steadyframe restyle CLIP --preset recolor --prompt "a yellow car on a street" --out DIR'
ABOUT = (
    f"Share of frames in which the object has the colour asked for (nearest of the known ones; chance "
    f"{1 / len(COLOURS):g}). "
    "Control: the prompt keeps the colour it had."
)
LEAST_PIXELS = 60


def measure(bench: Bench) -> list[Row]:
    """Every clip whose object is large enough, in a colour drawn for it."""
    rows: list[Row] = []
    for name, scene in bench.scenes().items():
        k = max(range(len(scene.names)), key=lambda k: int(scene.masks_FKHW[:, k].sum()))
        had = scene.colours[k]
        colour = list(COLOURS)[(list(COLOURS).index(had) + 3) % len(COLOURS)]
        seed = scene_seed(name)
        renamed = open_scene(seed, bench.frames, objects=1, steady_light=True, colours={k: colour}).caption
        path, source = bench.written(name, scene.frames_FHWC), scene.frames_FHWC
        arms = {
            "result": bench.restyled("recolor", path, prompt=renamed),
            "no deflicker": bench.restyled("recolor", path, STEADY, prompt=renamed),
            "old colour's word": bench.restyled("recolor", path, prompt=scene.caption),
        }
        share = {arm: _share(scene, k, made, colour, seed, bench.frames) for arm, made in arms.items()}
        if share["result"] is not None:
            more = {arm: {"named colour": value} for arm, value in share.items() if value is not None}
            rows += rows_of(name, source, arms, more)
    return rows


def scene_seed(name: str) -> int:
    """The seed in a clip's name."""
    return int(name.rsplit("-", 1)[1])


def _share(scene: Scene, k: int, made: Frames, colour: str, seed: int, count: int) -> float | None:
    """Of the frames that show enough of the object, those in which it is judged to have the colour."""
    right = []
    painted = {c: open_scene(seed, count, objects=1, steady_light=True, colours={k: c}) for c in COLOURS}
    for f in range(0, count, 4):
        mask = inner(scene.masks_FKHW[f, k])
        if mask.sum() >= LEAST_PIXELS:
            known = {c: mean_lab(other.frame(f).picture_HWC, mask) for c, other in painted.items()}
            right.append(name_colour(mean_lab(made[f], mask), known) == colour)
    return float(np.mean(right)) if right else None
