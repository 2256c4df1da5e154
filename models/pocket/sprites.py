"""Hand-drawn objects for the procedural clips: a name and a colour in, pictures with alpha out.

Knows which part of an object moves in which manner (how it is drawn: `models.pocket.sprite_drawings`); refuses to know
about scenes, cameras and captions. Every part is one flat picture moved by one linear map about its pivot (a wheel
turns, a wing beats), so its motion is known exactly. Coordinates are in units of the object's height, y down, objects
face right.

Shape suffixes: H height, W width, C colour channels (R, G, B, alpha).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from models.pocket import sprite_drawings as draw
from models.pocket.drawing_sheet import Colour, Point, Sheet
from models.pocket.sprite_drawings import Draw

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


@dataclass(frozen=True)
class Part:
    """A drawing and how it moves about `pivot`: fixed, roll (of `radius`), flap, wag, swing or sway."""

    draw: Draw
    motion: str = "fixed"
    pivot: Point = (0.5, 0.5)
    radius: float = 1.0
    lag: float = 0.0

    def pose(self, travel: float, seconds: float) -> NDArray[np.float64]:
        """Return the 2x2 map about the pivot after `travel` heights of way and `seconds`."""
        if self.motion == "roll":
            return _turn(travel / self.radius)
        if self.motion == "flap":
            beat = 2 * np.pi * 1.7 * seconds + self.lag
            return _turn(0.62 * np.sin(beat)) @ np.diag([1.0, 0.85 + 0.15 * np.cos(beat)])
        if self.motion == "wag":
            return np.diag([0.78 + 0.22 * np.cos(2 * np.pi * 1.6 * seconds + self.lag), 1.0])
        if self.motion == "swing":
            return _turn(0.22 * np.sin(2 * np.pi * 0.6 * seconds + self.lag))
        if self.motion == "sway":
            return np.array([[1.0, 0.025 * np.sin(2 * np.pi * 0.3 * seconds + self.lag)], [0.0, 1.0]])
        return np.eye(2)


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@dataclass(frozen=True)
class Sprite:
    """Parts from back to front and the width in units of the height."""

    parts: tuple[Part, ...]
    aspect: float


def _wheel(x: float, radius: float) -> Part:
    return Part(draw.wheel(x, radius), "roll", (x, 1.0 - radius), radius)


SPRITES: Mapping[str, Sprite] = MappingProxyType(
    {
        "car": Sprite((Part(draw.car), _wheel(0.56, 0.21), _wheel(1.82, 0.21)), 2.4),
        "bus": Sprite((Part(draw.bus), _wheel(0.45, 0.17), _wheel(1.72, 0.17)), 2.2),
        "truck": Sprite((Part(draw.truck), *(_wheel(x, 0.165) for x in (0.36, 0.76, 1.86))), 2.28),
        "ball": Sprite((Part(draw.ball, "roll", (0.5, 0.5), 0.47), Part(draw.gloss)), 1.0),
        "boat": Sprite((Part(draw.boat),), 1.58),
        "bird": Sprite(
            (
                Part(draw.wing(0.62, 0.10), "flap", (0.92, 0.58), lag=0.5),
                Part(draw.bird),
                Part(draw.wing(0.85, 0.0), "flap", (0.82, 0.58)),
            ),
            1.6,
        ),
        "fish": Sprite((Part(draw.fin, "wag", (0.50, 0.5)), Part(draw.fish)), 1.56),
        "house": Sprite((Part(draw.house),), 1.3),
        "tree": Sprite((Part(draw.trunk), Part(draw.crown, "sway", (0.45, 0.9))), 0.9),
        "balloon": Sprite((Part(draw.balloon),), 0.8),
        "cat": Sprite((Part(draw.tail, "swing", (0.34, 0.92)), Part(draw.cat)), 0.9),
        "duck": Sprite((Part(draw.duck), Part(draw.folded_wing, "swing", (0.82, 0.66))), 1.5),
    }
)


def draw_part(part: Part, aspect: float, colour: str, size: int) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Draw one part of an object `size` pixels high, cut out with a clear rim.

    Returns the (H, W, 4) float32 picture in [0, 1], colour premultiplied by alpha, and the (x, y) pixel of the
    object's sheet where it lies. Errors: KeyError for an unknown colour.
    """
    sheet = Sheet.blank(size, aspect)
    part.draw(sheet, COLOURS[colour])
    picture = sheet.finish(lit=part.motion not in ("roll",))
    rows, columns = (np.flatnonzero(picture[..., 3].any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        return np.zeros((3, 3, 4), np.float32), (0, 0)
    cut = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.pad(cut, ((1, 1), (1, 1), (0, 0))), (int(columns[0]) - 1, int(rows[0]) - 1)


def draw_sprite(name: str, colour: str, size: int) -> NDArray[np.float32]:
    """Draw one whole object at rest.

    Returns (size, round(size * aspect), 4) float32 in [0, 1], colour premultiplied by alpha.
    Errors: KeyError for an unknown object or colour.
    """
    sprite = SPRITES[name]
    sheet = Sheet.blank(size, sprite.aspect)
    for part in sprite.parts:
        part.draw(sheet, COLOURS[colour])
    return sheet.finish()
