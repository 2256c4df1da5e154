"""Where one shot ends and the next begins, from the thumbnails of the one decode pass.

PySceneDetect's adaptive detector (content change against its own neighbourhood) with its `process_frame`
interface, so nothing is decoded twice. Knows thumbnails; knows no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scenedetect import FrameTimecode
from scenedetect.detectors import AdaptiveDetector

THUMBNAIL = (36, 64)  # height, width
_LOOK = 3  # frames either side in which a flash is over


def find_shots(thumbnails: Sequence[npt.NDArray[np.uint8]]) -> tuple[tuple[int, int], ...]:
    """`[start, stop)` ranges that cover all frames; thumbnails uint8 [36,64,3] RGB.

    Cuts in the first and last two frames are not seen: the detector needs a neighbourhood.
    """
    detector = AdaptiveDetector(min_scene_len=2)
    cuts: list[int] = []
    for number, image in enumerate(thumbnails):
        # The rate is only for printing time codes; counting frames is all that happens here.
        found = detector.process_frame(FrameTimecode(number, 25.0), np.ascontiguousarray(image[..., ::-1]))
        cuts += [time.frame_num for time in found]
    kept = [cut for cut in sorted(set(cuts)) if not _is_flash(thumbnails, cut)]
    return tuple(pairwise((0, *kept, len(thumbnails)))) if thumbnails else ()


def _is_flash(thumbnails: Sequence[npt.NDArray[np.uint8]], cut: int) -> bool:
    """Whether the picture comes back: something just before the cut looks like something just after it."""
    before = range(max(0, cut - _LOOK), cut)
    after = range(cut, min(len(thumbnails), cut + _LOOK))
    step = _distance(thumbnails[cut - 1], thumbnails[cut])
    return min(_distance(thumbnails[b], thumbnails[a]) for b in before for a in after) < 0.5 * step


def _distance(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> float:
    return float(np.abs(a.astype(np.int16) - b).mean())
