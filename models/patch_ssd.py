"""Sum of squared differences (SSD) of two small RGB patches, as one machine-vector function for numba
kernels.

It knows bytes in memory and nothing else: images come as addresses of padded, flat uint8 rows (`padded`). All
sums are integers, so results do not depend on the CPU, the vector width or the number of threads. Plain numba
loops take 5-7x as long here (the byte loads are not vectorised), which is why this file speaks LLVM.
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
        """SSD (int32) of the patches whose first bytes lie at addresses `a` and `b` (int64), rows apart by
        strides.
        """

        def code(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
            at, row = list(arguments[:2]), arguments[2:]
            byte = ir.IntType(8).as_pointer()
            sums: dict[int, Any] = {}
            for _ in range(patch):
                for start, lanes, used in _chunks(3 * patch):
                    here = [
                        build.inttoptr(build.add(address, ir.Constant(address.type, start)), byte)
                        for address in at
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
def patch_ssd(patch: int, a: int, b: int, stride_a: int, stride_b: int) -> int:
    """SSD of two patches of side 5 or 7 at addresses `a` and `b`; the branch is the same for a whole
    sweep.
    """
    if patch == 5:
        return _ssd5(a, b, stride_a, stride_b)
    return _ssd7(a, b, stride_a, stride_b)
