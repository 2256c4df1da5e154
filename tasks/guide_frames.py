"""Frames of a shot by number, read when asked for: a stretch of neighbours is held, so that a file is walked once."""

from __future__ import annotations

from types import TracebackType

import numpy as np
import numpy.typing as npt

from tasks.shot import Shot
from tasks.video.frames import FrameReader

Picture = npt.NDArray[np.uint8]


class GuideFrames(dict[int, Picture]):
    """uint8 [H,W,3] by shot-relative number, at the shot's size; up to `reach` + 1 are held, the newest the last.

    Made for those who ask for frames in about their order, none more than `reach` before one they asked for: then
    every frame is decoded once. Close it, or use it in a `with`. Not for several threads at once.
    """

    def __init__(self, shot: Shot, reach: int) -> None:
        super().__init__()
        self._shot, self._reach, self._next = shot, reach, 0
        self.reader = FrameReader(shot.path, shot.facts, shot.index, shot.size)

    def __enter__(self) -> GuideFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        self.reader.close()

    def __missing__(self, frame: int) -> Picture:
        first = max(0, frame - self._reach)
        if not first <= self._next <= frame:  # far ahead, or back where all has been let go
            self.clear()
            self._next = first
        for number in range(self._next, frame + 1):
            at = self._shot.first + number
            self[number] = self.reader.read(at, at + 1)[0]
            self.pop(number - self._reach - 1, None)
        self._next = frame + 1
        return self[frame]
