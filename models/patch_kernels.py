"""The inner loops of PatchMatch for numba: SSD of two RGB patches as one vector function, and the sweeps over it.

They know bytes in memory and nothing else: images come as padded, flat uint8 rows (`patch_pyramid`). A match costs
its SSD and, unless it is the pixel's own place, that pixel's toll; a better match must cost strictly less. All sums are
integers, so results do not depend on the CPU, the vector width or the number of threads. Plain numba loops take
5-7x as long (their byte loads are not vectorised), which is why the SSD speaks LLVM.

All of it is one file, because numba's disk cache looks at the file of a kernel only: were the SSD elsewhere, a
change of it would leave old machine code in use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core.errors import NumbaError
from numba.extending import intrinsic

STRIP = 64
"""Rows of a strip; strips shift by half of this in every other sweep, so that matches pass their borders."""

LANES = 16
"""Room for the random trials of a pixel: radii are below 2**15, since offsets are int16."""


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
def begin(target, source, tolls, patch, coarse, first, last, offsets, costs):  # type: ignore[no-untyped-def]
    """Fill rows `first` .. `last` of a level: each pixel stays, or takes the doubled offset of the coarser level.

    Returns how many SSDs it took, as `sweep` and `jump` do.
    """
    tried = 0
    height, width = costs.shape
    stride = np.int64(3 * (width + 2 * (patch // 2)))
    mine, theirs = np.int64(target.ctypes.data), np.int64(source.ctypes.data)
    for y in range(first, last):
        cy = min(y >> 1, coarse.shape[0] - 1)
        for x in range(width):
            cx = min(x >> 1, coarse.shape[1] - 1)
            here = mine + y * stride + 3 * x
            toll = np.int64(tolls[y, x])
            tried += 1
            best = np.int64(_patch_ssd(patch, here, theirs + y * stride + 3 * x, stride, stride))
            qy = min(max(y + 2 * np.int64(coarse[cy, cx, 0]), 0), height - 1)
            qx = min(max(x + 2 * np.int64(coarse[cy, cx, 1]), 0), width - 1)
            if best > toll and (qy != y or qx != x):
                tried += 1
                cost = _patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride) + toll
                if cost < best:
                    best = cost
                    offsets[y, x, 0] = qy - y
                    offsets[y, x, 1] = qx - x
            costs[y, x] = best
    return tried


@jit
def measure(target, source, patch, offsets, errors):  # type: ignore[no-untyped-def]
    """Fill `errors` with the SSD of `offsets`; a match outside the picture (damaged field) is read at its edge."""
    height, width = errors.shape
    stride = np.int64(3 * (width + 2 * (patch // 2)))
    mine, theirs = np.int64(target.ctypes.data), np.int64(source.ctypes.data)
    for y in range(height):
        for x in range(width):
            qy = min(max(y + np.int64(offsets[y, x, 0]), 0), height - 1)
            qx = min(max(x + np.int64(offsets[y, x, 1]), 0), width - 1)
            here, there = mine + y * stride + 3 * x, theirs + qy * stride + 3 * qx
            errors[y, x] = _patch_ssd(patch, here, there, stride, stride)


@njit(inline="always")
def _within(bits, reach):  # type: ignore[no-untyped-def]
    """A whole number of -reach .. reach out of 20 random bits."""
    return ((np.int64(bits & np.uint64(0xFFFFF)) * (2 * reach + 1)) >> 20) - reach


@njit(inline="always")
def _wander(here, theirs, stride, patch, toll, radius, number, height, width, best, by, bx):  # type: ignore[no-untyped-def]
    """Random matches around the best one, at halving distance; `number` (uint64) counts them, its hash is random."""
    reach, tried = np.int64(radius), 0
    while reach > 0 and best > toll:
        tried += 1
        number += np.uint64(0xD1B54A32D192ED03)
        bits = (number ^ (number >> np.uint64(32))) * np.uint64(0xDA942042E4DD58B5)
        bits ^= bits >> np.uint64(29)
        qy = min(max(by + _within(bits, reach), 0), height - 1)
        qx = min(max(bx + _within(bits >> np.uint64(40), reach), 0), width - 1)
        cost = _patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride) + toll
        if cost < best:
            best, by, bx = cost, qy, qx
        reach >>= 1
    return best, by, bx, tried


@njit(inline="always")
def _hash(number):  # type: ignore[no-untyped-def]
    """32 random bits of a number (uint32), by shifts and products that a vector of numbers can take at once."""
    bits = np.uint32(number ^ (number >> np.uint32(16)))
    bits = np.uint32(bits * np.uint32(0x7FEB352D))
    bits = np.uint32(bits ^ (bits >> np.uint32(15)))
    bits = np.uint32(bits * np.uint32(0x846CA68B))
    return np.uint32(bits ^ (bits >> np.uint32(16)))


@njit(inline="always")
def _thrown(number, reaches, trials, throws):  # type: ignore[no-untyped-def]
    """Fill `throws` [2,LANES] with a random (dy, dx) of -reach .. reach for each trial, eight trials at a time."""
    for first in range(0, trials, 8):
        for trial in range(first, first + 8):
            bits = _hash(np.uint32(number + np.uint32(np.uint32(trial + 1) * np.uint32(0x9E3779B1))))
            reach = reaches[trial]
            span = np.uint32(2 * reach + 1)
            low, high = np.uint32(bits & np.uint32(0xFFFF)), np.uint32(bits >> np.uint32(16))
            throws[0, trial] = np.int32(np.uint32(low * span) >> np.uint32(16)) - reach
            throws[1, trial] = np.int32(np.uint32(high * span) >> np.uint32(16)) - reach


@jit
def sweep(target, source, tolls, patch, radius, key, backward, shift, first, last, offsets, costs):  # type: ignore[no-untyped-def]
    """One scan, in place, over strips `first` .. `last`: neighbours' offsets, then random ones at halving distance.

    Strip s covers rows [STRIP * s - shift, STRIP * (s + 1) - shift). A match that costs no more than the toll is
    exact, or as good as staying: it is left alone. A neighbour of the same offset is measured again, which is quicker
    than a branch that the processor cannot foresee.
    """
    height, width = costs.shape
    stride = np.int64(3 * (width + 2 * (patch // 2)))
    mine, theirs = np.int64(target.ctypes.data), np.int64(source.ctypes.data)
    step = -1 if backward else 1
    reaches, throws = np.zeros(LANES, np.int32), np.zeros((2, LANES), np.int32)
    trials, tried = 0, 0
    while radius >> trials:  # read eight at a time from here: shifting there takes a search a tenth longer
        reaches[trials] = radius >> trials
        trials += 1
    salt = np.uint32((key ^ (key >> 32)) & 0xFFFFFFFF)
    for strip in range(first, last):
        top, bottom = max(0, strip * STRIP - shift), min(height, (strip + 1) * STRIP - shift)
        for i in range(bottom - top):
            y = bottom - 1 - i if backward else top + i
            for j in range(width):
                x = width - 1 - j if backward else j
                best, toll = np.int64(costs[y, x]), np.int64(tolls[y, x])
                if best <= toll:
                    continue
                here = mine + y * stride + 3 * x
                by, bx = y + np.int64(offsets[y, x, 0]), x + np.int64(offsets[y, x, 1])
                _thrown(_hash(np.uint32(salt + np.uint32(y * width + x))), reaches, trials, throws)
                for turn in range(2 + trials):
                    if turn == 0:
                        if j == 0:
                            continue
                        qy, qx = y + np.int64(offsets[y, x - step, 0]), x + np.int64(offsets[y, x - step, 1])
                    elif turn == 1:
                        if i == 0:
                            continue
                        qy, qx = y + np.int64(offsets[y - step, x, 0]), x + np.int64(offsets[y - step, x, 1])
                    else:
                        if best <= toll:
                            break
                        qy, qx = by + np.int64(throws[0, turn - 2]), bx + np.int64(throws[1, turn - 2])
                    if np.uint64(qy) >= np.uint64(height) or np.uint64(qx) >= np.uint64(width):
                        qy, qx = min(max(qy, 0), height - 1), min(max(qx, 0), width - 1)
                    tried += 1
                    cost = _patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride) + toll
                    if cost < best:
                        best, by, bx = cost, qy, qx
                costs[y, x] = best
                offsets[y, x, 0] = by - y
                offsets[y, x, 1] = bx - x
    return tried


@jit
def jump(target, source, tolls, patch, radius, key, first, last, old, old_costs, offsets, costs):  # type: ignore[no-untyped-def]
    """One pass over rows `first` .. `last` from the buffers `old` into the others: each pixel tries the offsets of
    its 4 neighbours at distance 1 and 4, then random ones at halving distance. No pixel sees another's new match.
    """
    height, width = costs.shape
    stride = np.int64(3 * (width + 2 * (patch // 2)))
    mine, theirs = np.int64(target.ctypes.data), np.int64(source.ctypes.data)
    tried = 0
    for y in range(first, last):
        for x in range(width):
            best, toll = np.int64(old_costs[y, x]), np.int64(tolls[y, x])
            by, bx = y + np.int64(old[y, x, 0]), x + np.int64(old[y, x, 1])
            here = mine + y * stride + 3 * x
            for side in range(8):
                if best <= toll:
                    break
                far = 1 if side < 4 else 4
                ny, nx = y + far * ((side & 1) * ((side & 2) - 1)), x + far * ((1 - (side & 1)) * ((side & 2) - 1))
                if ny < 0 or ny >= height or nx < 0 or nx >= width:
                    continue
                qy = min(max(y + np.int64(old[ny, nx, 0]), 0), height - 1)
                qx = min(max(x + np.int64(old[ny, nx, 1]), 0), width - 1)
                if qy != by or qx != bx:
                    tried += 1
                    cost = _patch_ssd(patch, here, theirs + qy * stride + 3 * qx, stride, stride) + toll
                    if cost < best:
                        best, by, bx = cost, qy, qx
            number = np.uint64(key) ^ (np.uint64(y * width + x + 1) * np.uint64(0x9E3779B97F4A7C15))
            best, by, bx, more = _wander(here, theirs, stride, patch, toll, radius, number, height, width, best, by, bx)
            tried += more
            costs[y, x] = best
            offsets[y, x, 0] = by - y
            offsets[y, x, 1] = bx - x
    return tried
