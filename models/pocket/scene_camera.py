"""The camera of a procedural clip: a pan with parallax, a slow zoom and an unsteady hand.

Knows one linear map per frame; refuses to know what it looks at. Every curve is smooth and bounded, so a clip
may last as long as it likes and the backdrop stays finite. 25 frames per second.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
RATE = 25.0


def shift(x: float, y: float) -> Matrix:
    """Return the 3x3 map that moves by (x, y)."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def about(x: float, y: float, linear: Matrix) -> Matrix:
    """Return the 3x3 map that applies a 2x2 one about the point (x, y)."""
    whole = np.eye(3)
    whole[:2, :2] = linear
    return np.asarray(shift(x, y) @ whole @ shift(-x, -y))


@dataclass(frozen=True)
class Camera:
    """Amplitudes as fractions of the frame's width (pan) and height (shake), periods in seconds, phases in rad."""

    height: int
    width: int
    sweep: float
    period: float
    zoom: float
    zoom_period: float
    unsteady: float
    phases: tuple[float, ...]

    @classmethod
    def draw(cls, rng: np.random.Generator, height: int, width: int) -> Camera:
        """Draw a camera: some stand still, most sweep, some zoom, some are held by hand."""
        sweeping, zooming, held = rng.uniform(size=3) < (0.7, 0.5, 0.5)
        return cls(
            height=height,
            width=width,
            sweep=float(rng.uniform(0.06, 0.28)) * bool(sweeping),
            period=float(rng.uniform(12, 24)),
            zoom=float(rng.uniform(0.08, 0.25)) * bool(zooming),
            zoom_period=float(rng.uniform(8, 16)),
            unsteady=float(rng.uniform(0.003, 0.010)) * bool(held),
            phases=tuple(float(p) for p in rng.uniform(0, 2 * np.pi, 11)),
        )

    def pan(self, frame: int) -> float:
        """Return how far, in px, the nearest ground has been left behind."""
        return self.width * self.sweep * float(np.sin(2 * np.pi * frame / RATE / self.period + self.phases[0]))

    def view(self, frame: int) -> Matrix:
        """Return the 3x3 map of zoom (>= 1), roll and shake about the frame's centre."""
        t = frame / RATE
        scale = 1 + self.zoom * (0.5 - 0.5 * np.cos(2 * np.pi * t / self.zoom_period + self.phases[1]))
        hand = [
            sum(a * np.sin(2 * np.pi * hz * t + self.phases[2 + 3 * axis + i]) for i, (hz, a) in enumerate(_HAND))
            for axis in range(3)
        ]
        roll = 0.8 * self.unsteady * hand[2]
        turn = scale * np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        step = self.unsteady * self.height
        return np.asarray(shift(step * hand[0], step * hand[1]) @ about(self.width / 2, self.height / 2, turn))


_HAND = ((0.55, 1.0), (1.3, 0.5), (2.9, 0.2))
