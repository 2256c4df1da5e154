"""How each flat part of an object is drawn; what moves in which manner is `models.pocket.sprites`.

Knows shapes and colours; refuses to know about motion and scenes. Coordinates are in units of the object's height, y
down, objects face right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from models.pocket.drawing_sheet import Colour, Sheet

Draw = Callable[[Sheet, Colour], None]

_GLASS: Colour = (0.66, 0.84, 0.93)
_TYRE: Colour = (0.10, 0.10, 0.12)
_STEEL: Colour = (0.80, 0.81, 0.83)
_CREAM: Colour = (0.97, 0.95, 0.88)
_WOOD: Colour = (0.42, 0.28, 0.17)
_INK: Colour = (0.05, 0.05, 0.06)


def wheel(x: float, radius: float) -> Draw:
    """How a wheel at `x` that stands on the ground is drawn, spokes and all."""

    def draw(sheet: Sheet, _: Colour) -> None:
        y = 1.0 - radius
        sheet.disc(_TYRE, x, y, radius * 0.98, radius * 0.98)
        sheet.disc(_STEEL, x, y, radius * 0.64, radius * 0.64)
        for i in range(5):
            angle = 2 * np.pi * i / 5
            tip = (x + 0.62 * radius * float(np.cos(angle)), y + 0.62 * radius * float(np.sin(angle)))
            sheet.stroke(_TYRE, [(x, y), tip], radius * 0.15, 2.6)
        sheet.disc(_STEEL, x, y, radius * 0.2, radius * 0.2, 0.9)

    return draw


def arch(sheet: Sheet, x: float, radius: float) -> None:
    """The dark of a wheel arch."""
    sheet.disc(_INK, x, 1.0 - radius, radius * 1.14, radius * 1.14)


def car(sheet: Sheet, colour: Colour) -> None:
    """Body and windows of a car."""
    sheet.polygon(colour, [(0.42, 0.48), (0.62, 0.20), (0.74, 0.10), (1.42, 0.10), (1.56, 0.18), (1.84, 0.48)], 0.94)
    sheet.polygon(_GLASS, [(0.60, 0.45), (0.77, 0.19), (1.05, 0.19), (1.05, 0.45)])
    sheet.polygon(_GLASS, [(1.13, 0.45), (1.13, 0.19), (1.40, 0.19), (1.66, 0.45)], 0.93)
    sheet.polygon(_CREAM, [(0.66, 0.45), (0.84, 0.19), (0.90, 0.19), (0.72, 0.45)])
    sheet.rounded(colour, 0.06, 0.42, 2.34, 0.84, 0.12)
    sheet.box(colour, 0.12, 0.72, 2.28, 0.84, 0.72)
    sheet.stroke(colour, [(1.09, 0.48), (1.09, 0.72)], 0.016, 0.6)
    sheet.box(_STEEL, 0.92, 0.53, 1.02, 0.56)
    sheet.disc((1.0, 0.93, 0.62), 2.25, 0.56, 0.07, 0.06)
    sheet.box((0.85, 0.15, 0.12), 0.07, 0.52, 0.13, 0.62)
    for x in (0.56, 1.82):
        arch(sheet, x, 0.21)


def bus(sheet: Sheet, colour: Colour) -> None:
    """Body and windows of a bus."""
    sheet.rounded(colour, 0.05, 0.05, 2.15, 0.90, 0.08)
    sheet.box(_CREAM, 0.05, 0.56, 2.15, 0.62)
    for i in range(5):
        sheet.rounded(_GLASS, 0.13 + 0.36 * i, 0.17, 0.42 + 0.36 * i, 0.48, 0.03, 0.97)
    sheet.box(_GLASS, 1.95, 0.17, 2.14, 0.60)
    sheet.box(colour, 0.08, 0.80, 2.12, 0.90, 0.7)
    sheet.disc((1.0, 0.93, 0.62), 2.10, 0.72, 0.04, 0.04)
    for x in (0.45, 1.72):
        arch(sheet, x, 0.17)


def truck(sheet: Sheet, colour: Colour) -> None:
    """Cabin and load of a truck."""
    sheet.box(_TYRE, 0.06, 0.76, 2.20, 0.86, 2.0)
    sheet.rounded(colour, 0.04, 0.04, 1.50, 0.78, 0.03)
    sheet.box(_CREAM, 0.04, 0.34, 1.50, 0.46)
    for i in range(4):
        sheet.box(colour, 0.22 + 0.36 * i, 0.08, 0.24 + 0.36 * i, 0.74, 0.75)
    sheet.polygon(colour, [(1.56, 0.84), (1.56, 0.22), (1.90, 0.22), (2.08, 0.52), (2.22, 0.57), (2.22, 0.84)], 0.9)
    sheet.polygon(_GLASS, [(1.66, 0.52), (1.66, 0.30), (1.87, 0.30), (1.99, 0.52)])
    sheet.disc((1.0, 0.93, 0.62), 2.17, 0.66, 0.04, 0.05)
    for x in (0.36, 0.76, 1.86):
        arch(sheet, x, 0.165)


def ball(sheet: Sheet, colour: Colour) -> None:
    """A ball with a pattern that shows its turning."""
    sheet.disc(colour, 0.5, 0.5, 0.47, 0.47)
    for i in range(3):
        sheet.slice(_CREAM, 0.5, 0.5, 0.47, 0.47, 120.0 * i, 120.0 * i + 36.0)
    sheet.disc(colour, 0.5, 0.5, 0.10, 0.10, 0.75)


def boat(sheet: Sheet, colour: Colour) -> None:
    """Hull, mast and sail."""
    sheet.box(_WOOD, 0.72, 0.02, 0.76, 0.78)
    sheet.polygon(colour, [(0.80, 0.06), (1.06, 0.36), (1.34, 0.68), (0.80, 0.68)], 1.1)
    sheet.polygon(_CREAM, [(0.68, 0.12), (0.68, 0.68), (0.28, 0.68), (0.46, 0.42)])
    sheet.polygon(colour, [(0.76, 0.02), (0.76, 0.10), (0.62, 0.06)], 0.9)
    sheet.polygon(colour, [(0.05, 0.74), (1.53, 0.74), (1.40, 0.90), (1.26, 0.99), (0.30, 0.99), (0.16, 0.90)])
    sheet.polygon(_CREAM, [(0.05, 0.74), (1.53, 0.74), (1.49, 0.79), (0.09, 0.79)])


def bird(sheet: Sheet, colour: Colour) -> None:
    """Body, head and beak."""
    sheet.polygon(colour, [(0.50, 0.56), (0.04, 0.48), (0.10, 0.62), (0.06, 0.74), (0.50, 0.70)], 0.8)
    sheet.disc(colour, 0.82, 0.62, 0.46, 0.19)
    sheet.disc(colour, 0.86, 0.68, 0.36, 0.11, 1.2)
    sheet.disc(colour, 1.22, 0.50, 0.18, 0.17, 1.05)
    sheet.polygon((0.96, 0.66, 0.12), [(1.37, 0.44), (1.56, 0.53), (1.37, 0.58)])
    sheet.disc(_CREAM, 1.27, 0.46, 0.05, 0.05)
    sheet.disc(_INK, 1.28, 0.46, 0.03, 0.03)


def wing(shade: float, shift: float) -> Draw:
    """How a wing of this shade is drawn, moved along by `shift`."""

    def draw(sheet: Sheet, colour: Colour) -> None:
        points = [(0.62, 0.60), (0.34, 0.34), (0.22, 0.02), (0.54, 0.16), (0.86, 0.38), (1.00, 0.58)]
        sheet.polygon(colour, [(x + shift, y) for x, y in points], shade)

    return draw


def fish(sheet: Sheet, colour: Colour) -> None:
    """Body, eye and gill."""
    sheet.polygon(colour, [(0.62, 0.32), (0.86, 0.06), (1.20, 0.28)], 0.78)
    sheet.polygon(colour, [(0.80, 0.70), (0.78, 0.96), (1.06, 0.72)], 0.78)
    sheet.disc(colour, 0.94, 0.5, 0.58, 0.32)
    sheet.disc(colour, 0.96, 0.62, 0.46, 0.17, 1.25)
    for x in (0.70, 0.92):
        sheet.disc(colour, x, 0.48, 0.05, 0.22, 0.7)
    sheet.disc(_CREAM, 1.28, 0.42, 0.08, 0.08)
    sheet.disc(_INK, 1.30, 0.42, 0.045, 0.045)


def fin(sheet: Sheet, colour: Colour) -> None:
    """The tail fin of the fish."""
    sheet.polygon(colour, [(0.52, 0.5), (0.30, 0.42), (0.03, 0.14), (0.13, 0.5), (0.03, 0.86), (0.30, 0.58)], 0.85)


def house(sheet: Sheet, colour: Colour) -> None:
    """Walls, roof, door and windows."""
    roof: Colour = (0.46, 0.25, 0.21)
    sheet.box((0.52, 0.30, 0.26), 0.98, 0.06, 1.09, 0.36)
    sheet.box(colour, 0.10, 0.36, 1.20, 1.0)
    sheet.polygon(roof, [(0.01, 0.40), (0.26, 0.12), (1.04, 0.12), (1.29, 0.40)])
    sheet.polygon(roof, [(0.01, 0.40), (0.04, 0.36), (1.26, 0.36), (1.29, 0.40)], 0.75)
    sheet.polygon(colour, [(0.44, 0.37), (0.65, 0.13), (0.86, 0.37)], 0.95)
    sheet.stroke(roof, [(0.41, 0.39), (0.65, 0.11), (0.89, 0.39)], 0.035, 0.75)
    sheet.rounded(_WOOD, 0.56, 0.68, 0.74, 1.02, 0.03, 0.9)
    sheet.disc((0.95, 0.80, 0.3), 0.70, 0.85, 0.016, 0.016)
    for x in (0.22, 0.88):
        sheet.box(_CREAM, x - 0.02, 0.54, x + 0.22, 0.76)
        sheet.box(_GLASS, x + 0.01, 0.57, x + 0.09, 0.73, 0.8)
        sheet.box(_GLASS, x + 0.11, 0.57, x + 0.19, 0.73, 0.85)


def trunk(sheet: Sheet, _: Colour) -> None:
    """The trunk of a tree."""
    sheet.polygon(_WOOD, [(0.36, 1.0), (0.41, 0.5), (0.49, 0.5), (0.54, 1.0)])


def crown(sheet: Sheet, colour: Colour) -> None:
    """The leaves of a tree."""
    crowns = ((0.26, 0.48, 0.22), (0.64, 0.48, 0.22), (0.45, 0.56, 0.23), (0.32, 0.30, 0.22), (0.58, 0.28, 0.22))
    for i, (x, y, radius) in enumerate(crowns):
        sheet.disc(colour, x, y, radius, radius * 0.94, 0.80 + 0.05 * i)
    for x, y in ((0.34, 0.18), (0.58, 0.22), (0.24, 0.40), (0.46, 0.44), (0.66, 0.40)):
        sheet.disc(colour, x, y, 0.09, 0.055, 1.18)


def balloon(sheet: Sheet, colour: Colour) -> None:
    """Envelope and basket."""
    sheet.polygon(colour, [(0.08, 0.46), (0.72, 0.46), (0.50, 0.73), (0.30, 0.73)], 0.9)
    sheet.disc(colour, 0.40, 0.36, 0.36, 0.34)
    sheet.disc(_CREAM, 0.40, 0.36, 0.25, 0.34)
    sheet.disc(colour, 0.40, 0.36, 0.19, 0.34, 1.06)
    sheet.disc(_CREAM, 0.40, 0.36, 0.05, 0.34)
    sheet.polygon(colour, [(0.14, 0.55), (0.66, 0.55), (0.50, 0.73), (0.30, 0.73)], 0.85)
    for left, right in ((0.31, 0.33), (0.47, 0.49)):
        sheet.box(_WOOD, left, 0.73, right, 0.86)
    sheet.rounded(_WOOD, 0.29, 0.84, 0.51, 0.99, 0.03, 1.4)
    sheet.box(_WOOD, 0.29, 0.86, 0.51, 0.89, 0.9)


def cat(sheet: Sheet, colour: Colour) -> None:
    """A sitting cat."""
    sheet.disc(colour, 0.46, 0.72, 0.24, 0.28)
    sheet.disc(colour, 0.58, 0.60, 0.16, 0.28)
    sheet.polygon(colour, [(0.46, 0.26), (0.47, 0.02), (0.62, 0.14)], 0.9)
    sheet.polygon(colour, [(0.68, 0.14), (0.82, 0.02), (0.84, 0.26)], 0.9)
    sheet.disc(colour, 0.65, 0.27, 0.21, 0.18, 1.05)
    sheet.disc(colour, 0.62, 0.96, 0.12, 0.05, 1.1)
    sheet.disc(colour, 0.36, 0.95, 0.12, 0.06, 0.85)
    for x in (0.60, 0.75):
        sheet.disc((0.75, 0.85, 0.35), x, 0.24, 0.04, 0.045)
        sheet.disc(_INK, x + 0.006, 0.24, 0.018, 0.038)
    sheet.polygon((0.95, 0.6, 0.6), [(0.655, 0.31), (0.715, 0.31), (0.685, 0.345)])


def tail(sheet: Sheet, colour: Colour) -> None:
    """The tail of the cat."""
    sheet.stroke(colour, [(0.34, 0.92), (0.20, 0.90), (0.11, 0.80), (0.09, 0.66), (0.13, 0.54)], 0.085, 0.88)
    sheet.disc(colour, 0.13, 0.54, 0.043, 0.043, 0.88)


def duck(sheet: Sheet, colour: Colour) -> None:
    """Body, head and beak."""
    sheet.polygon(colour, [(0.30, 0.60), (0.03, 0.40), (0.12, 0.78)], 0.85)
    sheet.disc(colour, 0.62, 0.72, 0.52, 0.26)
    sheet.polygon(colour, [(0.82, 0.62), (0.84, 0.26), (1.14, 0.30), (1.10, 0.72)])
    sheet.disc(colour, 1.00, 0.27, 0.24, 0.23, 1.04)
    sheet.polygon((0.96, 0.62, 0.10), [(1.20, 0.20), (1.46, 0.30), (1.42, 0.37), (1.20, 0.36)])
    sheet.disc(_CREAM, 1.07, 0.21, 0.05, 0.05)
    sheet.disc(_INK, 1.085, 0.21, 0.032, 0.032)


def folded_wing(sheet: Sheet, colour: Colour) -> None:
    """The wing of a swimming duck."""
    sheet.polygon(colour, [(0.82, 0.60), (0.86, 0.76), (0.60, 0.86), (0.24, 0.62), (0.50, 0.60)], 0.8)


def gloss(sheet: Sheet, _: Colour) -> None:
    """A light spot that does not turn with the ball."""
    sheet.disc((1.0, 1.0, 1.0), 0.36, 0.28, 0.09, 0.07)
