"""Sizes: the working size of a job, and the one way pixels are resized here. Pure arrays."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import ConfigError
from tasks.video.facts import ClipFacts

Pixel = TypeVar("Pixel", np.uint8, np.uint16)


def working_size(facts: ClipFacts, long_side: int, multiple: int = 8) -> tuple[int, int]:
    """(height, width) to denoise at: the clip's shape, sides multiples of `multiple`, none over `long_side`.

    Never larger than the source, except that a side is at least one `multiple`.
    """
    if multiple < 1 or long_side < multiple:
        raise ConfigError(f"working_size must be at least {multiple} (one model cell), got {long_side}")
    longest = max(facts.height, facts.width)
    target = min(long_side, longest)

    def cells(side: int) -> int:
        ideal = side * target / longest / multiple
        most = min(side, target) // multiple
        return max(1, min(round(ideal), most)) * multiple

    return cells(facts.height), cells(facts.width)


def resize(image: npt.NDArray[Pixel], height: int, width: int) -> npt.NDArray[Pixel]:
    """[H,W,3] to [height,width,3]: area averages when neither side grows, else cubic.

    One thread or many give the same bits on one machine.
    """
    if image.shape[:2] == (height, width):
        return image
    shrinks = height <= image.shape[0] and width <= image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    out: npt.NDArray[Pixel] = cv2.resize(image, (width, height), interpolation=method)
    return out


def to_shown(image: npt.NDArray[Pixel], facts: ClipFacts) -> npt.NDArray[Pixel]:
    """An upright coded frame with its pixels made square: the source as shown."""
    return resize(image, facts.height, facts.width)


def upscale(frame: npt.NDArray[np.uint8], height: int, width: int) -> npt.NDArray[np.uint8]:
    """A frame at working size brought to [height,width,3] for writing (Lanczos up, area down)."""
    if frame.shape[:2] == (height, width):
        return frame
    if height <= frame.shape[0] and width <= frame.shape[1]:
        return resize(frame, height, width)
    out: npt.NDArray[np.uint8] = cv2.resize(frame, (width, height), interpolation=cv2.INTER_LANCZOS4)
    return out
