"""Where one shot ends and the next begins, from the thumbnails of the one decode pass.

PySceneDetect's adaptive detector (content change against its own neighbourhood) with its `process_frame`
interface, so nothing is decoded twice. Knows thumbnails; knows no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

Thumbnail = npt.NDArray[np.uint8]
THUMBNAIL = (36, 64)  # height, width
_LOOK = 3  # frames either side in which a flash is over


_KEPT = 16  # frames; the detector reports a cut two frames after it


class ShotFinder:
    """Frames are pushed in order; only the last few thumbnails are held."""

    def __init__(self) -> None:
        self._detector = AdaptiveDetector(min_scene_len=2)
        self._near: dict[int, Thumbnail] = {}
        self._reported: list[int] = []
        self._cuts: list[int] = []
        self._frames = 0

    def push(self, thumbnail: Thumbnail) -> None:
        """The next frame, uint8 [36,64,3] RGB."""
        self._near[self._frames] = thumbnail
        self._near.pop(self._frames - _KEPT, None)
        # The rate is only for printing time codes; counting frames is all that happens here.
        time = FrameTimecode(self._frames, 25.0)
        found = self._detector.process_frame(time, np.ascontiguousarray(thumbnail[..., ::-1]))
        self._frames += 1
        self._reported += [cut.frame_num for cut in found]
        self._settle(self._frames - _LOOK)

    def shots(self) -> tuple[tuple[int, int], ...]:
        """`[start, stop)` ranges that cover all frames pushed.

        Cuts in the first and last two frames are not seen: the detector needs a neighbourhood.
        """
        self._settle(self._frames)
        return tuple(pairwise((0, *sorted(self._cuts), self._frames))) if self._frames else ()

    def _settle(self, last: int) -> None:
        """Decide on the cuts up to frame `last`, whose surroundings have been seen."""
        ready = {cut for cut in self._reported if cut <= last}
        self._reported = [cut for cut in self._reported if cut > last]
        self._cuts += [cut for cut in ready - set(self._cuts) if not _is_flash(self._near, cut)]


def _is_flash(near: Mapping[int, Thumbnail], cut: int) -> bool:
    """Whether the picture comes back: something just before the cut looks like something just after it."""
    before = [near[f] for f in range(cut - _LOOK, cut) if f in near]
    after = [near[f] for f in range(cut, cut + _LOOK) if f in near]
    step = _distance(near[cut - 1], near[cut])
    return min(_distance(b, a) for b in before for a in after) < 0.5 * step


def _distance(a: Thumbnail, b: Thumbnail) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())
