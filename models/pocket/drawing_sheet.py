"""A transparent sheet to draw flat shapes on, in units of its height, like cutting paper with a ruler.

Knows polygons, ellipses and soft alpha; refuses to know what the shapes mean. Drawn large without
anti-aliasing and then averaged down, which gives exact soft alpha for any shape. y points down.

Shape suffixes: H height, W width, C colour channels (R, G, B, alpha).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Point = tuple[float, float]


@dataclass(frozen=True)
class Sheet:
    """A sheet on which shapes are drawn in units of its height; `factor` pixels are averaged into one."""

    pixels_HWC: NDArray[np.uint8]
    unit: float
    factor: int

    @classmethod
    def blank(cls, size: int, aspect: float) -> Sheet:
        """Return an empty sheet of `size` x `size * aspect` pixels, supersampled."""
        factor = 4 if size <= 160 else 2
        high = size * factor
        return cls(np.zeros((high, max(factor, round(size * aspect) * factor), 4), np.uint8), float(high), factor)

    def _ink(self, colour: Colour, shade: float) -> tuple[int, int, int, int]:
        red, green, blue = (round(255 * min(max(c * shade, 0.0), 1.0)) for c in colour)
        return red, green, blue, 255

    def polygon(self, colour: Colour, points: list[Point], shade: float = 1.0) -> None:
        """Fill a polygon."""
        corners = np.round(np.array(points) * self.unit).astype(np.int32)
        cv2.fillPoly(self.pixels_HWC, [corners], self._ink(colour, shade))

    def box(self, colour: Colour, left: float, top: float, right: float, bottom: float, shade: float = 1) -> None:
        """Fill an upright rectangle."""
        self.polygon(colour, [(left, top), (right, top), (right, bottom), (left, bottom)], shade)

    def rounded(
        self, colour: Colour, left: float, top: float, right: float, bottom: float, r: float, shade: float = 1
    ) -> None:
        """Fill an upright rectangle with corners of radius `r`."""
        self.box(colour, left + r, top, right - r, bottom, shade)
        self.box(colour, left, top + r, right, bottom - r, shade)
        for x in (left + r, right - r):
            for y in (top + r, bottom - r):
                self.disc(colour, x, y, r, r, shade)

    def disc(self, colour: Colour, x: float, y: float, rx: float, ry: float, shade: float = 1.0) -> None:
        """Fill an ellipse of radii rx, ry."""
        self.slice(colour, x, y, rx, ry, 0.0, 360.0, shade)

    def slice(
        self, colour: Colour, x: float, y: float, rx: float, ry: float, start: float, stop: float, shade: float = 1
    ) -> None:
        """Fill a slice of an ellipse between two angles in degrees, clockwise from the right."""
        centre = (round(x * self.unit), round(y * self.unit))
        axes = (max(1, round(rx * self.unit)), max(1, round(ry * self.unit)))
        cv2.ellipse(self.pixels_HWC, centre, axes, 0.0, start, stop, self._ink(colour, shade), -1)

    def stroke(self, colour: Colour, points: list[Point], thick: float, shade: float = 1.0) -> None:
        """Draw a line with round joints through points."""
        corners = np.round(np.array(points) * self.unit).astype(np.int32)
        cv2.polylines(self.pixels_HWC, [corners], False, self._ink(colour, shade), max(1, round(thick * self.unit)))

    def finish(self, lit: bool = True) -> NDArray[np.float32]:
        """Return (H, W, 4) float32 in [0, 1], colour premultiplied by alpha; `lit` from above."""
        pixels = self.pixels_HWC
        height, width = pixels.shape[0] // self.factor, pixels.shape[1] // self.factor
        # Untouched pixels are black and clear, so averaging bytes is averaging premultiplied colour.
        small = np.asarray(cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA), np.float32) / 255.0
        if lit:
            small[..., :3] *= np.linspace(1.12, 0.88, height, dtype=np.float32)[:, None, None]
        return np.asarray(np.clip(small, 0.0, 1.0), dtype=np.float32)
