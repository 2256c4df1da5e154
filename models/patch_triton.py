"""The jumps search as Triton kernels: a program per block of pixels and pair, patches read from the L2 cache.

Bit-exact to `models.patch_jumps`: the same candidates in the same order, int32 sums, uint64 random numbers. Pyramid,
padding and the order of passes are those of `models.patch_torch`. Importing this file needs Triton: `models.patchmatch`
does so when asked for it. Runs without a GPU only in Triton's interpreter (TRITON_INTERPRET=1), for tests.
"""

from __future__ import annotations

import os
from contextlib import nullcontext

import numpy as np
import torch
import triton  # type: ignore[import-not-found, import-untyped, unused-ignore]
import triton.language as tl  # type: ignore[import-not-found, import-untyped, unused-ignore]
from numpy.typing import NDArray
from torch import Tensor

from configs.errors import DeviceError
from models import patch_torch
from models.patch_plan import Plan
from models.patch_torch import Level, State

BLOCK = 128
"""Pixels of a program."""


@triton.jit
def _ssd(mine, theirs, stride, live, PATCH: tl.constexpr):  # type: ignore[no-untyped-def]
    """SSD (int32) of the patches whose first bytes lie at two blocks of pointers."""
    total = tl.zeros(live.shape, tl.int32)
    for row in tl.static_range(PATCH):
        for byte in tl.static_range(3 * PATCH):
            a = tl.load(mine + row * stride + byte, mask=live, other=0).to(tl.int32)
            b = tl.load(theirs + row * stride + byte, mask=live, other=0).to(tl.int32)
            total += (a - b) * (a - b)
    return total


@triton.jit
def _within(bits, reach):  # type: ignore[no-untyped-def]
    return (((bits & 0xFFFFF).to(tl.int64) * (2 * reach + 1)) >> 20).to(tl.int32) - reach


@triton.jit(do_not_specialize=["coarse_height", "coarse_width"])
def _begin(  # type: ignore[no-untyped-def]
    target, source, tolls, size, height, width, stride, coarse, coarse_height, coarse_width, offsets, costs,
    PATCH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = pixel < height * width
    pair = tl.program_id(1).to(tl.int64)
    target, source, out = target + pair * size, source + pair * size, pair * height * width + pixel
    y, x = pixel // width, pixel % width
    toll = tl.load(tolls + out, mask=live, other=0)
    here = target + y * stride + 3 * x
    stay = _ssd(here, source + y * stride + 3 * x, stride, live, PATCH)
    cy, cx = tl.minimum(y // 2, coarse_height - 1), tl.minimum(x // 2, coarse_width - 1)
    above = coarse + 2 * ((pair * coarse_height + cy) * coarse_width + cx)
    dy, dx = (tl.load(above, mask=live, other=0).to(tl.int32), tl.load(above + 1, mask=live, other=0).to(tl.int32))
    qy = tl.minimum(tl.maximum(y + 2 * dy, 0), height - 1)
    qx = tl.minimum(tl.maximum(x + 2 * dx, 0), width - 1)
    cost = _ssd(here, source + qy * stride + 3 * qx, stride, live, PATCH) + toll
    better = cost < stay
    tl.store(offsets + 2 * out, tl.where(better, qy - y, 0).to(tl.int16), mask=live)
    tl.store(offsets + 2 * out + 1, tl.where(better, qx - x, 0).to(tl.int16), mask=live)
    tl.store(costs + out, tl.where(better, cost, stay), mask=live)


@triton.jit(do_not_specialize=["key", "radius"])
def _jump(  # type: ignore[no-untyped-def]
    target, source, tolls, size, height, width, stride, radius, key, old, old_costs, offsets, costs,
    TRIALS: tl.constexpr, PATCH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    pixel = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = pixel < height * width
    pair = tl.program_id(1).to(tl.int64)
    first = pair * height * width
    target, source, out = target + pair * size, source + pair * size, first + pixel
    y, x = pixel // width, pixel % width
    toll = tl.load(tolls + out, mask=live, other=0)
    here = target + y * stride + 3 * x
    best = tl.load(old_costs + out, mask=live, other=0)
    by = y + tl.load(old + 2 * out, mask=live, other=0).to(tl.int32)
    bx = x + tl.load(old + 2 * out + 1, mask=live, other=0).to(tl.int32)
    for side in range(8):  # left, up, right, down; at distance 1, then 4
        far = 1 + 3 * (side // 4)
        sign = (side & 2) - 1
        ny, nx = y + far * (side & 1) * sign, x + far * (1 - (side & 1)) * sign
        there = live & (ny >= 0) & (ny < height) & (nx >= 0) & (nx < width)
        near = old + 2 * (first + ny * width + nx)
        qy = tl.minimum(tl.maximum(y + tl.load(near, mask=there, other=0).to(tl.int32), 0), height - 1)
        qx = tl.minimum(tl.maximum(x + tl.load(near + 1, mask=there, other=0).to(tl.int32), 0), width - 1)
        cost = _ssd(here, source + qy * stride + 3 * qx, stride, live, PATCH) + toll
        better = there & (cost < best)
        best, by, bx = tl.where(better, cost, best), tl.where(better, qy, by), tl.where(better, qx, bx)
    number = (pixel + 1).to(tl.uint64) * 0x9E3779B97F4A7C15 ^ key.to(tl.uint64)
    for trial in range(TRIALS):
        number += 0xD1B54A32D192ED03
        bits = (number ^ (number >> 32)) * 0xDA942042E4DD58B5
        bits = bits ^ (bits >> 29)
        reach = radius >> trial
        qy = tl.minimum(tl.maximum(by + _within(bits, reach), 0), height - 1)
        qx = tl.minimum(tl.maximum(bx + _within(bits >> 40, reach), 0), width - 1)
        cost = _ssd(here, source + qy * stride + 3 * qx, stride, live, PATCH) + toll
        better = cost < best
        best, by, bx = tl.where(better, cost, best), tl.where(better, qy, by), tl.where(better, qx, bx)
    tl.store(offsets + 2 * out, (by - y).to(tl.int16), mask=live)
    tl.store(offsets + 2 * out + 1, (bx - x).to(tl.int16), mask=live)
    tl.store(costs + out, best, mask=live)


def search(
    targets: NDArray[np.uint8], sources: NDArray[np.uint8], plan: Plan, device: torch.device
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """As `patch_torch.search`. Raises DeviceError on a device that Triton cannot run on."""
    if device.type != "cuda" and os.environ.get("TRITON_INTERPRET") != "1":
        raise DeviceError(f"method 'triton' needs a CUDA device, got {str(device)!r}; use method 'jumps' on a CPU")
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        return patch_torch.search(targets, sources, plan, device, _begin_level, _pass)


def _fresh(level: Level) -> State:
    shape = (len(level.target), level.height, level.width)
    device = level.target.device
    offsets = torch.empty((*shape, 2), dtype=torch.int16, device=device)
    return offsets, torch.empty(shape, dtype=torch.int32, device=device)


def _pictures(level: Level) -> tuple[Tensor | int, ...]:
    size = level.target.shape[1]
    return level.target, level.source, level.tolls, size, level.height, level.width, level.stride


def _grid(level: Level) -> tuple[int, int]:
    return triton.cdiv(level.height * level.width, BLOCK), len(level.target)


def _begin_level(level: Level, plan: Plan, coarse: Tensor) -> State:
    state = _fresh(level)
    sizes = coarse.shape[1:3]
    _begin[_grid(level)](*_pictures(level), coarse.contiguous(), *sizes, *state, PATCH=plan.patch, BLOCK=BLOCK)
    return state


def _pass(level: Level, plan: Plan, key: int, old: State) -> State:
    state = _fresh(level)
    constants = {"TRIALS": plan.trials, "PATCH": plan.patch, "BLOCK": BLOCK}
    _jump[_grid(level)](*_pictures(level), plan.radius, key, *old, *state, **constants)
    return state
