"""What a picture looks like from a step away: its soft colours, and how busy each place is at three scales.

The ruler of `models.judge`, frozen with it. Knows uint8 RGB pixels; refuses to know styles, sources and time.
Coarse on purpose: a shift of a few pixels, a little blur, sensor noise or JPEG hardly move it, while another
palette, missing contours or a missing brush stroke do.

Shape suffixes: H W picture, h w at 1/4 size, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

_COLOUR_SIGMA, _POOL_SIGMA = 4.0, 6.0  # px of the full picture
_GRADIENT_SIGMAS = (1.0, 2.0, 4.0)
# One unit of distance: Lab units of soft colour, and Lab units per sigma of gradient at each scale. Chosen on 40
# procedural and 30 real frames, where the finest scale must weigh less: softness takes it away first.
_COLOUR_UNIT, _GRADIENT_UNITS = 2.0, (2.0, 1.5, 1.5)


@dataclass(frozen=True)
class Look:
    """colours_hwC: blurred Lab. gradients_hwC: local RMS gradient, one channel per scale. float32, in units."""

    colours_hwC: Float
    gradients_hwC: Float

    def distance(self, other: Look) -> float:
        """RMS difference in units: 0 for equal pictures, about 1 for slight damage, 5 to 50 between styles."""
        colours, gradients = self.colours_hwC - other.colours_hwC, self.gradients_hwC - other.gradients_hwC
        return math.sqrt(_power(colours) + _power(gradients))

    def strangeness(self, seen: Look) -> float:
        """Share of what there is to recognise in this look that `seen` lacks or contradicts.

        0 equal; 1 for any flat picture; above 1 for an unrelated one. The arrangement of colours counts once
        (a tint of the whole picture is not strange), contours and texture twice: a blurred picture still has
        its colours.
        """
        offset = seen.colours_hwC - self.colours_hwC
        wrong = _power(offset - offset.mean(axis=(0, 1))), _power(seen.gradients_hwC - self.gradients_hwC)
        there = _power(self.colours_hwC - self.colours_hwC.mean(axis=(0, 1))), _power(self.gradients_hwC)
        # Less than one unit of pattern or contour cannot be told from damage, hence the floor of 1.
        colours, gradients = (w / max(t, 1.0) for w, t in zip(wrong, there, strict=True))
        return math.sqrt((colours + 2.0 * gradients) / 3.0)

    def colour_difference(self, other: Look) -> float:
        """Mean Lab delta E (CIE 1976) of the blurred colours."""
        apart = np.linalg.norm(self.colours_hwC - other.colours_hwC, axis=-1)
        return float(apart.mean(dtype=np.float64)) * _COLOUR_UNIT


def look(frame_HWC: NDArray[np.uint8]) -> Look:
    """Take the coarse view of one frame, uint8 RGB (H, W, 3), sides at least 8 px."""
    lab = np.asarray(cv2.cvtColor(frame_HWC.astype(np.float32) / np.float32(255.0), cv2.COLOR_RGB2LAB), np.float32)
    half = _halved(lab)
    # The coarser scales are taken at half size, with half the sigma: a quarter of the cost, the same figures.
    energies = [_energy(lab, _GRADIENT_SIGMAS[0]), *(_energy(half, sigma / 2) for sigma in _GRADIENT_SIGMAS[1:])]
    energies[0] = _halved(energies[0])
    pooled = np.sqrt(_quartered(np.dstack(energies), _POOL_SIGMA)) / np.array(_GRADIENT_UNITS, np.float32)
    return Look(_quartered(half, _COLOUR_SIGMA) / np.float32(_COLOUR_UNIT), np.asarray(pooled, np.float32))


def _energy(lab: Float, sigma: float) -> Float:
    """Squared gradient, in Lab units per sigma, summed over the channels."""
    soft = cv2.GaussianBlur(lab, (0, 0), sigma)
    # Scharr's 3x3 kernel sums to 32 for a unit ramp.
    gx, gy = (cv2.Scharr(soft, cv2.CV_32F, dx, dy) * (sigma / 32.0) for dx, dy in ((1, 0), (0, 1)))
    return np.asarray((gx * gx + gy * gy).sum(axis=-1), np.float32)


def _halved(picture: Float) -> Float:
    size = (max(1, picture.shape[1] // 2), max(1, picture.shape[0] // 2))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.float32)


def _quartered(half: Float, sigma: float) -> Float:
    """Blur a half-size picture by `sigma` of the full one and keep every second pixel."""
    return np.asarray(cv2.GaussianBlur(half, (0, 0), sigma / 2)[::2, ::2], np.float32)


def _power(field: Float) -> float:
    return float((field**2).sum(axis=-1).mean(dtype=np.float64))
