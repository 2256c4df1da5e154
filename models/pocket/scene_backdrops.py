"""What lies behind the objects of a procedural clip: skies, clouds, far ridges and textured grounds.

Knows colours, noise and one perspective rule (a ground row at `t`, 0 at the horizon and 1 at the lower edge,
lies at distance 1 / (t + NEAR)); refuses to know about time, cameras and objects.

Shape suffixes: H height, W width, C colour channels (RGB; layers carry alpha too, premultiplied).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.pocket.drawing_sheet import Sheet

Float = NDArray[np.float32]
RGB = tuple[float, float, float]

NEAR = 0.15


@dataclass(frozen=True)
class Extent:
    """A frame's size, the margins drawn around it and its horizon, all in px."""

    height: int
    width: int
    beside: int
    above: int
    horizon: int

    @property
    def wide(self) -> int:
        """Width of a layer with its margins."""
        return self.width + 2 * self.beside


SKIES: dict[str, tuple[RGB, RGB]] = {
    "clear": ((0.26, 0.54, 0.90), (0.80, 0.91, 0.98)),
    "cloudy": ((0.50, 0.61, 0.74), (0.82, 0.86, 0.90)),
    "sunset": ((0.36, 0.30, 0.58), (1.00, 0.70, 0.42)),
    "deep": ((0.16, 0.56, 0.70), (0.04, 0.24, 0.42)),
}

GROUNDS: dict[str, tuple[RGB, RGB]] = {
    "asphalt": ((0.48, 0.48, 0.50), (0.36, 0.36, 0.39)),
    "cobbles": ((0.66, 0.60, 0.54), (0.52, 0.46, 0.41)),
    "grass": ((0.50, 0.68, 0.30), (0.26, 0.48, 0.15)),
    "wheat": ((0.86, 0.76, 0.42), (0.66, 0.54, 0.22)),
    "sand": ((0.93, 0.84, 0.64), (0.80, 0.66, 0.44)),
    "water": ((0.46, 0.70, 0.80), (0.07, 0.34, 0.52)),
    "seabed": ((0.32, 0.56, 0.58), (0.66, 0.66, 0.46)),
}

FAR: dict[str, RGB] = {
    "hills": (0.42, 0.58, 0.44),
    "mountains": (0.50, 0.58, 0.70),
    "islands": (0.46, 0.56, 0.62),
    "skyline": (0.60, 0.63, 0.70),
    "reef": (0.06, 0.30, 0.44),
}


def opaque(colour_HWC: Float, alpha_HW: Float | None = None) -> Float:
    """Return a premultiplied RGBA picture."""
    if alpha_HW is None:
        return np.dstack([np.clip(colour_HWC, 0, 1), np.ones(colour_HWC.shape[:2], np.float32)])
    return np.dstack([np.clip(colour_HWC, 0, 1) * alpha_HW[..., None], alpha_HW]).astype(np.float32)


def _ramp(top: RGB, bottom: RGB, t_H: Float) -> Float:
    t = np.clip(t_H, 0, 1)[:, None, None]
    return np.asarray(np.array(top, np.float32) * (1 - t) + np.array(bottom, np.float32) * t, np.float32)


def _noise(rng: np.random.Generator, side: int, across: float, down: float) -> Float:
    """Periodic (side, side) noise of unit deviation, with up to `across` and `down` cycles per side."""
    white = np.fft.rfft2(rng.standard_normal((side, side), dtype=np.float32))
    y, x = np.fft.fftfreq(side, 1 / side)[:, None], np.fft.rfftfreq(side, 1 / side)[None]
    smooth = np.fft.irfft2(white * np.exp(-((x / across) ** 2) - (y / down) ** 2), (side, side))
    return np.asarray((smooth - smooth.mean()) / (smooth.std() + 1e-9), dtype=np.float32)


def _cobbles(rng: np.random.Generator, side: int, count: int = 12) -> Float:
    """Periodic stones: distance to the seam between jittered cells, each stone of its own brightness."""
    jitter = rng.uniform(0.15, 0.85, (count, count, 2)).astype(np.float32)
    tone = rng.normal(0, 0.09, (count, count)).astype(np.float32)
    place = np.arange(side, dtype=np.float32) * count / side
    cell = place.astype(np.int64)
    first = np.full((side, side), 9.0, np.float32)
    second, tones = first.copy(), np.zeros((side, side), np.float32)
    for j in (-1, 0, 1):
        for i in (-1, 0, 1):
            rows, columns = (cell + j) % count, (cell + i) % count
            near = jitter[rows[:, None], columns[None]]
            dx, dy = near[..., 0] + (cell + i - place)[None], near[..., 1] + (cell + j - place)[:, None]
            gap = np.sqrt(dx * dx + dy * dy)
            tones = np.where(gap < first, tone[rows[:, None], columns[None]], tones)
            second = np.minimum(second, np.maximum(gap, first))
            first = np.minimum(first, gap)
    seam = np.clip((second - first) / 0.22, 0, 1)
    return np.asarray(tones - 0.34 * (1 - seam), dtype=np.float32)


def _texture(rng: np.random.Generator, kind: str, side: int) -> Float:
    """Relative brightness of a periodic patch of ground, zero on average."""
    if kind == "cobbles":
        stones = cv2.resize(_cobbles(rng, side // 2), (side, side), interpolation=cv2.INTER_LINEAR)
        return np.asarray(stones, np.float32) + 0.03 * _noise(rng, side, 50, 50)
    if kind == "grass":
        return 0.07 * _noise(rng, side, 8, 8) + 0.08 * _noise(rng, side, 60, 44)
    if kind == "wheat":
        rows = np.sin(2 * np.pi * np.arange(side, dtype=np.float32) * 10 / side)[:, None]
        return np.asarray(0.08 * rows + 0.08 * _noise(rng, side, 60, 44), np.float32)
    if kind in ("sand", "seabed"):
        row = np.arange(side, dtype=np.float32)[:, None] * 9 / side
        return np.asarray(0.06 * np.sin(2 * np.pi * (row + 0.35 * _noise(rng, side, 4, 4))), np.float32) + (
            0.04 * _noise(rng, side, 60, 60)
        )
    if kind == "water":
        wave = _noise(rng, side, 5, 18)
        return np.asarray(0.07 * wave + 0.35 * np.clip(wave - 1.1, 0, 1) + 0.05 * _noise(rng, side, 12, 40), np.float32)
    return 0.05 * _noise(rng, side, 60, 60) + 0.04 * _noise(rng, side, 5, 5)


def ground(rng: np.random.Generator, kind: str, warm: bool, extent: Extent) -> Float:
    """Paint the ground from two px above the horizon down, textured in perspective."""
    rows = np.arange(-2, extent.height - extent.horizon + extent.above, dtype=np.float32)
    t = rows / (extent.height - extent.horizon)
    z = 1 / (np.maximum(t, 0) + NEAR)
    side = 256 if extent.height <= 320 else 512
    across = (np.arange(extent.wide, dtype=np.float32) - extent.wide / 2) / extent.height
    u = across[None] * z[:, None]
    v = np.broadcast_to(z[:, None], u.shape)
    texture = _texture(rng, kind, side)
    maps = (u / 1.25 % 1.0 * side).astype(np.float32), (-0.40 * v % 1.0 * side).astype(np.float32)
    fine, coarse = (
        np.asarray(cv2.remap(patch, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)
        for patch in (texture, cv2.blur(np.pad(texture, 4, mode="wrap"), (7, 3))[4:-4, 4:-4])
    )
    mix = np.clip(t * 3.0 - 0.2, 0, 1)[:, None]
    relief = (fine * mix + coarse * (1 - mix)) * np.clip(0.25 + 1.6 * t, 0.1, 1)[:, None]
    top, bottom = GROUNDS[kind]
    colour = np.broadcast_to(_ramp(top, bottom, np.sqrt(np.clip(t, 0, 1))), (*u.shape, 3)).copy()
    colour *= rng.uniform(0.94, 1.06, 3).astype(np.float32)
    if kind == "asphalt":
        colour[t < 0.20] *= 1.32
        colour[(t >= 0.20) & (t < 0.235)] = (0.80, 0.79, 0.76)
        colour[(t >= 0.235) & (t < 0.27)] *= 0.72
        dash = ((t >= 0.54) & (t < 0.60))[:, None] & (np.floor(u * 3.2) % 2 == 0)
        colour[dash] = (0.95, 0.92, 0.80)
    colour *= (1 + relief)[..., None]
    if warm:
        colour *= np.array([1.02, 0.84, 0.80], np.float32)
    return opaque(colour.astype(np.float32), np.repeat(np.clip(rows + 1, 0, 1)[:, None], extent.wide, 1))


def sky(rng: np.random.Generator, kind: str, extent: Extent) -> Float:
    """Paint the sky with its margins down to below the horizon; a low sun at sunset, shafts in the deep."""
    high = extent.horizon + 2 * extent.above + 2
    t = np.linspace(0, 1, high, dtype=np.float32)
    colour = np.broadcast_to(_ramp(*SKIES[kind], t), (high, extent.wide, 3)).copy()
    xs = np.arange(extent.wide, dtype=np.float32)[None] / extent.height
    if kind == "sunset":
        x, y, r = rng.uniform(0.3, 0.7) * extent.wide / extent.height, rng.uniform(0.55, 0.9), rng.uniform(0.07, 0.11)
        gap = np.hypot(xs - x, (t[:, None] - y) * high / extent.height)
        disc = np.clip((r - gap) * extent.height, 0, 1)[..., None]
        glow = (0.55 * np.exp(-((gap / (3.2 * r)) ** 2)))[..., None]
        colour += (np.array([1.0, 0.82, 0.45], np.float32) - colour) * glow
        colour += (np.array([1.0, 0.93, 0.70], np.float32) - colour) * disc
    if kind == "deep":
        slant = xs + 0.35 * t[:, None]
        beams = zip(rng.uniform(0, 2.4, 6), rng.uniform(0.03, 0.1, 6), strict=True)
        shaft = sum(np.exp(-(((slant - c) / s) ** 2)) for c, s in beams)
        colour += (0.16 * np.asarray(shaft, np.float32) * (1 - t[:, None]))[..., None]
    return opaque(colour.astype(np.float32))


def clouds(rng: np.random.Generator, kind: str, extent: Extent) -> Float:
    """Paint puffy clouds on a clear layer of the sky's size."""
    high = max(8, extent.horizon + extent.above)
    sheet = Sheet.blank(high, extent.wide / high)
    aspect = extent.wide / high
    tint: RGB = (1.0, 0.80, 0.72) if kind == "sunset" else (1.0, 1.0, 1.0)
    count = round({"clear": 1.2, "cloudy": 4.2, "sunset": 1.6}[kind] * aspect * rng.uniform(0.7, 1.3))
    for y in np.sort(rng.uniform(0.10, 0.82, max(1, count)))[::-1]:
        x, s = rng.uniform(0, aspect), float((1.1 - y) * rng.uniform(0.10, 0.17))
        puffs = [
            (i * 0.62 + rng.uniform(-0.2, 0.2), rng.uniform(0.55, 1.0) * (1.25 - abs(i) * 0.28)) for i in range(-2, 3)
        ]
        for lower, shade in ((0.16, 0.86), (0.0, 0.99)):
            for i, r in puffs:
                sheet.disc(tint, x + i * s, y - 0.3 * r * s + lower * s, r * s * 0.9, r * s * 0.72, shade)
    return sheet.finish(lit=False) * np.float32(0.93)


def far(rng: np.random.Generator, kind: str, warm: bool, extent: Extent) -> tuple[Float, int]:
    """Paint what closes the view: hills, mountains, islands, a skyline or a reef, down to the horizon.

    Returns the layer and the row of the sky's layer at which it begins.
    """
    foot, unit = extent.horizon + extent.above + 2, float(extent.height)
    base = np.array(FAR[kind], np.float32) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    if warm:
        base = base * np.array([0.92, 0.72, 0.84], np.float32)
    x = np.arange(extent.wide, dtype=np.float32) / unit
    tops = [np.asarray(foot - unit * _ridge(rng, kind, x, step), np.float32)[None] for step in range(2)]
    first = max(0, int(min(top.min() for top in tops)) - 1)
    rows = np.arange(first, foot + 1, dtype=np.float32)[:, None]
    colour = np.zeros((len(rows), extent.wide, 3), np.float32)
    alpha = np.zeros((len(rows), extent.wide, 1), np.float32)
    for step, top in enumerate(tops):
        cover = np.clip(rows - top, 0, 1)[..., None]
        shade = 1 + 0.12 * (rows - foot) / unit + np.zeros_like(top)
        if kind == "skyline":
            lit = (np.mod(x * 26, 1) < 0.45)[None] & (np.mod((foot - rows) / unit * 22, 1) < 0.45)
            shade = np.where(lit & (rows > top + 0.02 * unit), shade * 1.16, shade)
        tone = (base * (1.14, 0.92)[step]) * shade[..., None]
        if kind == "mountains" and step == 0:
            jag = 0.012 * unit * np.sin(x * 70)[None] + 0.008 * unit * np.sin(x * 113 + 1)[None]
            snow = np.clip(0.5 * (foot - 0.17 * unit + jag - rows), 0, 1)[..., None]
            tone = tone + (np.array([0.96, 0.97, 1.0], np.float32) * (0.85 if warm else 1.0) - tone) * snow
        colour = colour * (1 - cover) + tone * cover
        alpha = alpha * (1 - cover) + cover
    return np.dstack([np.clip(colour, 0, 1), alpha]).astype(np.float32), first


def _ridge(rng: np.random.Generator, kind: str, x: Float, step: int) -> Float:
    """Height of the further (0) or nearer (1) ridge over the horizon, in frame heights."""
    if kind == "skyline":
        ridge, left = np.zeros_like(x), 0.0
        while left < x[-1]:
            right = left + rng.uniform(0.08, 0.18)
            ridge[(x >= left) & (x < right)] = rng.uniform(0.07, 0.30) * (1.0, 0.62)[step]
            left = right + rng.choice([0.0, 0.02])
        return ridge
    tall, pace, sharp = _RIDGES[kind]
    shape = np.zeros_like(x)
    for i in range(4):
        wave, phase = pace * 1.7**i, rng.uniform(0, 7)
        edgy = 1 - 2 * np.abs(np.mod(wave * x / 3 + phase, 2) - 1)
        both = (1 - sharp) * np.sin(wave * x + phase) + sharp * edgy
        shape += np.float32(0.55 ** (i + 1)) * both.astype(np.float32)
    return np.asarray(tall * (0.75, 0.5)[step] * (1 + shape) - (0.02 if kind == "islands" else 0.0), np.float32)


# kind -> (height in frame heights, waves per frame height, 0 round to 1 sharp)
_RIDGES: dict[str, tuple[float, float, float]] = {
    "hills": (0.11, 3.0, 0.0),
    "mountains": (0.22, 3.4, 1.0),
    "islands": (0.05, 2.0, 0.0),
    "reef": (0.16, 5.0, 0.5),
}
