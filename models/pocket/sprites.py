"""Hand-drawn objects for the procedural clips: a name and a colour in, a picture with alpha out.

Knows shapes; refuses to know about scenes, motion and captions. Coordinates are in units of the sprite's
height, y down, so that a drawing reads like a ruler; drawn large without anti-aliasing and then averaged
down, which gives exact soft alpha for any shape.

Shape suffixes: H height, W width, C colour channels (R, G, B, alpha).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[float, float, float]
Point = tuple[float, float]

COLOURS: Mapping[str, Colour] = MappingProxyType(
    {
        "red": (0.82, 0.13, 0.11),
        "blue": (0.12, 0.30, 0.78),
        "green": (0.13, 0.55, 0.22),
        "yellow": (0.95, 0.78, 0.12),
        "orange": (0.94, 0.48, 0.08),
        "white": (0.93, 0.93, 0.91),
        "purple": (0.48, 0.18, 0.62),
        "pink": (0.94, 0.52, 0.66),
        "black": (0.12, 0.12, 0.14),
        "brown": (0.45, 0.28, 0.15),
    }
)

_SUPERSAMPLE = 4
_GLASS: Colour = (0.62, 0.80, 0.90)
_TYRE: Colour = (0.09, 0.09, 0.10)
_STEEL: Colour = (0.75, 0.76, 0.78)


@dataclass(frozen=True)
class Sheet:
    """A transparent sheet `size` pixels high on which shapes are drawn in units of its height."""

    pixels_HWC: NDArray[np.uint8]
    unit: float

    @classmethod
    def blank(cls, size: int, aspect: float) -> Sheet:
        """Return an empty sheet of `size` x `size * aspect` pixels, supersampled."""
        high = size * _SUPERSAMPLE
        return cls(np.zeros((high, round(high * aspect), 4), dtype=np.uint8), float(high))

    def _ink(self, colour: Colour, shade: float = 1.0) -> tuple[int, int, int, int]:
        red, green, blue = (round(255 * min(max(c * shade, 0.0), 1.0)) for c in colour)
        return red, green, blue, 255

    def polygon(self, colour: Colour, points: list[Point], shade: float = 1.0) -> None:
        """Fill a polygon."""
        corners = np.round(np.array(points) * self.unit).astype(np.int32)
        cv2.fillPoly(self.pixels_HWC, [corners], self._ink(colour, shade))

    def box(self, colour: Colour, left: float, top: float, right: float, bottom: float, shade: float = 1) -> None:
        """Fill an upright rectangle."""
        self.polygon(colour, [(left, top), (right, top), (right, bottom), (left, bottom)], shade)

    def disc(self, colour: Colour, x: float, y: float, rx: float, ry: float, shade: float = 1.0) -> None:
        """Fill an ellipse of radii rx, ry."""
        centre = (round(x * self.unit), round(y * self.unit))
        axes = (max(1, round(rx * self.unit)), max(1, round(ry * self.unit)))
        cv2.ellipse(self.pixels_HWC, centre, axes, 0.0, 0.0, 360.0, self._ink(colour, shade), -1)

    def finish(self) -> NDArray[np.float32]:
        """Return (H, W, 4) float32 in [0, 1], colour premultiplied by alpha, lit from above."""
        picture = self.pixels_HWC.astype(np.float32) / 255.0
        picture *= picture[..., 3:]
        height, width = picture.shape[0] // _SUPERSAMPLE, picture.shape[1] // _SUPERSAMPLE
        small = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        small[..., :3] *= np.linspace(1.12, 0.86, height, dtype=np.float32)[:, None, None]
        return np.clip(small, 0.0, 1.0)


def _wheel(sheet: Sheet, x: float, radius: float) -> None:
    sheet.disc(_TYRE, x, 1.0 - radius, radius, radius)
    sheet.disc(_STEEL, x, 1.0 - radius, radius * 0.5, radius * 0.5)


def _car(sheet: Sheet, colour: Colour) -> None:
    sheet.polygon(colour, [(0.55, 0.46), (0.82, 0.12), (1.48, 0.12), (1.85, 0.46)], 0.92)
    sheet.polygon(_GLASS, [(0.68, 0.45), (0.88, 0.18), (1.10, 0.18), (1.10, 0.45)])
    sheet.polygon(_GLASS, [(1.18, 0.45), (1.18, 0.18), (1.44, 0.18), (1.70, 0.45)], 0.9)
    sheet.polygon(colour, [(0.06, 0.80), (0.10, 0.52), (0.50, 0.44), (1.90, 0.44), (2.30, 0.54), (2.34, 0.80)])
    sheet.box(colour, 0.06, 0.72, 2.34, 0.82, 0.7)
    sheet.disc((1.0, 0.92, 0.6), 2.26, 0.60, 0.06, 0.06)
    for x in (0.55, 1.85):
        _wheel(sheet, x, 0.21)


def _bus(sheet: Sheet, colour: Colour) -> None:
    sheet.box(colour, 0.05, 0.08, 2.15, 0.86)
    sheet.box((0.95, 0.95, 0.93), 0.05, 0.56, 2.15, 0.64)
    for i in range(5):
        sheet.box(_GLASS, 0.14 + 0.36 * i, 0.18, 0.43 + 0.36 * i, 0.50, 0.95)
    sheet.box(_GLASS, 1.96, 0.18, 2.13, 0.62)
    sheet.box(colour, 0.05, 0.80, 2.15, 0.88, 0.65)
    for x in (0.45, 1.75):
        _wheel(sheet, x, 0.16)


def _truck(sheet: Sheet, colour: Colour) -> None:
    sheet.box((0.86, 0.85, 0.80), 0.05, 0.06, 1.50, 0.78)
    for i in range(4):
        sheet.box((0.72, 0.71, 0.66), 0.2 + 0.36 * i, 0.10, 0.23 + 0.36 * i, 0.74)
    sheet.polygon(colour, [(1.56, 0.82), (1.56, 0.24), (1.92, 0.24), (2.10, 0.54), (2.22, 0.58), (2.22, 0.82)])
    sheet.polygon(_GLASS, [(1.68, 0.52), (1.68, 0.32), (1.88, 0.32), (2.00, 0.52)])
    sheet.box(_TYRE, 0.05, 0.78, 2.22, 0.86, 2.0)
    for x in (0.36, 0.74, 1.86):
        _wheel(sheet, x, 0.17)


def _ball(sheet: Sheet, colour: Colour) -> None:
    sheet.disc(colour, 0.5, 0.5, 0.47, 0.47, 0.8)
    sheet.disc(colour, 0.47, 0.45, 0.40, 0.40)
    sheet.polygon((0.97, 0.96, 0.92), [(0.10, 0.36), (0.90, 0.52), (0.88, 0.66), (0.07, 0.50)])
    sheet.disc(colour, 0.36, 0.26, 0.10, 0.08, 1.7)


def _boat(sheet: Sheet, colour: Colour) -> None:
    sheet.box((0.40, 0.28, 0.18), 0.72, 0.04, 0.76, 0.76)
    sheet.polygon((0.96, 0.95, 0.90), [(0.80, 0.08), (0.80, 0.68), (1.34, 0.68)])
    sheet.polygon(colour, [(0.68, 0.14), (0.68, 0.68), (0.26, 0.68)], 1.15)
    sheet.polygon(colour, [(0.06, 0.74), (1.52, 0.74), (1.28, 0.98), (0.28, 0.98)])
    sheet.polygon((0.95, 0.93, 0.88), [(0.06, 0.74), (1.52, 0.74), (1.48, 0.79), (0.10, 0.79)])


def _bird(sheet: Sheet, colour: Colour) -> None:
    sheet.disc(colour, 0.80, 0.62, 0.46, 0.17)
    sheet.disc(colour, 1.22, 0.50, 0.16, 0.15, 1.1)
    sheet.polygon((0.95, 0.65, 0.10), [(1.34, 0.45), (1.54, 0.54), (1.34, 0.58)])
    sheet.polygon(colour, [(0.52, 0.56), (0.92, 0.56), (0.42, 0.04)], 0.75)
    sheet.polygon(colour, [(0.42, 0.58), (0.04, 0.44), (0.10, 0.74)], 0.8)
    sheet.disc((0.05, 0.05, 0.05), 1.26, 0.46, 0.03, 0.03)


def _fish(sheet: Sheet, colour: Colour) -> None:
    sheet.polygon(colour, [(0.46, 0.5), (0.04, 0.14), (0.04, 0.86)], 0.8)
    sheet.polygon(colour, [(0.70, 0.30), (1.00, 0.02), (1.14, 0.30)], 0.75)
    sheet.disc(colour, 0.94, 0.5, 0.58, 0.33)
    sheet.disc(colour, 0.94, 0.64, 0.46, 0.17, 1.35)
    sheet.disc((0.98, 0.98, 0.98), 1.28, 0.42, 0.07, 0.07)
    sheet.disc((0.03, 0.03, 0.03), 1.30, 0.42, 0.035, 0.035)


def _house(sheet: Sheet, colour: Colour) -> None:
    sheet.box((0.60, 0.30, 0.24), 0.86, 0.06, 0.98, 0.36)
    sheet.box((0.93, 0.88, 0.78), 0.14, 0.42, 1.16, 1.0)
    sheet.polygon(colour, [(0.02, 0.46), (0.65, 0.05), (1.28, 0.46)])
    sheet.box((0.36, 0.22, 0.14), 0.56, 0.66, 0.76, 1.0)
    for x in (0.24, 0.86):
        sheet.box((0.98, 0.98, 0.96), x - 0.02, 0.54, x + 0.22, 0.78)
        sheet.box(_GLASS, x, 0.56, x + 0.20, 0.76, 0.75)


def _tree(sheet: Sheet, colour: Colour) -> None:
    sheet.polygon((0.36, 0.24, 0.14), [(0.37, 1.0), (0.41, 0.5), (0.49, 0.5), (0.53, 1.0)])
    crowns = ((0.28, 0.46, 0.22), (0.62, 0.46, 0.22), (0.45, 0.28, 0.27), (0.45, 0.52, 0.24))
    for i, (x, y, radius) in enumerate(crowns):
        sheet.disc(colour, x, y, radius, radius * 0.92, 0.72 + 0.10 * i)
    for x, y in ((0.36, 0.22), (0.56, 0.30), (0.26, 0.42), (0.50, 0.48), (0.64, 0.44)):
        sheet.disc(colour, x, y, 0.07, 0.05, 1.35)


def _balloon(sheet: Sheet, colour: Colour) -> None:
    sheet.disc(colour, 0.40, 0.36, 0.35, 0.34)
    sheet.disc((0.97, 0.95, 0.88), 0.40, 0.36, 0.20, 0.34)
    sheet.disc(colour, 0.40, 0.36, 0.08, 0.34, 1.1)
    sheet.polygon((0.30, 0.24, 0.18), [(0.22, 0.66), (0.25, 0.65), (0.34, 0.84), (0.31, 0.84)])
    sheet.polygon((0.30, 0.24, 0.18), [(0.58, 0.66), (0.55, 0.65), (0.46, 0.84), (0.49, 0.84)])
    sheet.box((0.55, 0.36, 0.18), 0.30, 0.83, 0.50, 0.98)


# name -> (drawing, width in units of its height)
SPRITES: Mapping[str, tuple[Callable[[Sheet, Colour], None], float]] = MappingProxyType(
    {
        "car": (_car, 2.4),
        "bus": (_bus, 2.2),
        "truck": (_truck, 2.28),
        "ball": (_ball, 1.0),
        "boat": (_boat, 1.58),
        "bird": (_bird, 1.58),
        "fish": (_fish, 1.56),
        "house": (_house, 1.3),
        "tree": (_tree, 0.9),
        "balloon": (_balloon, 0.8),
    }
)


def draw_sprite(name: str, colour: str, size: int) -> NDArray[np.float32]:
    """Draw one object facing right.

    Returns (size, size * aspect, 4) float32 in [0, 1], colour premultiplied by alpha.
    Errors: KeyError for an unknown object or colour.
    """
    draw, aspect = SPRITES[name]
    sheet = Sheet.blank(size, aspect)
    draw(sheet, COLOURS[colour])
    return sheet.finish()
