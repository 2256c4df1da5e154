"""Blending by tables against blending by the definition, over clip length: `python -m tests.benchmarks.table_naive`.

What tables are for: fields a frame (the search is most of the cost), seconds, and what they cost in exactness. A
procedural scene with a brightness of its own in each frame; every field is searched once for each side, as a job does.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.blending import Image, blend
from models.metrics import psnr
from models.patchmatch import nnf, warm_up
from models.pocket.scenes import render_clip
from models.sampling import Window
from models.tables import Mode, pairs_for_window
from tests.benchmarks.clips import unseen_seeds

LENGTHS, RADII = (8, 37, 200), (2, 15)
HEIGHT, WIDTH, GAIN = 72, 128, 0.06


@dataclass(frozen=True)
class Side:
    """What one mode came to: fields a frame, CPU seconds (search, blending), the frames [F,H,W,3]."""

    fields: float
    search: float
    blending: float
    frames: Image


def side(mode: Mode, guides: NDArray[np.uint8], images: dict[int, Image], w: int) -> Side:
    """Search the fields that blending this clip asks for, then blend it."""
    window = Window(0, 0, len(guides), len(guides))
    pairs = pairs_for_window(window, w, mode=mode)
    began = time.process_time()
    fields = {(target, source): nnf(guides[target], guides[source]) for target, source in sorted(pairs)}
    searched = time.process_time()
    frames = blend(window, images, lambda target, source: fields[target, source], w, mode=mode)
    return Side(len(pairs) / len(guides), searched - began, time.process_time() - searched, frames)


def row(n: int, w: int, seed: int) -> str:
    """One line of the table; PSNR is the mean over frames."""
    guides = render_clip(seed, n, HEIGHT, WIDTH, steady_light=True).frames_FHWC
    gains = 1 + GAIN * np.random.default_rng(seed).uniform(-1, 1, (n, 1, 1, 3)).astype(np.float32)
    table, naive = (side(mode, guides, dict(enumerate(guides * gains)), w) for mode in ("table", "naive"))

    def near(one: Sequence[NDArray[np.generic]], other: Sequence[NDArray[np.generic]]) -> str:
        return f"{statistics.fmean(psnr(a, b) for a, b in zip(one, other, strict=True)):.2f}"

    seconds = [s.search + s.blending for s in (table, naive)]
    cells = [n, w, f"{table.fields:.2f}", f"{naive.fields:.2f}", f"{seconds[1] / seconds[0]:.2f}"]
    cells += [f"{naive.search / max(table.search, 1e-9):.2f}", near(list(table.frames), list(naive.frames))]
    cells += [near(list(s.frames), list(guides)) for s in (table, naive)]
    return f"| {' | '.join(map(str, cells))} |"


def section(lengths: Sequence[int] = LENGTHS, radii: Sequence[int] = RADII) -> str:
    """Markdown, with a line of what the columns are."""
    warm_up()
    heads = ["frames", "radius", "fields a frame, table", "naive", "seconds, naive over table", "of search alone"]
    heads += ["PSNR(table, naive), dB", "PSNR to the steady clip, table", "naive"]
    (seed,) = unseen_seeds(1)
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *(row(n, w, seed) for w in radii for n in lengths)]
    note = f"A procedural clip at {WIDTH}x{HEIGHT}, brightness off by up to {GAIN:.0%} in each frame, operator mean."
    return "\n".join([*rows, "", note]) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--radii", type=int, nargs="+", default=RADII)
    given = parser.parse_args()
    print(section(given.lengths, given.radii))
