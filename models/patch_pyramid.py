"""Pyramids of two pictures as the kernels read them: padded, flat bytes, each level half the size of the last.

It knows pictures; not how they are searched. Averages are integers, so every backend can build the same levels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from models.patch_kernels import begin, jit
from models.patch_plan import Plan
from models.patch_threads import Over, bands

TAIL = 64
"""Spare bytes behind a padded image, so that the last vector load stays inside the array."""


@dataclass(frozen=True)
class Level:
    """One pyramid level: padded bytes of both pictures, and `tolls` of the target."""

    target: NDArray[np.uint8]
    source: NDArray[np.uint8]
    tolls: NDArray[np.int32]
    height: int
    width: int


def pyramid(target: NDArray[np.uint8], source: NDArray[np.uint8], plan: Plan) -> list[Level]:
    """The levels of two uint8 pictures [H,W,3], the finest first."""
    # writable and contiguous: to numba anything else is another type, which would compile once more
    target, source = (np.require(image, np.uint8, ["C_CONTIGUOUS", "WRITEABLE"]) for image in (target, source))
    built = []
    for depth in range(plan.depth(*target.shape[:2])):
        if depth:
            target, source = halve(target), halve(source)
        height, width = target.shape[:2]
        framed = [padded(picture, plan.patch // 2) for picture in (target, source)]
        built.append(Level(framed[0], framed[1], tolls(target, plan), height, width))
    return built


State = tuple[NDArray[np.int16], NDArray[np.int32]]
"""Offsets [H,W,2] and costs [H,W] of a level."""


def descend(
    target: NDArray[np.uint8],
    source: NDArray[np.uint8],
    plan: Plan,
    improve: Callable[[Level, int, int, State], State],
    over: Over,
    threads: int,
) -> State:
    """Offsets and errors of two pictures, searched from the coarsest level to the finest.

    `improve(level, turn, key, state)` is one pass over a level; `over` shares rows out to so many threads. The toll of
    a match is no part of its error.
    """
    offsets, costs = np.zeros((1, 1, 2), np.int16), np.zeros((1, 1), np.int32)
    levels = pyramid(target, source, plan)
    for depth, level in reversed(list(enumerate(levels))):
        coarse = offsets
        offsets = np.zeros((level.height, level.width, 2), np.int16)
        costs = np.zeros((level.height, level.width), np.int32)
        _begun(level, plan.patch, coarse, (offsets, costs), over, threads)
        for turn, key in enumerate(plan.keys(depth)):
            offsets, costs = improve(level, turn, key, (offsets, costs))
    _acquit(levels[0].tolls, offsets, costs)
    return offsets, costs


def _begun(level: Level, patch: int, coarse: NDArray[np.int16], state: State, over: Over, threads: int) -> None:
    def rows(first: int, last: int) -> None:
        begin(level.target, level.source, level.tolls, patch, coarse, first, last, *state)

    over(rows, bands(level.height, threads))


def tolls(image: NDArray[np.uint8], plan: Plan) -> NDArray[np.int32]:
    """What a match away from its own place is charged for each pixel of `image`, in SSD of a patch: int32 [H,W].

    With v the variance of the patch times its values: two patches that share nothing but v differ by 2 v, which
    is all that staying costs in a flat patch, whose v is noise; a match that saves less is chance. Structure
    (2 v beyond `plan.peak`) tells matches apart by itself, so there the toll falls again, as peak**2 / (2 v). Of
    this, three quarters: a half lets one pixel in seven of pure noise scatter, the whole costs more SSD in
    pictures of faint noise.
    """
    charged = np.empty(image.shape[:2], np.int32)
    _charge(padded(image, plan.patch // 2), plan.patch, plan.peak, charged)
    return charged


def padded(image: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Flat copy of `image` [H,W,3] with edges repeated `radius` pixels outwards and `TAIL` spare bytes.

    Row stride in bytes is `3 * (W + 2 * radius)`; the patch centred on pixel (y, x) starts at `y * stride + 3
    * x`.
    """
    framed = cv2.copyMakeBorder(image, radius, radius, radius, radius, cv2.BORDER_REPLICATE)
    flat = np.zeros(framed.size + TAIL, np.uint8)
    flat[: framed.size] = framed.reshape(-1)
    return flat


@jit
def halve(image):  # type: ignore[no-untyped-def]
    """Mean of 2x2 pixels, rounded; the last row or column stands for a missing one."""
    height, width, channels = image.shape
    half = np.empty(((height + 1) // 2, (width + 1) // 2, channels), np.uint8)
    for y in range(half.shape[0]):
        below = min(2 * y + 1, height - 1)
        for x in range(half.shape[1]):
            right = min(2 * x + 1, width - 1)
            for c in range(channels):
                total = np.int32(image[2 * y, 2 * x, c]) + image[2 * y, right, c] + image[below, 2 * x, c]
                half[y, x, c] = (total + image[below, right, c] + 2) >> 2
    return half


@jit
def _acquit(tolls, offsets, costs):  # type: ignore[no-untyped-def]
    """Turn `costs` into errors in place: matches that moved no longer bear their toll."""
    height, width = costs.shape
    for y in range(height):
        for x in range(width):
            moved = offsets[y, x, 0] != 0 or offsets[y, x, 1] != 0
            costs[y, x] -= tolls[y, x] if moved else 0


@njit(inline="always")
def _spread_along(sums, squares, patch, spreads):  # type: ignore[no-untyped-def]
    """Fill `spreads` with (variance of a patch of one channel) * patch**4, from the sums of its columns."""
    for i in range(spreads.size):
        total, square = sums[i], squares[i]
        for column in range(1, patch):
            total += sums[i + 3 * column]
            square += squares[i + 3 * column]
        spreads[i] = np.int32(patch * patch) * square - total * total


@jit
def _charge(framed, patch, peak, charged):  # type: ignore[no-untyped-def]
    """Fill `charged` with `tolls`, from sums of columns that slide down the padded picture."""
    height, width = charged.shape
    stride, area = 3 * (width + 2 * (patch // 2)), np.float64(patch * patch)
    sums, squares = np.zeros(stride, np.int32), np.zeros(stride, np.int32)  # of the columns of bytes in `patch` rows
    spreads = np.empty(3 * width, np.int32)
    for row in range(height + 2 * (patch // 2)):
        for i in range(stride):
            v = np.int32(framed[row * stride + i])
            sums[i] += v
            squares[i] += v * v
        if row >= patch:
            for i in range(stride):
                v = np.int32(framed[(row - patch) * stride + i])
                sums[i] -= v
                squares[i] -= v * v
        y = row - patch + 1
        if y < 0:
            continue
        if patch == 5:  # a constant number of columns is what lets the compiler take many pixels at once
            _spread_along(sums, squares, 5, spreads)
        else:
            _spread_along(sums, squares, 7, spreads)
        for x in range(width):  # whole numbers below 2**53 over whole numbers: the floor of the float quotient is exact
            spread = np.floor(2 * (spreads[3 * x] + spreads[3 * x + 1] + spreads[3 * x + 2]) / area)
            over = np.floor(np.float64(peak) * np.float64(peak) / max(spread, 1.0))
            charged[y, x] = np.int32(min(spread, over) * 0.75)
