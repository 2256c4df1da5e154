"""How much of what differs between two frames is noise: found in the frames themselves.

It knows two pictures; not how they are searched. Whole numbers all through, so every machine has the same margin.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.patch_plan import Plan

SAMPLES = 24
"""Patches looked at along the shorter side."""

STEP = 8
"""Margins beyond the plan's own are multiples of this: pairs of one film mostly share one, so a GPU can batch them."""

MOST = 200
"""The margin is never raised beyond noise of 10 grey levels: what differs more than that is a picture."""


def noise_margin(target: NDArray[np.uint8], source: NDArray[np.uint8], plan: Plan) -> int:
    """The `Plan.margin` that the noise of two uint8 frames [H,W,3] asks for: at least `plan.margin`, at most `MOST`.

    Noise of standard deviation s makes two patches that show the same thing differ by 2 s**2 a value. Three measures
    of that, of which each sees something else as well, so that the least of them counts: twice the variance within the
    quietest quarter of patches (sees texture and shading), what staying in place costs in the better half of patches
    (sees motion, and light that changes), and the energy of the finest detail in the quietest quarter, doubled because
    a codec takes half of that away (sees the sharpest texture only; Immerkaer, CVIU 1996). A quarter more than the
    least, since a quantile of a quarter lies below the mean. A plan of margin 0 wants none.
    """
    if plan.margin == 0:
        return 0
    here, there = (_patches(image, plan.patch) for image in (target, source))
    count, area = here.shape[0], plan.patch**2
    sums, squares = here.sum((1, 2)), (here * here).sum((1, 2))
    inner = here[:, 1:-1, 1:-1]
    sides = here[:, :-2, 1:-1] + here[:, 2:, 1:-1] + here[:, 1:-1, :-2] + here[:, 1:-1, 2:]
    corners = here[:, :-2, :-2] + here[:, 2:, 2:] + here[:, :-2, 2:] + here[:, 2:, :-2]
    measures = (
        2 * _ranked((area * squares - sums * sums).sum(-1), count // 4) // area,
        _ranked(((here - there) ** 2).sum((1, 2, 3)), count // 2),
        # of white noise this mask leaves 36 s**2
        4
        * area
        * _ranked(((4 * inner - 2 * sides + corners) ** 2).sum((1, 2, 3)), count // 4)
        // (36 * (plan.patch - 2) ** 2),
    )
    found = 5 * min(measures) // (4 * 3 * area)
    return max(plan.margin, min(found, MOST) // STEP * STEP)


def _patches(image: NDArray[np.uint8], patch: int) -> NDArray[np.int64]:
    """Patches [N,patch,patch,3] on a grid over `image`; edges are repeated where it is smaller than a patch."""
    step = max(1, min(image.shape[:2]) // SAMPLES)
    rows, columns = (
        np.minimum(np.arange(0, max(1, size - patch + 1), step)[:, None] + np.arange(patch), size - 1)
        for size in image.shape[:2]
    )
    return image[rows[:, None, :, None], columns[None, :, None, :]].reshape(-1, patch, patch, 3).astype(np.int64)


def _ranked(values: NDArray[np.int64], rank: int) -> int:
    return int(np.partition(values, rank)[rank])
