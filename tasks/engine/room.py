"""Whether the latents of a shot fit the memory of the machines that will hold them; asked before any work.

A worker holds x_t of all its frames from the first step to the last: one copy, and about half as much again that the
allocator cannot give to others in between. All else is bounded by the window, whatever the clip.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

from configs.errors import PlanError
from models.backbone import Backbone

OVERHEAD = 1.5  # measured on 400 and 2000 frames: 60 KiB of memory for each frame of 40 KiB of latents
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Room:
    """A worker's memory: which it is (workers may share one), bytes free there, bytes that a frame takes."""

    memory: str
    free: int
    frame: int


def room_of(backbone: Backbone, size: tuple[int, int]) -> Room:
    """The room for frames of working size (height, width) where this model is."""
    height, width = (side // backbone.factor for side in size)
    frame = int(backbone.latent_channels * height * width * backbone.dtype.itemsize * OVERHEAD)
    if backbone.device.type == "cuda":
        place = f"{backbone.device} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}".strip()
        kept = torch.cuda.memory_reserved(backbone.device) - torch.cuda.memory_allocated(backbone.device)
        free = int(torch.cuda.mem_get_info(backbone.device)[0]) + kept  # what torch keeps of the shot before is ours
        return Room(f"{platform.node()} ({place})", free, frame)
    return Room(platform.node(), free_memory(), frame)


def free_memory(cgroup: Path = _CGROUP) -> int:
    """Bytes that this process can still get: of the machine's, and below the limit of its container if it has one."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = int((cgroup / "memory.max").read_text())
        used = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no such container, or "max"
        return free
    return min(free, max(0, limit - used + int(stat.get("inactive_file", 0))))


def give_back_memory() -> None:
    """Let the system have what was freed: glibc keeps it, and what is free would read as used."""
    if platform.system() == "Linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)


def check_room(rooms: Sequence[Room], frames: Sequence[int]) -> None:
    """Refuse when workers with these rooms cannot hold so many frames each. Errors: PlanError."""
    needed: Counter[str] = Counter()
    for room, count in zip(rooms, frames, strict=True):
        needed[room.memory] += room.frame * count
    for room in rooms:
        if needed[room.memory] > room.free:
            raise PlanError(
                f"a shot of {sum(frames)} frames needs {needed[room.memory] / 1e9:.1f} GB of memory on {room.memory}, "
                f"which has {room.free / 1e9:.1f} GB free; lower working_size, choose a part of the clip by "
                "input.frames, or use more machines"
            )
