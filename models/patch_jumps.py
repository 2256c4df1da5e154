"""The search for fields that a GPU can run too: double-buffered passes, offsets copied over distances 1 and 4.

The numba twin of `patch_torch` and `patch_triton`: the same candidates in the same order, the same random numbers,
sums of integers, so the three give the same bits and this one is the reference. It is another algorithm than the scan
of `models.patchmatch`: on a CPU slower to the same error, its fields differ. Source: the jumps are those of jump
flooding (Rong & Tan, I3D 2006) put in place of scan order; everything else as in Barnes et al., ACM TOG 2009.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.patch_kernels import jump
from models.patch_plan import Plan
from models.patch_pyramid import Level, State, descend
from models.patch_threads import bands, shared


def search(
    target: NDArray[np.uint8], source: NDArray[np.uint8], plan: Plan, threads: int = 1
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Offsets int16 [H,W,2] of two pictures and errors int32 [H,W].

    Every pass fills fresh buffers: no thread reads what another writes.
    """
    with shared(threads) as over:

        def improve(level: Level, turn: int, key: int, old: State) -> State:
            new = np.empty_like(old[0]), np.empty_like(old[1])
            pictures = (level.target, level.source, level.tolls)

            def rows(first: int, last: int) -> None:
                jump(*pictures, plan.patch, plan.radius, key, first, last, *old, *new)

            over(rows, bands(level.height, threads))
            return new

        return descend(target, source, plan, improve, over, threads)
