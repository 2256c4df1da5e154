"""The inner loops of PatchMatch for numba: SSD of two RGB patches as one vector function, and the sweeps over it.

They know bytes in memory and nothing else: images come as padded, flat uint8 rows (`padded`). All sums are
integers, so results do not depend on the CPU, the vector width or the number of threads. Plain numba loops take
5-7x as long (their byte loads are not vectorised), which is why the SSD speaks LLVM.

All of it is one file, because numba's disk cache looks at the file of a kernel only: were the SSD elsewhere, a
change of it would leave old machine code in use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.errors import NumbaError
from numba.extending import intrinsic
from numpy.typing import NDArray

STRIP = 64
"""Rows of a strip; strips shift by half of this in every other sweep, so that matches pass their borders."""

TAIL = 64
"""Spare bytes behind a padded image, so that the last vector load stays inside the array."""


def padded(image: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Flat copy of `image` [H,W,3] with edges repeated `radius` pixels outwards and `TAIL` spare bytes.

    Row stride in bytes is `3 * (W + 2 * radius)`; the patch centred on pixel (y, x) starts at `y * stride + 3
    * x`.
    """
    framed = cv2.copyMakeBorder(image, radius, radius, radius, radius, cv2.BORDER_REPLICATE)
    flat = np.zeros(framed.size + TAIL, np.uint8)
    flat[: framed.size] = framed.reshape(-1)
    return flat


def jit(function: Callable[..., Any]) -> Any:
    """Compile with numba, GIL released; cached on disk where the machine has a place to write it."""
    try:
        return njit(nogil=True, cache=True)(function)
    except (RuntimeError, NumbaError):  # no writable cache folder (read-only image without a home)
        return njit(nogil=True)(function)


def _chunks(width: int) -> list[tuple[int, int, int]]:
    """Split a row of `width` bytes into vector loads: (start, lanes, lanes that count)."""
    parts, at = [], 0
    while at < width:
        left = width - at
        lanes = 16 if left > 8 else 8
        parts.append((at, lanes, min(lanes, left)))
        at += lanes
    return parts


def _row_of_squares(build: Any, mine: Any, theirs: Any, lanes: int, used: int) -> Any:
    """`lanes // 2` partial sums (int32) of the squared differences of `lanes` bytes at two pointers."""
    i8, i16, i32 = ir.IntType(8), ir.IntType(16), ir.IntType(32)

    def load(pointer: Any) -> Any:
        vector = build.load(build.bitcast(pointer, ir.VectorType(i8, lanes).as_pointer()), align=1)
        return build.zext(vector, ir.VectorType(i16, lanes))

    difference = build.sub(load(mine), load(theirs))
    if used < lanes:
        keep = [ir.Constant(i16, -1 if lane < used else 0) for lane in range(lanes)]
        difference = build.and_(difference, ir.Constant(ir.VectorType(i16, lanes), keep))
    wide = build.sext(difference, ir.VectorType(i32, lanes))
    squares = build.mul(wide, wide)
    none = ir.Constant(squares.type, ir.Undefined)

    def every_second(first: int) -> Any:
        picked = [ir.Constant(i32, lane) for lane in range(first, lanes, 2)]
        return build.shuffle_vector(squares, none, ir.Constant(ir.VectorType(i32, lanes // 2), picked))

    # even + odd lanes of a product of sign-extended words is the shape LLVM knows as multiply-add (pmaddwd)
    return build.add(every_second(0), every_second(1))


def _total(build: Any, vector: Any) -> Any:
    lanes = vector.type.count
    name = f"llvm.vector.reduce.add.v{lanes}i32"
    kind = ir.FunctionType(ir.IntType(32), [vector.type])
    return build.call(build.module.globals.get(name) or ir.Function(build.module, kind, name), [vector])


def _make_ssd(patch: int) -> Any:
    @intrinsic
    def ssd(typing: Any, a: Any, b: Any, stride_a: Any, stride_b: Any) -> Any:
        """SSD (int32) of the patches that start at addresses `a` and `b`, rows a stride apart (int64)."""

        def code(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
            at, row = list(arguments[:2]), arguments[2:]
            byte = ir.IntType(8).as_pointer()
            sums: dict[int, Any] = {}
            for _ in range(patch):
                for start, lanes, used in _chunks(3 * patch):
                    here = [
                        build.inttoptr(build.add(address, ir.Constant(address.type, start)), byte) for address in at
                    ]
                    part = _row_of_squares(build, here[0], here[1], lanes, used)
                    sums[lanes] = build.add(sums[lanes], part) if lanes in sums else part
                at = [build.add(address, stride) for address, stride in zip(at, row, strict=True)]
            totals = [_total(build, vector) for vector in sums.values()]
            result = totals[0]
            for more in totals[1:]:
                result = build.add(result, more)
            return result

        return types.int32(types.int64, types.int64, types.int64, types.int64), code

    return ssd


_ssd5 = _make_ssd(5)
_ssd7 = _make_ssd(7)


@njit(inline="always")
def _patch_ssd(patch: int, a: int, b: int, stride_a: int, stride_b: int) -> int:
    """SSD of two patches of side 5 or 7 at addresses `a` and `b`; one branch for a whole sweep."""
    if patch == 5:
        return _ssd5(a, b, stride_a, stride_b)
    return _ssd7(a, b, stride_a, stride_b)


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
def begin(target, source, patch, coarse, offsets, errors):  # type: ignore[no-untyped-def]
    """Fill `offsets` and `errors` of a level from the offsets of the coarser one."""
    height, width = errors.shape
    stride = np.int64(3 * (width + 2 * (patch // 2)))
    mine, theirs = np.int64(target.ctypes.data), np.int64(source.ctypes.data)
    for y in range(height):
        cy = min(y >> 1, coarse.shape[0] - 1)
        for x in range(width):
            cx = min(x >> 1, coarse.shape[1] - 1)
            here = mine + y * stride + 3 * x
            best = _patch_ssd(patch, here, theirs + y * stride + 3 * x, stride, stride)
            qy = min(max(y + 2 * np.int64(coarse[cy, cx, 0]), 0), height - 1)
            qx = min(max(x + 2 * np.int64(coarse[cy, cx, 1]), 0), width - 1)
            if best > 0 and (qy != y or qx != x):
                error = _patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride)
                if error < best:
                    best = error
                    offsets[y, x, 0] = qy - y
                    offsets[y, x, 1] = qx - x
            errors[y, x] = best


@jit
def measure(target, source, patch, offsets, errors):  # type: ignore[no-untyped-def]
    """Fill `errors` for given `offsets`; a match outside the picture (damaged field) is read at its edge."""
    height, width = errors.shape
    stride = np.int64(3 * (width + 2 * (patch // 2)))
    mine, theirs = np.int64(target.ctypes.data), np.int64(source.ctypes.data)
    for y in range(height):
        for x in range(width):
            qy = min(max(y + np.int64(offsets[y, x, 0]), 0), height - 1)
            qx = min(max(x + np.int64(offsets[y, x, 1]), 0), width - 1)
            here, there = mine + y * stride + 3 * x, theirs + qy * stride + 3 * qx
            errors[y, x] = _patch_ssd(patch, here, there, stride, stride)


@jit
def sweep(target, source, patch, radius, key, backward, shift, first, last, offsets, errors):  # type: ignore[no-untyped-def]
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
                        error = _patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride)
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
                    error = _patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride)
                    if error < best:
                        best, by, bx = error, qy, qx
                    reach >>= 1
                errors[y, x] = best
                offsets[y, x, 0] = by - y
                offsets[y, x, 1] = bx - x
