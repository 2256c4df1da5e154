"""Task 2, image-guided stylization: the look of a picture of something else, with no word for it."""

from __future__ import annotations

import cv2

from models.pocket.scenes import render_clip
from models.pocket.styles import apply_style
from tests.benchmarks.clips import UNSEEN_SEED
from tests.benchmarks.five_tasks.bench import STEADY, Bench, Row, rows_of
from tests.benchmarks.five_tasks.stylize import judged

COMMAND = "steadyframe restyle CLIP --preset reference --reference LOOK.png --out DIR"
ABOUT = (
    "The reference is another unseen scene under a filter; the words are `a scene`. Without the reference the same "
    "words must not show that look."
)


def measure(bench: Bench) -> list[Row]:
    """Every clip in a look or more, until all looks were there."""
    rows: list[Row] = []
    scenes = bench.scenes()
    for name, style in bench.looks():
        scene, look = scenes[name], bench.folder / f"look-{style}.png"
        other = apply_style(style, render_clip(UNSEEN_SEED + 5000, 1).frames_FHWC[0])
        cv2.imwrite(str(look), cv2.cvtColor(other, cv2.COLOR_RGB2BGR))
        path, source = bench.written(name, scene.frames_FHWC), scene.frames_FHWC
        arms = {
            "result": bench.restyled("reference", path, reference=str(look)),
            "no deflicker": bench.restyled("reference", path, STEADY, reference=str(look)),
            "no reference": bench.restyled("pocket", path, prompt="a scene"),
        }
        more = {arm: judged(source, made, style) for arm, made in arms.items()}
        rows += rows_of(name, source, arms, more, style)
    return rows
