"""The jumps search on torch tensors, a batch of pairs at once: for a GPU without Triton, and the frame Triton runs in.

Bit-exact to `models.patch_jumps`, since all of it is integers. torch has no unsigned 64-bit arithmetic: random numbers
are int64 that wrap, with logical shifts made by masks.

Legend: B pairs, H W picture, N padded bytes of a picture. Eager: each candidate reads its patches from memory, which
costs some hundred times the bytes of the picture per candidate; Triton's kernel is the fast one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.errors import DeviceError
from models.patch_plan import Plan


@dataclass(frozen=True)
class Level:
    """One pyramid level of B pairs: padded bytes uint8 [B,N] of both pictures, rows `stride` bytes apart, and the
    tolls int32 [B,H,W] (`patch_pyramid.tolls`)."""

    target: Tensor
    source: Tensor
    tolls: Tensor
    height: int
    width: int
    stride: int


State = tuple[Tensor, Tensor]
"""Offsets int16 [B,H,W,2] and costs int32 [B,H,W]."""
Begin = Callable[[Level, Plan, Tensor], State]
Jump = Callable[[Level, Plan, int, State], State]


def search(
    targets: NDArray[np.uint8],
    sources: NDArray[np.uint8],
    plan: Plan,
    device: torch.device,
    begin: Begin | None = None,
    jump: Jump | None = None,
) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Offsets int16 [B,H,W,2] and errors int32 [B,H,W] of pairs uint8 [B,H,W,3], as `patch_jumps.search` one by one.

    `begin(level, plan, coarse)` and `jump(level, plan, key, state)` do a level's start and one pass:
    torch's own below, or Triton's.
    """
    begin, jump = begin or _begin, jump or _jump
    pair = [torch.from_numpy(np.array(pictures)).to(device) for pictures in (targets, sources)]
    levels = _pyramid(pair[0], pair[1], plan)
    state = (torch.zeros((len(targets), 1, 1, 2), dtype=torch.int16, device=device), torch.empty(0))
    for depth, level in reversed(list(enumerate(levels))):
        state = begin(level, plan, state[0])
        for key in plan.keys(depth):
            state = jump(level, plan, key, state)
    offsets, costs = state
    return offsets.cpu().numpy(), (costs - level.tolls * offsets.any(-1)).cpu().numpy()


def open_device(name: str) -> torch.device:
    """The device of that name, untouched. Raises DeviceError if this machine does not have it."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device {name!r} is not a device; use cpu, cuda or cuda:N") from error
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and (device.index or 0) >= found):
        raise DeviceError(f"device {name!r} asked for, but this machine has cpu and {found} CUDA devices")
    return device


def _pyramid(target: Tensor, source: Tensor, plan: Plan) -> list[Level]:
    built = []
    for depth in range(plan.depth(*target.shape[1:3])):
        if depth:
            target, source = _halve(target), _halve(source)
        height, width = target.shape[1:3]
        radius = plan.patch // 2
        both = (_padded(target, radius), _padded(source, radius))
        stride = 3 * (width + 2 * radius)
        flat = [framed.reshape(len(framed), -1) for framed in both]
        built.append(Level(flat[0], flat[1], _tolls(both[0].int(), plan), height, width, stride))
    return built


def _padded(images: Tensor, radius: int) -> Tensor:
    """[B,H,W,3] with edges repeated `radius` pixels outwards, as [B,H+2r,W+2r,3]."""
    rows, columns = (
        torch.arange(-radius, size + radius, device=images.device).clamp(0, size - 1) for size in images.shape[1:3]
    )
    return images[:, rows][:, :, columns].contiguous()


def _tolls(framed: Tensor, plan: Plan) -> Tensor:
    """`patch_pyramid.tolls` of padded pictures, int32 [B,H,W]."""

    def box(values: Tensor) -> Tensor:
        for axis in (1, 2):
            inner = values.shape[axis] - plan.patch + 1
            values = torch.stack([values.narrow(axis, k, inner) for k in range(plan.patch)]).sum(0, dtype=torch.int32)
        return values

    total, area = box(framed), plan.patch**2
    spread = 2 * (area * box(framed * framed) - total * total).sum(-1, dtype=torch.int32) // area
    chance = torch.minimum(spread.long(), plan.peak**2 // spread.clamp(min=1).long())
    return (3 * chance >> 2).to(torch.int32)


def _halve(images: Tensor) -> Tensor:
    """Mean of 2x2 pixels, rounded; the last row or column stands for a missing one."""
    height, width = images.shape[1:3]
    wide = images.to(torch.int32)
    below = torch.arange(1, height + 1, 2, device=images.device).clamp(max=height - 1)
    right = torch.arange(1, width + 1, 2, device=images.device).clamp(max=width - 1)
    tall = wide[:, ::2] + wide[:, below]
    return ((tall[:, :, ::2] + tall[:, :, right] + 2) >> 2).to(torch.uint8)


def _places(level: Level) -> tuple[Tensor, Tensor]:
    """Rows [H,1] and columns [1,W] of the pixels, int64."""
    device = level.target.device
    return torch.arange(level.height, device=device)[:, None], torch.arange(level.width, device=device)[None]


def _inside(level: Level, qy: Tensor, qx: Tensor) -> tuple[Tensor, Tensor]:
    return qy.clamp(0, level.height - 1), qx.clamp(0, level.width - 1)


def _ssd(level: Level, plan: Plan, qy: Tensor, qx: Tensor) -> Tensor:
    """SSD int32 [B,H,W] of each target patch and the source patch around (qy, qx), row of bytes by row."""
    y, x = _places(level)
    pairs = len(level.target)
    row = torch.arange(3 * plan.patch, device=qy.device)
    here = (y * level.stride + 3 * x).reshape(1, -1, 1) + row
    there = (qy * level.stride + 3 * qx).reshape(pairs, -1, 1) + row
    total = torch.zeros((pairs, level.height * level.width), dtype=torch.int32, device=qy.device)
    for r in range(plan.patch):
        a = level.target[:, (here[0] + r * level.stride).reshape(-1)]
        b = level.source.gather(1, (there + r * level.stride).reshape(pairs, -1))
        gap = (a.to(torch.int32) - b.to(torch.int32)).reshape(pairs, -1, 3 * plan.patch)
        total += (gap * gap).sum(-1, dtype=torch.int32)
    return total.reshape(pairs, level.height, level.width)


def _begin(level: Level, plan: Plan, coarse: Tensor) -> State:
    y, x = _places(level)
    stay = _ssd(level, plan, y.expand(len(coarse), -1, level.width), x.expand(len(coarse), level.height, -1))
    cy, cx = ((v >> 1).clamp(max=size - 1) for v, size in zip((y, x), coarse.shape[1:3], strict=True))
    doubled = 2 * coarse[:, cy, cx].long()
    qy, qx = _inside(level, y + doubled[..., 0], x + doubled[..., 1])
    cost = _ssd(level, plan, qy, qx) + level.tolls
    moved = torch.stack((qy - y, qx - x), -1) * (cost < stay)[..., None]
    return moved.to(torch.int16), torch.minimum(stay, cost)


def _jump(level: Level, plan: Plan, key: int, state: State) -> State:
    """One pass; where the twin leaves a pixel alone or skips a candidate, it could not have cost less."""
    y, x = _places(level)
    old, best = state[0].long(), state[1]
    by, bx = y + old[..., 0], x + old[..., 1]

    def attempt(qy: Tensor, qx: Tensor, allowed: Tensor | None = None) -> None:
        nonlocal best, by, bx
        qy, qx = _inside(level, qy, qx)
        cost = _ssd(level, plan, qy, qx) + level.tolls
        better = cost < best if allowed is None else (cost < best) & allowed
        best, by, bx = torch.where(better, cost, best), torch.where(better, qy, by), torch.where(better, qx, bx)

    for far in (1, 4):
        for dy, dx in ((0, -far), (-far, 0), (0, far), (far, 0)):
            ny, nx = _inside(level, y + dy, x + dx)
            near = old[:, ny, nx]
            attempt(y + near[..., 0], x + near[..., 1], (ny == y + dy) & (nx == x + dx))
    number = (y * level.width + x + 1) * _signed(0x9E3779B97F4A7C15) ^ key
    for trial in range(plan.trials):
        number = number + _signed(0xD1B54A32D192ED03)
        bits = (number ^ _shifted(number, 32)) * _signed(0xDA942042E4DD58B5)
        bits = bits ^ _shifted(bits, 29)
        reach = plan.radius >> trial
        attempt(by + _within(bits, reach), bx + _within(bits >> 40, reach))
    return torch.stack((by - y, bx - x), -1).to(torch.int16), best


def _within(bits: Tensor, reach: int) -> Tensor:
    return (((bits & 0xFFFFF) * (2 * reach + 1)) >> 20) - reach


def _shifted(bits: Tensor, by: int) -> Tensor:
    """Logical shift to the right."""
    return (bits >> by) & ((1 << (64 - by)) - 1)


def _signed(constant: int) -> int:
    return constant - (1 << 64) if constant >> 63 else constant
