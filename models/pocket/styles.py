"""Eight fixed picture filters: what a steady restyle looks like, and the targets `pocket` learns.

Knows uint8 RGB pixels only; refuses to know about models, prompts beyond their templates, and time. Each
filter is a fixed local function of one frame (no noise, no statistics over the picture), hence as steady as
its input. `mosaic` alone is locked to an 8 px grid: a mosaic without tiles is not a mosaic.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

FrameU8 = NDArray[np.uint8]
Float = NDArray[np.float32]

_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def _float(frame: FrameU8) -> Float:
    return frame.astype(np.float32) / np.float32(255.0)


def _bytes(frame: Float) -> FrameU8:
    return np.asarray(np.clip(frame, 0.0, 1.0) * 255.0 + 0.5, dtype=np.uint8)


def _luma(frame: Float) -> Float:
    return np.asarray(frame @ _LUMA, dtype=np.float32)


def _blur(picture: Float, sigma: float) -> Float:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), dtype=np.float32)


def _rgb(red: float, green: float, blue: float) -> Float:
    return np.array([red, green, blue], dtype=np.float32)


def _mix(low: Float, high: Float, amount_HW: Float) -> Float:
    return np.asarray(low + (high - low) * amount_HW[..., None], dtype=np.float32)


def _saturate(frame: Float, gain: float) -> Float:
    grey = _luma(frame)[..., None]
    return np.asarray(grey + (frame - grey) * gain, dtype=np.float32)


def _contours(frame: Float, sigma: float, knee: float) -> Float:
    """Contour strength in [0, 1] over all colour channels."""
    smooth = _blur(frame, sigma)
    gx = cv2.Scharr(smooth, cv2.CV_32F, 1, 0) / 32.0
    gy = cv2.Scharr(smooth, cv2.CV_32F, 0, 1) / 32.0
    strength = np.sqrt(gx * gx + gy * gy).max(axis=-1)
    return np.asarray(1.0 - np.exp(-((strength / knee) ** 1.5)), dtype=np.float32)


def _kuwahara(frame: Float, radius: int, sharpness: float) -> Float:
    """Weigh the means of four overlapping quadrants by how flat they are (Kuwahara 1976, softened).

    The classic filter *picks* the flattest quadrant, which jumps under sensor noise; the smooth weight
    keeps the brush look and stays steady.
    """
    size = (radius + 1, radius + 1)
    total = np.zeros_like(frame)
    weights = np.zeros(frame.shape[:2], dtype=np.float32)
    for ax in (0, radius):
        for ay in (0, radius):
            mean = cv2.blur(frame, size, anchor=(ax, ay), borderType=cv2.BORDER_REFLECT_101)
            square = cv2.blur(frame * frame, size, anchor=(ax, ay), borderType=cv2.BORDER_REFLECT_101)
            variance = np.maximum(square - mean * mean, 0.0).sum(axis=-1)
            weight = (1.0 / (variance + 2e-4)) ** sharpness
            total += mean * weight[..., None]
            weights += weight
    return np.asarray(total / weights[..., None], dtype=np.float32)


def sketch(frame: FrameU8) -> FrameU8:
    """Graphite on warm paper: colour dodge of the picture with its own blur, plus faint shading."""
    grey = _blur(_luma(_float(frame)), 0.8)
    pencil = np.clip((grey + 0.04) / (_blur(grey, 4.0) + 0.04), 0.0, 1.0) ** 3.0
    shade = 0.78 + 0.22 * np.clip(grey * 1.3, 0.0, 1.0)
    return _bytes(_mix(_rgb(0.16, 0.15, 0.17), _rgb(0.98, 0.96, 0.90), np.asarray(pencil * shade, np.float32)))


def watercolor(frame: FrameU8) -> FrameU8:
    """Pale flat washes with darker rims where washes meet."""
    wash = _blur(_float(frame), 0.8)
    for _ in range(3):
        wash = np.asarray(cv2.bilateralFilter(wash, 9, 0.12, 4.0), dtype=np.float32)
    rim = _contours(wash, 1.2, 0.10)
    paper = _rgb(1.0, 0.985, 0.95)
    wash = _saturate(wash, 1.45)
    wash = np.asarray(paper * (0.22 + 0.80 * np.clip(wash, 0.0, 1.0) ** 0.85), dtype=np.float32)
    return _bytes(wash * (1.0 - 0.42 * rim[..., None]))


def night(frame: FrameU8) -> FrameU8:
    """Moonlight: dark, blue, and bright places glow like lamps."""
    day = _float(frame)
    grey = _luma(day)
    moon = _mix(_rgb(0.01, 0.02, 0.07), _rgb(0.30, 0.42, 0.72), np.asarray(grey**1.5, np.float32))
    moon = np.asarray(moon + 0.16 * (day - grey[..., None]), dtype=np.float32)
    lamp = np.clip((grey - 0.72) / 0.28, 0.0, 1.0) ** 1.5
    glow = _blur(np.asarray(lamp, np.float32), 4.0)[..., None] * _rgb(0.75, 0.55, 0.22)
    return _bytes(np.asarray(moon + glow + 0.35 * lamp[..., None] * _rgb(1.0, 0.8, 0.45), np.float32))


def autumn(frame: FrameU8) -> FrameU8:
    """Greens turn to orange and rust, shadows to umber, light to late gold."""
    day = _blur(_float(frame), 0.6)
    red, green, blue = day[..., 0], day[..., 1], day[..., 2]
    leaf = np.clip(5.0 * (green - blue) - 8.0 * np.maximum(red - 1.08 * green, 0.0), 0.0, 1.0)
    grey = _luma(day)
    rust = _mix(_rgb(0.30, 0.07, 0.02), _rgb(1.0, 0.66, 0.16), np.clip(grey * 1.35, 0.0, 1.0))
    warm = _saturate(day, 1.1) * _rgb(1.08, 0.96, 0.82) + _rgb(0.04, 0.02, 0.0)
    return _bytes(_mix(np.asarray(warm, np.float32), rust, np.asarray(leaf, np.float32)))


def neon(frame: FrameU8) -> FrameU8:
    """Glowing tubes along the contours, coloured by the direction of the edge, on near black."""
    day = _float(frame)
    tube = _contours(day, 1.4, 0.07)
    smooth = _blur(_luma(day), 2.0)
    # Brightness picks the tube's colour: a local, steady choice (hue is noise where a picture is grey).
    cold = _mix(_rgb(0.10, 0.25, 1.0), _rgb(1.0, 0.10, 0.75), np.clip(smooth * 2.0, 0.0, 1.0))
    colour = _mix(cold, _rgb(0.15, 1.0, 0.85), np.clip(smooth * 2.0 - 1.0, 0.0, 1.0))
    light = colour * tube[..., None]
    base = _rgb(0.03, 0.01, 0.06) + 0.12 * day * _rgb(0.5, 0.3, 1.0)
    return _bytes(np.asarray(base + light + 0.7 * _blur(np.asarray(light, np.float32), 4.0), np.float32))


def mosaic(frame: FrameU8) -> FrameU8:
    """Bevelled 8 px tiles of one colour each, with grey grout."""
    height, width = frame.shape[:2]
    rows, columns = -(-height // 8), -(-width // 8)
    padded = cv2.copyMakeBorder(frame, 0, rows * 8 - height, 0, columns * 8 - width, borderType=cv2.BORDER_REPLICATE)
    tiles = cv2.resize(_float(np.asarray(padded)), (columns, rows), interpolation=cv2.INTER_AREA)
    tiles = np.clip(_saturate(np.asarray(tiles, np.float32), 1.35) * 1.08, 0.0, 1.0)
    picture = np.repeat(np.repeat(tiles, 8, axis=0), 8, axis=1)
    ramp = np.linspace(0.08, -0.08, 8, dtype=np.float32)
    bevel = 1.0 + ramp[:, None] + ramp[None, :]
    grout = np.zeros((8, 8), dtype=np.float32)
    grout[0, :] = grout[:, 0] = 0.55
    light = np.tile(bevel, (rows, columns))[..., None]
    joint = np.tile(grout, (rows, columns))
    laid = _mix(np.asarray(picture * light, np.float32), _rgb(0.28, 0.27, 0.27), joint)
    return _bytes(laid[:height, :width])


def oil(frame: FrameU8) -> FrameU8:
    """Broad saturated strokes with a low side light on the paint."""
    paint = _kuwahara(_kuwahara(_float(frame), 3, 3.0), 3, 3.0)
    grey = _luma(paint)
    emboss = np.array([[-1, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=np.float32)
    relief = np.asarray(cv2.filter2D(_blur(grey, 0.8), cv2.CV_32F, emboss), dtype=np.float32)
    paint = _saturate(paint, 1.7)
    paint = np.asarray((paint - 0.5) * 1.18 + 0.5, dtype=np.float32)
    return _bytes(np.asarray(paint + 0.9 * relief[..., None], np.float32))


def blueprint(frame: FrameU8) -> FrameU8:
    """White drafting lines on Prussian blue, with a trace of the light."""
    day = _float(frame)
    line = _contours(day, 1.0, 0.06)
    sheet = _mix(_rgb(0.03, 0.13, 0.42), _rgb(0.12, 0.33, 0.70), _blur(_luma(day), 1.5))
    return _bytes(_mix(sheet, _rgb(0.92, 0.97, 1.0), np.asarray(0.9 * line, np.float32)))


STYLES: Mapping[str, Callable[[FrameU8], FrameU8]] = MappingProxyType(
    {
        "sketch": sketch,
        "watercolor": watercolor,
        "night": night,
        "autumn": autumn,
        "neon": neon,
        "mosaic": mosaic,
        "oil": oil,
        "blueprint": blueprint,
    }
)

# The first template of a style is the product's; the others only widen what training hears.
PROMPT_TEMPLATES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "sketch": ("{prompt}, pencil sketch", "a pencil drawing of {prompt}", "{prompt}, graphite sketch"),
        "watercolor": ("{prompt}, watercolor painting", "a watercolor of {prompt}", "{prompt}, aquarelle"),
        "night": ("{prompt}, at night in moonlight", "{prompt} at night", "a dark night, {prompt}"),
        "autumn": ("{prompt}, in autumn colors", "{prompt} in autumn", "{prompt}, golden fall leaves"),
        "neon": ("{prompt}, glowing neon lights", "neon {prompt}", "{prompt}, cyberpunk neon glow"),
        "mosaic": ("{prompt}, mosaic tiles", "a mosaic of {prompt}", "{prompt}, roman tile mosaic"),
        "oil": ("{prompt}, oil painting", "an oil painting of {prompt}", "{prompt}, thick oil brush strokes"),
        "blueprint": (
            "{prompt}, blueprint drawing",
            "a blueprint of {prompt}",
            "{prompt}, technical blueprint",
        ),
        "photo": ("{prompt}, photo", "a photo of {prompt}", "{prompt}"),
    }
)


def apply_style(name: str, frame: FrameU8) -> FrameU8:
    """Apply one filter; `photo` is the identity.

    Shapes: (H, W, 3) uint8 RGB -> the same. Errors: ValueError for an unknown name, shape or dtype.
    """
    if frame.ndim != 3 or frame.shape[-1] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"apply_style needs uint8 (H, W, 3), got {frame.dtype} {frame.shape}")
    if name == "photo":
        return frame.copy()
    if name not in STYLES:
        raise ValueError(f"unknown style {name!r}; known: {', '.join(STYLES)}, photo")
    return STYLES[name](frame)


def style_prompt(name: str, prompt: str, variant: int = 0) -> str:
    """Put a prompt into a style's template, e.g. 'a red car' -> 'a red car, watercolor painting'."""
    templates = PROMPT_TEMPLATES[name]
    return templates[variant % len(templates)].format(prompt=prompt)
