"""How sharp frames are, beside their source, and whether that sharpness pulses.

Legend: H W picture, RGB [H,W,3] on the 0-255 scale. Sharpness is the energy of the Laplacian of the luma: it grows with
detail and with noise alike, so compare only what should have the same noise. It knows no motion and no file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError

Picture = NDArray[Any]


@dataclass(frozen=True)
class TemporalSharpness:
    """Sharpness over time: `course` is the ratio to the source per frame, NaN where either is flat."""

    ratio: float
    pulsing: float
    course: tuple[float, ...]


def sharpness(picture: Picture) -> float:
    """Mean square of the Laplacian of the luma of an RGB picture [H,W,3] (0-255); 0 for a flat picture.

    NaN where no pixel has neighbours on all sides.
    """
    luma = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    edges = cv2.Laplacian(luma, cv2.CV_32F, ksize=1)[1:-1, 1:-1]
    return float((edges**2).mean(dtype=np.float64)) if edges.size else math.nan


def sharpness_ratio(out: Iterable[Picture], reference: Iterable[Picture]) -> float:
    """Laplacian energy of `out` over that of `reference`, over all frames: 1 as sharp, below 1 blurred.

    Noise counts as sharpness: choose a reference of the same style and noise. NaN when the reference is flat.
    """
    mine, theirs = sum(map(sharpness, out)), sum(map(sharpness, reference))
    return mine / theirs if theirs else math.nan


def temporal_sharpness(
    out: Sequence[float], reference: Sequence[float], cuts: Collection[int] = ()
) -> TemporalSharpness:
    """Mean ratio and pulsing, from the `sharpness` of each frame of a clip and of what it is held against.

    `ratio`: geometric mean over frames, so that one frame twice and one half as sharp make 1. `pulsing`: the relative
    deviation of a frame's ratio from its neighbours', sqrt(mean (d log ratio)^2 / 2) over pairs of consecutive frames
    without those that end in a frame of `cuts`. Half the mean square successive difference (von Neumann, Annals of
    Mathematical Statistics 1941) is the variance where frames err independently, and does not see slow drift: 0 is
    steady, 0.1 means that frames differ by 10 % for no reason of the source. NaN where nothing counts. Raises
    ConfigError for clips of unequal length.
    """
    if len(out) != len(reference):
        raise ConfigError(f"sharpness needs clips of one length, got {len(out)} and {len(reference)} frames")
    course = tuple(a / b if a > 0 and b > 0 else math.nan for a, b in zip(out, reference, strict=True))
    logs = np.log(np.asarray(course, np.float64))
    steps = np.diff(logs)
    steps[[cut - 1 for cut in cuts if 0 < cut < len(logs)]] = math.nan
    pulsing = math.sqrt(_mean(steps**2) / 2)
    return TemporalSharpness(math.exp(_mean(logs)), pulsing, course)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
