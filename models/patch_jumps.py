"""The search for fields that a GPU can run too: double-buffered passes, offsets copied over distances 1 and 4.

The numba twin of `patch_torch` and `patch_triton`: the same candidates in the same order, the same random numbers,
sums of integers, so the three give the same bits and this one is the reference. It is another algorithm than the scan
of `models.patchmatch`: on a CPU slower to the same error, its fields differ. Source: the jumps are those of jump
flooding (Rong & Tan, I3D 2006) put in place of scan order; everything else as in Barnes et al., ACM TOG 2009.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from models.patch_kernels import jump
from models.patch_plan import Plan
from models.patch_pyramid import Level, descend


def search(
    target: NDArray[np.uint8], source: NDArray[np.uint8], plan: Plan, threads: int = 1
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Offsets int16 [H,W,2] of two pictures and errors int32 [H,W]."""
    return descend(target, source, plan, lambda level, _, key, state: _pass(level, plan, key, threads, *state))


def _pass(
    level: Level,
    plan: Plan,
    key: int,
    threads: int,
    old: NDArray[np.int16],
    old_costs: NDArray[np.int32],
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """One pass into fresh buffers; rows are shared out to threads, none of which reads what another writes."""
    offsets, costs = np.empty_like(old), np.empty_like(old_costs)
    rows = [level.height * part // threads for part in range(threads + 1)]

    def run(first: int, last: int) -> None:
        pictures = (level.target, level.source, level.tolls)
        jump(*pictures, plan.patch, plan.radius, key, first, last, old, old_costs, offsets, costs)

    if threads == 1:
        run(0, level.height)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, rows[:-1], rows[1:]))
    return offsets, costs
