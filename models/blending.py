"""Blend each frame with its neighbours along source correspondence, by blending tables or by the definition.

Legend: F frames, H W picture, C channels; n frames of a shot, w window radius (frames either side); frame
numbers are shot-relative. `models.tables` says which frames meet where, `models.blend_operators` what becomes
of them; this file remaps and adds.

It is handed correspondence and pictures; it knows no model, no step and no worker.
Source: DiffSynth (arXiv 2308.03463) and FastBlend (arXiv 2311.09265), tables built by direct one-hop remaps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from configs.job import Operator
from models.blend_operators import TAU, check, closes, coarse, confidence, plain, trimmed_mean, weighed, with_detail
from models.patchmatch import Field
from models.remap import vote
from models.sampling import Correspond, Window
from models.tables import Entry, Mode, pairs_for_window, query, reach

__all__ = [
    "TAU",
    "Blender",
    "Entry",
    "Fields",
    "Image",
    "Mode",
    "Operator",
    "blend",
    "check",
    "guided",
    "pairs_for_window",
    "query",
]

Image = NDArray[np.float32]
Stack = tuple[Image, ...]
"""One weighed sum [H,W,C+1], and for "confidence" and "checked" a second one in which bad matches count less."""
Fields = Callable[[int, int, Image], tuple[Field, NDArray[np.float32]]]
"""Asked as (target, source, weighed): the picture [H,W,C+1] that is about to be remapped, in frame `source`'s
geometry, its values multiplied by the weight in its last channel. Returns offsets int16 [H,W,2], error [H,W]."""


def blend(
    window: Window,
    images: Mapping[int, Image],
    correspond: Correspond,
    w: int,
    operator: Operator = "mean",
    patch: int = 5,
    tau: float = TAU,
    fields: Fields | None = None,
    *,
    detail: float = 0.0,
    mode: Mode = "table",
) -> Image:
    """Each frame of `window` averaged with all frames within `w` of it, seen through correspondence.

    `images`: float32 [H,W,C] by shot-relative frame, at least those within `w` of the window (clamped to the
    shot), in any range. `correspond(target, source)`: fields at [H,W]; `fields`, when given, is asked in its
    place. `operator`: see `models.blend_operators`. `mode`: "table" remaps a frame once or twice, with about
    2 log2(w) fields a frame; "naive" remaps each once, with 2 w fields: it is equal where fields compose
    exactly (translations, no motion), elsewhere 0.1-0.2 dB better and 4x as slow. `detail`: the share, 0 to
    1, of each frame's own fine detail that is put back. Returns float32 [F,H,W,C]; "confidence" and `detail`
    may leave the range of `images` by a little.

    A pure function of those frames: neighbours in other windows and the cut into windows change no bit; w = 0
    returns the input exactly. It asks for each pair of `pairs_for_window` once ("checked": once for each use,
    forth or back). Raises ConfigError for bad arguments.
    """
    blender = Blender(images, fields or guided(correspond), w, operator, patch, tau, detail, mode)
    return np.stack([blender.row(target, *reach(target, w, window.shot_frames)) for target in window.frames])


def guided(correspond: Correspond) -> Fields:
    """Fields of source frames alone: the picture that is blended has no say in them."""
    return lambda target, source, weighed: correspond(target, source)


@dataclass(frozen=True)
class Blender:
    """Blends target after target, in ascending order, and holds the table entries that later ones may read.

    Arguments as for `blend`; `images` need hold only what the next `row` reaches, and may change between two.
    Holds at most 2 (w + 1) entries a side (frames by themselves are read from `images`).
    """

    images: Mapping[int, Image]
    fields: Fields
    w: int
    operator: Operator
    patch: int
    tau: float
    detail: float
    mode: Mode
    built: dict[Entry, Stack] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self.w, self.operator, self.tau, self.mode, self.detail)

    def row(self, target: int, first: int, last: int) -> Image:
        """Frame `target` [H,W,C] blended with frames `first` .. `last` (inclusive; see `tables.reach`)."""
        if first == last:
            return self.images[target].astype(np.float32)
        self._forget(target)
        seen = self._seen(target, first, last)
        if self.operator == "trimmed":
            blended = trimmed_mean([plain(member) for (member,) in seen])
        else:
            seen_first, *others = seen
            total = reduce(_added, others, seen_first)
            mean, *sure = map(plain, total)
            blended = sure[0] + coarse(mean - sure[0], self.patch) if sure else mean
        return with_detail(blended, self.images[target], self.detail, self.patch) if self.detail else blended

    def _seen(self, target: int, first: int, last: int) -> Iterator[Stack]:
        """What is to be added up, each in frame `target`'s geometry."""
        own = self._alone(target)
        if self.mode == "naive":
            yield own
            yield from (
                self._remap(target, source, self._alone(source))
                for source in range(first, last + 1)
                if source != target
            )
            return
        yield tuple(-part for part in own)  # both queries hold the target itself
        for entry in query("left", target, first) + query("right", target, last):
            whole = self._whole(entry)
            yield whole if entry.frame == target else self._remap(target, entry.frame, whole)

    def _whole(self, entry: Entry) -> Stack:
        """The sum of an entry's frames, in its own frame's geometry.

        Seen from later targets the left entry of a frame only shrinks, so all its levels are made at once; the
        right one only grows, so it is added to. Thus no pair of frames is ever remapped twice.
        """
        if entry.level == 0:
            return self._alone(entry.frame)
        if entry not in self.built:
            self.built.update(self._left(entry) if entry.side == "left" else self._right(entry))
        return self.built[entry]

    def _left(self, entry: Entry) -> dict[Entry, Stack]:
        levels = [Entry("left", entry.frame, level) for level in range(1, entry.level + 1)]
        sums = dict.fromkeys(levels, self._alone(entry.frame))
        for other in entry.others:
            seen = self._remap(entry.frame, other, self._alone(other))
            for smaller in levels:
                if other in smaller.others:
                    sums[smaller] = _added(sums[smaller], seen)
        return sums

    def _right(self, entry: Entry) -> dict[Entry, Stack]:
        smaller = Entry("right", entry.frame, 0)
        for level in range(1, entry.level):
            if Entry("right", entry.frame, level) in self.built:
                smaller = Entry("right", entry.frame, level)
        total = self._whole(smaller)
        self.built.pop(smaller, None)
        for other in entry.others[len(smaller.others) :]:
            total = _added(total, self._remap(entry.frame, other, self._alone(other)))
        return {entry: total}

    def _forget(self, target: int) -> None:
        """Drop entries that neither `target` nor a later one can read."""
        for entry in list(self.built):
            left = entry.side == "left"
            if (entry.others[0] < target - self.w) if left else (entry.frame < target):
                del self.built[entry]

    def _remap(self, target: int, source: int, stack: Stack) -> Stack:
        """Sums in frame `source`'s geometry, seen in frame `target`'s, under the operator's weights."""
        offsets, error = self.fields(target, source, stack[0])
        moved = vote(stack[0], offsets, self.patch)
        if len(stack) == 1:
            return (moved,)
        if self.operator == "checked":
            back, _ = self.fields(source, target, self._alone(target)[0])
            trust = closes(offsets, back, self.patch)
        else:
            trust = confidence(error, self.patch, self.tau)
        sure = moved if stack[1] is stack[0] else vote(stack[1], offsets, self.patch)
        return moved, sure * trust

    def _alone(self, frame: int) -> Stack:
        return (weighed(self.images[frame]),) * (2 if self.operator in ("confidence", "checked") else 1)


def _added(one: Stack, two: Stack) -> Stack:
    return tuple(a + b for a, b in zip(one, two, strict=True))
