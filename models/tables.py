"""Blending tables as arithmetic on frame numbers: which entries a window reads, which fields that takes.

Legend: n frames of a shot, w window radius (frames either side); frame numbers are shot-relative. A table
entry (x, k) is the blend of 2**k frames, all remapped into frame x: the left one of frames x - 2**k + 1 .. x,
which exists when (x + 1) % 2**k == 0; the right one of x .. x + 2**k - 1, when x % 2**k == 0. Both are
aligned to the *start of the shot* (FastBlend aligns the right one to the clip's end), so that a window of
frames needs nothing but frames within w, and any cut into windows gives the same bits.

It knows no picture and no field. Source: FastBlend (arXiv 2311.09265), tables of direct one-hop remaps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from configs.job import Operator
from models.sampling import Window

Mode = Literal["table", "naive"]
Side = Literal["left", "right"]
Pair = tuple[int, int]
"""(target, source): the field that says where the pixels of frame `target` are found in frame `source`."""


@dataclass(frozen=True, order=True)
class Entry:
    """A table entry: the blend of `2**level` frames, seen in frame `frame`'s geometry."""

    side: Side
    frame: int
    level: int

    @property
    def others(self) -> tuple[int, ...]:
        """Frames that are remapped into `frame`, ascending; nearest `2**k - 1` on this side."""
        reach = 2**self.level - 1
        if self.side == "left":
            return tuple(range(self.frame - reach, self.frame))
        return tuple(range(self.frame + 1, self.frame + reach + 1))


def query(side: Side, target: int, end: int) -> tuple[Entry, ...]:
    """Entries that cover the frames from `target` to `end` (inclusive, on that side) each exactly once.

    From the target outwards, always the largest entry that starts there and fits. So entries that no query of
    radius w can use (more than w + 1 frames), which published code builds as well, are never made.
    """
    entries, x = [], target
    step = -1 if side == "left" else 1
    while (end - x) * step >= 0:
        aligned = x + 1 if side == "left" else x
        level = 0
        while aligned % 2 ** (level + 1) == 0 and (end - x) * step >= 2 ** (level + 1) - 1:
            level += 1
        entries.append(Entry(side, x, level))
        x += step * 2**level
    return tuple(entries)


def reach(target: int, w: int, n: int) -> tuple[int, int]:
    """First and last frame (inclusive) that target's blend holds: those within `w`, clamped to the shot."""
    return max(0, target - w), min(n - 1, target + w)


def pairs_for_window(window: Window, w: int, operator: Operator = "mean", mode: Mode = "table") -> set[Pair]:
    """The pairs whose fields `blend` asks for on this window: these and no others.

    Mode "naive": every frame within w, directly. Operator "checked": each pair the other way as well.
    """
    pairs: set[Pair] = set()
    for target in window.frames:
        pairs.update(_pairs_of(target, *reach(target, w, window.shot_frames), mode))
    return both_ways(pairs) if operator == "checked" else pairs


def both_ways(pairs: set[Pair]) -> set[Pair]:
    """The pairs and their reverses."""
    return pairs | {(source, target) for target, source in pairs}


def _pairs_of(target: int, first: int, last: int, mode: Mode) -> Iterator[Pair]:
    if mode == "naive":
        yield from ((target, source) for source in range(first, last + 1) if source != target)
        return
    for entry in query("left", target, first) + query("right", target, last):
        yield from ((entry.frame, other) for other in entry.others)
        if entry.frame != target:
            yield target, entry.frame
