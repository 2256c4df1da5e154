"""`Shot`: what the stages of one shot share, gathered once per video. Holds facts only, computes nothing heavy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from models.sampling import Window, windows_of
from tasks.ref import Ref
from tasks.video.facts import ClipFacts, ClipIndex


@dataclass(frozen=True)
class Shot:
    """Frames [first, stop) of a clip at working size `size` (height, width), cut into windows of the job's size."""

    number: int
    first: int
    stop: int
    size: tuple[int, int]
    window_size: int
    facts: ClipFacts
    index: ClipIndex
    path: Path
    decoded: Ref

    @property
    def frames(self) -> int:
        """How many frames."""
        return self.stop - self.first

    @cached_property
    def windows(self) -> tuple[Window, ...]:
        """The window grid, shot-relative."""
        return windows_of(self.frames, self.window_size, self.first)

    @property
    def pts(self) -> tuple[int, ...]:
        """Time stamps of its frames in ticks of the clip's time base."""
        return self.index.pts[self.first : self.stop]

    @property
    def digests(self) -> tuple[str, ...]:
        """Content digests of its frames."""
        return self.index.digests[self.first : self.stop]

    @property
    def index_for_reading(self) -> ClipIndex:
        """The clip's index as workers get it, without what reading does not need, which is most of its bytes."""
        return self.index.model_copy(update={"digests": (), "posters": ()})

    def as_params(self) -> dict[str, object]:
        """What identifies it inside a stage key."""
        return {"shot": [self.first, self.stop], "size": list(self.size), "window": self.window_size}


def part_of(shot: Shot, shots: Sequence[Shot], arm: str) -> str:
    """What stages call a shot of an arm: 'shot 2 · control'; '' for the only shot of the result."""
    return " · ".join(x for x in (f"shot {shot.number + 1}" if len(shots) > 1 else "", arm) if x)
