"""The inner loops of a search on two pictures at once (source frame and style): patch SSD and its candidates.

They know packed float32 pictures (`packed`) and offsets; not which lanes mean what. Each pass reads the offsets
of the pass before and writes its own (Jacobi), each pixel sums its patch in one fixed order, and no two pixels
share a sum: rows may be worked on in any order, by any number of threads, to the same bits. Random numbers are a
hash of (key, pixel). One file, as numba's disk cache looks at the file of a kernel only.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from models.patch_kernels import jit

Image = NDArray[np.float32]
Border = Literal["edge", "constant"]

LANES = 8
"""Channels a packed pixel has: what a patch row adds side by side as vectors."""


def packed(guide: NDArray[np.generic], style: Image, alpha: float, pad: int, border: Border) -> Image:
    """Both pictures in one float32 [H+2*pad,W+2*pad,LANES], so that one SSD is alpha * guide's + style's.

    `guide`, `style`: [H,W,3] on the 0..255 scale. `border`: "edge" repeats edges outwards, "constant" is zero.
    """
    height, width, _ = guide.shape
    both = np.zeros((height, width, LANES), np.float32)
    both[..., :3] = guide.astype(np.float32) * np.float32(np.sqrt(alpha))
    both[..., 3:6] = style
    return np.pad(both, ((pad, pad), (pad, pad), (0, 0)), mode=border)


@jit
def _ssd(target, source, patch, ty, tx, sy, sx, limit):  # type: ignore[no-untyped-def]
    """SSD of the patches whose corners are (ty, tx) and (sy, sx); a row at a time, given up at `limit` or above."""
    total = np.float32(0)
    for row in range(patch):
        a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = np.float32(0)
        for column in range(patch):
            here, there = target[ty + row, tx + column], source[sy + row, sx + column]
            d0, d1, d2, d3 = here[0] - there[0], here[1] - there[1], here[2] - there[2], here[3] - there[3]
            d4, d5, d6, d7 = here[4] - there[4], here[5] - there[5], here[6] - there[6], here[7] - there[7]
            a0 += d0 * d0
            a1 += d1 * d1
            a2 += d2 * d2
            a3 += d3 * d3
            a4 += d4 * d4
            a5 += d5 * d5
            a6 += d6 * d6
            a7 += d7 * d7
        total += ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7))
        if total >= limit:
            return total
    return total


@jit
def judge(target, source, pad, patch, offsets, errors):  # type: ignore[no-untyped-def]
    """Fill `errors` [H,W] for given `offsets`, which must match inside the picture."""
    height, width = errors.shape
    corner = pad - patch // 2
    for y in range(height):
        for x in range(width):
            sy, sx = y + np.int64(offsets[y, x, 0]), x + np.int64(offsets[y, x, 1])
            errors[y, x] = _ssd(
                target, source, patch, y + corner, x + corner, sy + corner, sx + corner, np.float32(np.inf)
            )


@jit
def propagate(target, source, pad, patch, dy, dx, before, offsets, errors):  # type: ignore[no-untyped-def]
    """Offer each pixel the offset that its neighbour at (dy, dx) had in `before`; taken if strictly better."""
    height, width = errors.shape
    corner = pad - patch // 2
    for y in range(height):
        ny = y + dy
        if ny < 0 or ny >= height:
            continue
        for x in range(width):
            nx = x + dx
            best = errors[y, x]
            if best == 0 or nx < 0 or nx >= width:
                continue
            qy = min(max(y + np.int64(before[ny, nx, 0]), 0), height - 1)
            qx = min(max(x + np.int64(before[ny, nx, 1]), 0), width - 1)
            if qy - y == before[y, x, 0] and qx - x == before[y, x, 1]:
                continue
            error = _ssd(target, source, patch, y + corner, x + corner, qy + corner, qx + corner, best)
            if error < best:
                errors[y, x] = error
                offsets[y, x, 0] = qy - y
                offsets[y, x, 1] = qx - x


@jit
def scatter(target, source, pad, patch, reach, key, offsets, errors):  # type: ignore[no-untyped-def]
    """Offer each pixel one match drawn from [-reach, reach]^2 around its own; taken if strictly better."""
    height, width = errors.shape
    corner = pad - patch // 2
    span = np.int64(2 * reach + 1)
    for y in range(height):
        for x in range(width):
            best = errors[y, x]
            if best == 0:
                continue
            mixed = np.uint64(key) ^ (np.uint64(y * width + x + 1) * np.uint64(0x9E3779B97F4A7C15))
            mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            mixed ^= mixed >> np.uint64(31)
            down = ((np.int64(mixed & np.uint64(0xFFFFF)) * span) >> 20) - reach
            right = ((np.int64((mixed >> np.uint64(40)) & np.uint64(0xFFFFF)) * span) >> 20) - reach
            qy = min(max(y + np.int64(offsets[y, x, 0]) + down, 0), height - 1)
            qx = min(max(x + np.int64(offsets[y, x, 1]) + right, 0), width - 1)
            error = _ssd(target, source, patch, y + corner, x + corner, qy + corner, qx + corner, best)
            if error < best:
                errors[y, x] = error
                offsets[y, x, 0] = qy - y
                offsets[y, x, 1] = qx - x
