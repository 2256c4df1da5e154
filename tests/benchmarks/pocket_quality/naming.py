"""Which colour is this object painted? Named by comparison with the same object painted in every known colour.

So glass, stripes, wheels and shading, which every copy has, cancel. Knows pictures and masks; refuses to know scenes
and models. Legend: H W pixels, K colours.
"""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Lab = NDArray[np.float32]


def inner(mask_HW: NDArray[np.bool_], rim: int = 2) -> NDArray[np.bool_]:
    """The mask without its outermost `rim` px, where the background shines through."""
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * rim + 1, 2 * rim + 1))
    return np.asarray(cv2.erode(mask_HW.astype(np.uint8), kernel, borderValue=0), dtype=bool)


def mean_lab(frame_HWC: NDArray[np.uint8], mask_HW: NDArray[np.bool_]) -> Lab:
    """Mean CIE Lab (L 0-100) of the pixels of a mask. Errors: ValueError if it is empty."""
    if not mask_HW.any():
        raise ValueError("no pixel to take a colour from")
    lab = cv2.cvtColor(frame_HWC.astype(np.float32) / np.float32(255), cv2.COLOR_RGB2Lab)
    return np.asarray(lab[mask_HW].mean(axis=0), np.float32)


def name_colour(seen: Lab, known: Mapping[str, Lab]) -> str:
    """The known colour at the least distance in Lab (CIE76)."""
    return min(known, key=lambda name: float(np.linalg.norm(seen - known[name])))
