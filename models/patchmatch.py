"""Nearest-neighbour field (NNF) between two frames: for every target pixel the best matching patch of the
source.

PatchMatch (Barnes et al., 2009) in scan order on an image pyramid, for the CPU. It knows two pictures and a
seed; not which frames they are, nor what the field is used for. Everything is integer arithmetic, random
numbers are a hash of (seed, level, sweep, pixel, trial), and rows are worked on in strips that never read
each other within a sweep: the same field on every machine and for any number of threads.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from models.patch_ssd import jit, padded, patch_ssd

STRIP = 64
"""Rows of a strip; strips move by half of this from sweep to sweep, so that matches can pass their
borders.
"""

Field = NDArray[np.int16]


@dataclass(frozen=True)
class _Level:
    """One pyramid level: padded bytes of both pictures."""

    target: NDArray[np.uint8]
    source: NDArray[np.uint8]
    height: int
    width: int


def nnf(
    target: NDArray[np.uint8],
    source: NDArray[np.uint8],
    patch: int = 5,
    seed: int = 0,
    levels: int | None = None,
    radius: int = 64,
    sweeps: int = 4,
    fine_sweeps: int = 3,
    threads: int = 1,
) -> tuple[Field, NDArray[np.float32]]:
    """Match every pixel of `target` to a pixel of `source` by the SSD of the patches around them.

    `target`, `source`: uint8 RGB [H,W,3] of equal size. `patch`: 5 or 7 pixels. `levels`: pyramid levels
    (None: up to 4, the coarsest at least `4 * patch` pixels). `radius`: the first random trial looks that far
    (pixels), each next one half as far. `sweeps` / `fine_sweeps`: passes on coarse levels and on the finest
    one. `threads` changes no bit.

    Returns offsets int16 [H,W,2] as (dy, dx), so that target pixel p matches source pixel p + offset (always
    inside the picture), and the error float32 [H,W]: the patch SSD over `3 * patch**2` values of 0..255.
    Equal pictures give exactly zero offsets. Raises ConfigError for pictures or patches it cannot take.
    Source: Barnes et al., PatchMatch, ACM TOG 2009; halving radii and coarse-to-fine start as there.
    """
    _check(target, source, patch, radius, threads)
    pyramid = _pyramid(target, source, patch, levels)
    offsets = np.zeros((1, 1, 2), np.int16)
    errors = np.zeros((1, 1), np.int32)
    with ThreadPoolExecutor(threads) as pool:
        for depth in reversed(range(len(pyramid))):
            level = pyramid[depth]
            offsets, errors = _start(level, patch, offsets)
            for sweep in range(fine_sweeps if depth == 0 else sweeps):
                shift = STRIP // 2 if sweep % 2 else 0
                strips = -(-(level.height + shift) // STRIP)
                key = _key(seed, depth, sweep)

                def run(
                    first: int,
                    last: int,
                    level: _Level = level,
                    backward: bool = bool(sweep % 2),
                    key: int = key,
                    shift: int = shift,
                    offsets: Field = offsets,
                    errors: NDArray[np.int32] = errors,
                ) -> None:
                    _sweep(
                        level.target,
                        level.source,
                        patch,
                        radius,
                        key,
                        backward,
                        shift,
                        first,
                        last,
                        offsets,
                        errors,
                    )

                if threads == 1:
                    run(0, strips)
                else:
                    list(pool.map(run, range(strips), range(1, strips + 1)))
    return offsets, errors.astype(np.float32)


def identity(height: int, width: int) -> tuple[Field, NDArray[np.float32]]:
    """The field of a frame onto itself: no offset, no error."""
    return np.zeros((height, width, 2), np.int16), np.zeros((height, width), np.float32)


def warm_up(patch: int = 5) -> None:
    """Compile (or load from numba's cache) the kernels for `patch`, so that the first real pair is not
    slow.
    """
    picture = np.zeros((4 * patch, 4 * patch, 3), np.uint8)
    nnf(picture, picture, patch)


def _check(
    target: NDArray[np.uint8], source: NDArray[np.uint8], patch: int, radius: int, threads: int
) -> None:
    if patch not in (5, 7):
        raise ConfigError(f"patch must be 5 or 7, got {patch}")
    if radius < 1 or threads < 1:
        raise ConfigError(f"radius and threads must be >= 1, got {radius} and {threads}")
    if target.shape != source.shape or target.ndim != 3 or target.shape[2] != 3:
        raise ConfigError(f"frames to match must both be [H,W,3], got {target.shape} and {source.shape}")
    if target.dtype != np.uint8 or source.dtype != np.uint8:
        raise ConfigError(f"frames to match must be uint8, got {target.dtype} and {source.dtype}")
    if max(target.shape) > np.iinfo(np.int16).max or min(target.shape) < 1:
        raise ConfigError(f"frames to match must have 1..32767 pixels a side, got {target.shape[:2]}")


def _pyramid(
    target: NDArray[np.uint8], source: NDArray[np.uint8], patch: int, levels: int | None
) -> list[_Level]:
    """Finest level first; each next one half the size, averaged in integers."""
    side = min(target.shape[:2])
    wanted = levels if levels is not None else max(1, min(4, (side // (4 * patch)).bit_length()))
    built = []
    for depth in range(wanted):
        if depth:
            target, source = _halve(np.ascontiguousarray(target)), _halve(np.ascontiguousarray(source))
        height, width = target.shape[:2]
        built.append(_Level(padded(target, patch // 2), padded(source, patch // 2), height, width))
        if max(height, width) == 1:
            break
    return built


def _start(level: _Level, patch: int, coarse: Field) -> tuple[Field, NDArray[np.int32]]:
    """Offsets doubled from the coarser level, or none where staying in place is at least as good."""
    offsets = np.zeros((level.height, level.width, 2), np.int16)
    errors = np.zeros((level.height, level.width), np.int32)
    _begin(level.target, level.source, patch, coarse, offsets, errors)
    return offsets, errors


def _key(seed: int, depth: int, sweep: int) -> int:
    """63-bit key of one sweep, by the finaliser of splitmix64."""
    mixed = (seed * 64 + depth) * 64 + sweep + 1
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed &= (1 << 64) - 1
        mixed = (mixed ^ (mixed >> shift)) * factor
    return (mixed ^ (mixed >> 31)) & ((1 << 63) - 1)


@jit
def _halve(image):  # type: ignore[no-untyped-def]
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
def _begin(target, source, patch, coarse, offsets, errors):  # type: ignore[no-untyped-def]
    """Fill `offsets` and `errors` of a level from the offsets of the coarser one."""
    height, width = errors.shape
    stride = np.int64(3 * (width + 2 * (patch // 2)))
    mine, theirs = np.int64(target.ctypes.data), np.int64(source.ctypes.data)
    for y in range(height):
        cy = min(y >> 1, coarse.shape[0] - 1)
        for x in range(width):
            cx = min(x >> 1, coarse.shape[1] - 1)
            here = mine + y * stride + 3 * x
            best = patch_ssd(patch, here, theirs + y * stride + 3 * x, stride, stride)
            qy = min(max(y + 2 * np.int64(coarse[cy, cx, 0]), 0), height - 1)
            qx = min(max(x + 2 * np.int64(coarse[cy, cx, 1]), 0), width - 1)
            if best > 0 and (qy != y or qx != x):
                error = patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride)
                if error < best:
                    best = error
                    offsets[y, x, 0] = qy - y
                    offsets[y, x, 1] = qx - x
            errors[y, x] = best


@jit
def _sweep(target, source, patch, radius, key, backward, shift, first, last, offsets, errors):  # type: ignore[no-untyped-def]
    """One scan over strips `first` .. `last`: neighbours' offsets, then random ones at halving distance.

    Strip s covers rows [STRIP * s - shift, STRIP * (s + 1) - shift). A better match must be strictly better.
    """
    height, width = errors.shape
    stride = np.int64(3 * (width + 2 * (patch // 2)))
    mine, theirs = np.int64(target.ctypes.data), np.int64(source.ctypes.data)
    step = -1 if backward else 1
    for strip in range(first, last):
        top, bottom = max(0, strip * STRIP - shift), min(height, (strip + 1) * STRIP - shift)
        for i in range(bottom - top):
            y = bottom - 1 - i if backward else top + i
            for j in range(width):
                x = width - 1 - j if backward else j
                best = errors[y, x]
                if best == 0:
                    continue
                here = mine + y * stride + 3 * x
                by, bx = y + np.int64(offsets[y, x, 0]), x + np.int64(offsets[y, x, 1])
                for side in range(2):
                    if side == 0:
                        if j == 0:
                            continue
                        qy, qx = y + np.int64(offsets[y, x - step, 0]), x + np.int64(offsets[y, x - step, 1])
                    else:
                        if i == 0:
                            continue
                        qy, qx = y + np.int64(offsets[y - step, x, 0]), x + np.int64(offsets[y - step, x, 1])
                    qy, qx = min(max(qy, 0), height - 1), min(max(qx, 0), width - 1)
                    if qy != by or qx != bx:
                        error = patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride)
                        if error < best:
                            best, by, bx = error, qy, qx
                number = np.uint64(key) ^ (np.uint64(y * width + x + 1) * np.uint64(0x9E3779B97F4A7C15))
                reach = np.int64(radius)
                while reach > 0 and best > 0:
                    number += np.uint64(0xD1B54A32D192ED03)
                    mixed = (number ^ (number >> np.uint64(32))) * np.uint64(0xDA942042E4DD58B5)
                    mixed ^= mixed >> np.uint64(29)
                    span = 2 * reach + 1
                    qy = by - reach + ((np.int64(mixed & np.uint64(0xFFFFF)) * span) >> 20)
                    qx = bx - reach + ((np.int64((mixed >> np.uint64(40)) & np.uint64(0xFFFFF)) * span) >> 20)
                    qy, qx = min(max(qy, 0), height - 1), min(max(qx, 0), width - 1)
                    error = patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride)
                    if error < best:
                        best, by, bx = error, qy, qx
                    reach >>= 1
                errors[y, x] = best
                offsets[y, x, 0] = by - y
                offsets[y, x, 1] = bx - x
