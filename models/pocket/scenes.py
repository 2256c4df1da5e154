"""Procedural clips with everything known: picture, caption, object masks and motion.

For training `pocket`, for ground truth in tests and for the product's demo. A scene is a few flat layers
(sky, hills, ground, objects), each moved by its own affine map, so masks and flow are exact by construction.
Refuses to know about models and video files. Deterministic by seed.

Shape suffixes: F frames, K objects, H height, W width, C colour channels (RGB; layers also carry alpha).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.pocket.sprites import COLOURS, SPRITES, draw_sprite

Float = NDArray[np.float32]


@dataclass(frozen=True)
class Scene:
    """A rendered clip.

    frames_FHWC: uint8 RGB. caption: what is in it, lower case. names: K object names, back to front.
    masks_FKHW: bool, visible pixels of each object (coverage above one half).
    backward_flow_FHWC: float32 (dx, dy) px such that frame f at p shows what frame f-1 had at p + flow;
    zero at f = 0. Where an object was hidden or outside in f-1 it is still its true motion.
    """

    frames_FHWC: NDArray[np.uint8]
    caption: str
    names: tuple[str, ...]
    masks_FKHW: NDArray[np.bool_]
    backward_flow_FHWC: Float


@dataclass(frozen=True)
class _Layer:
    """A premultiplied RGBA picture and its per-frame 2x3 maps from its own pixels to the frame's."""

    picture_HWC: Float
    maps: tuple[NDArray[np.float64], ...]
    name: str | None = None


@dataclass(frozen=True)
class _Place:
    """What a scene kind consists of; heights are fractions of the frame's height."""

    where: str
    sky: tuple[tuple[float, float, float], tuple[float, float, float]]
    far: tuple[float, float, float]
    ground: tuple[tuple[float, float, float], tuple[float, float, float]]
    standing: tuple[str, ...]
    moving: tuple[str, ...]
    flying: tuple[str, ...]


def _places() -> tuple[_Place, ...]:
    blue, pale, dusk = (0.32, 0.56, 0.88), (0.80, 0.89, 0.96), (0.98, 0.72, 0.48)
    grass, sea, road, sand = (0.30, 0.50, 0.18), (0.10, 0.36, 0.52), (0.38, 0.38, 0.40), (0.82, 0.70, 0.48)
    return (
        _Place(
            "on a street",
            (blue, pale),
            (0.45, 0.52, 0.50),
            (road, (0.30, 0.30, 0.32)),
            ("house", "tree"),
            ("car", "bus", "truck"),
            ("bird", "balloon"),
        ),
        _Place(
            "on the sea",
            (blue, pale),
            (0.40, 0.50, 0.62),
            (sea, (0.05, 0.20, 0.36)),
            (),
            ("boat", "boat", "fish"),
            ("bird", "balloon"),
        ),
        _Place(
            "in a park",
            (blue, pale),
            (0.26, 0.44, 0.26),
            (grass, (0.20, 0.36, 0.10)),
            ("tree", "tree", "house"),
            ("ball", "ball", "car"),
            ("bird", "balloon"),
        ),
        _Place(
            "on the beach at sunset",
            ((0.42, 0.34, 0.60), dusk),
            (0.36, 0.30, 0.44),
            (sand, (0.62, 0.48, 0.30)),
            ("tree", "house"),
            ("ball", "boat", "truck"),
            ("bird", "bird"),
        ),
        _Place(
            "in the country",
            ((0.50, 0.66, 0.84), pale),
            (0.34, 0.48, 0.30),
            ((0.66, 0.60, 0.28), grass),
            ("house", "tree", "tree"),
            ("truck", "car", "bus"),
            ("balloon", "bird"),
        ),
    )


def _noise(rng: np.random.Generator, height: int, width: int, coarse: int, octaves: int, stretch: float) -> Float:
    """Value noise with zero mean, about unit range; `stretch` > 1 draws it out sideways."""
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(octaves):
        cell = max(2.0, coarse / 2**octave)
        grid = rng.standard_normal((int(height / cell) + 3, int(width / (cell * stretch)) + 3)).astype(np.float32)
        total += 0.55**octave * np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.asarray(total * 0.4, dtype=np.float32)


def _gradient(top: tuple[float, ...], bottom: tuple[float, ...], height: int, width: int) -> Float:
    ramp = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
    rows = np.array(top, np.float32) * (1 - ramp) + np.array(bottom, np.float32) * ramp
    return np.ascontiguousarray(np.broadcast_to(rows, (height, width, 3)))


def _opaque(colour_HWC: Float, alpha_HW: Float | None = None) -> Float:
    alpha = np.ones(colour_HWC.shape[:2], np.float32) if alpha_HW is None else alpha_HW
    return np.dstack([np.clip(colour_HWC, 0, 1) * alpha[..., None], alpha]).astype(np.float32)


def _backdrop(rng: np.random.Generator, place: _Place, height: int, width: int, horizon: int) -> list[Float]:
    """Sky, hills and ground, each a full-height RGBA layer of `width` pixels."""
    sky = _gradient(*place.sky, height, width)
    cloud = np.clip(_noise(rng, height, width, height // 3, 4, 2.2) * 1.6 - 0.25, 0, 1)[..., None]
    sky = sky + (np.array([1.0, 0.98, 0.95], np.float32) - sky) * cloud * 0.85
    ridge = horizon - height * (0.10 + 0.07 * _noise(rng, 1, width, width // 6, 4, 1.0)[0])
    rows = np.arange(height, dtype=np.float32)[:, None]
    hill = np.array(place.far, np.float32) * (1 + 0.22 * _noise(rng, height, width, height // 6, 4, 1.0))[..., None]
    ground = _gradient(*place.ground, height, width)
    ground = ground * (1 + 0.30 * _noise(rng, height, width, height // 7, 5, 2.5))[..., None]
    stripe = place.where == "on a street"
    if stripe:  # a dashed middle line and a kerb
        top, dash = horizon + int(0.66 * (height - horizon)), max(8, height // 5)
        on = (np.arange(width) // dash) % 2 == 0
        ground[top : top + max(2, height // 60), on] = (0.90, 0.88, 0.78)
        ground[horizon : horizon + max(2, height // 28)] *= 1.45
    return [
        _opaque(np.asarray(sky, np.float32)),
        _opaque(np.asarray(hill, np.float32), np.clip(rows - ridge[None], 0, 1).astype(np.float32)),
        _opaque(
            np.asarray(ground, np.float32),
            np.clip(np.repeat(rows - horizon, width, 1), 0, 1).astype(np.float32),
        ),
    ]


def _shift(x: float, y: float, scale: float = 1.0, mirror_width: float | None = None) -> NDArray[np.float64]:
    if mirror_width is not None:
        return np.array([[-scale, 0.0, x + scale * (mirror_width - 1)], [0.0, scale, y]])
    return np.array([[scale, 0.0, x], [0.0, scale, y]])


def _objects(
    rng: np.random.Generator, place: _Place, pan: NDArray[np.float64], height: int, width: int, horizon: int
) -> tuple[list[_Layer], list[str]]:
    """Standing, then moving, then flying objects, back to front, and a phrase for each notable one."""
    frames, layers, phrases = len(pan), [], []
    time = np.arange(frames) / 25.0
    plan = [("standing", n) for n in place.standing] + [
        ("flying", str(n)) for n in rng.permutation(place.flying)[: rng.integers(0, 3)]
    ]
    plan += [("moving", str(n)) for n in rng.permutation(place.moving)[: rng.integers(1, 4)]]
    # Painted in order of depth, so that what stands lower in the picture hides what is further away.
    depths = [{"standing": 0.10, "flying": 0.0}.get(role, float(rng.uniform(0.35, 0.95))) for role, _ in plan]
    for depth, role, name in sorted((d, *p) for d, p in zip(depths, plan, strict=True)):
        colour = "green" if name == "tree" else str(rng.choice([c for c in COLOURS if c != "green"]))
        unit = {"standing": 0.46, "moving": 0.26, "flying": 0.17}[role] * {"ball": 0.6, "boat": 1.3}.get(name, 1.0)
        size = max(8, round(height * unit * rng.uniform(0.85, 1.2)))
        picture = draw_sprite(name, colour, size)
        wide = SPRITES[name][1] * size
        drift, mirror = 0.0, False
        if role != "standing":
            drift = float(rng.uniform(0.10, 0.30) * width * rng.choice([-1.0, 1.0]))
            mirror = drift < 0
        x = rng.uniform(0.05, 0.95) * width - wide / 2 + drift * (time - time[-1] / 2) - pan
        base = horizon + depth * (height - horizon) - size
        if role == "flying":
            base = rng.uniform(0.03, 0.6) * max(1, horizon - size)
        bob = {"ball": 0.16, "bird": 0.03, "balloon": 0.02, "boat": 0.012, "fish": 0.04}.get(name, 0.0) * height
        swing = np.sin(2 * np.pi * (time * rng.uniform(0.4, 0.9) + rng.uniform()))
        y = base - bob * (np.abs(swing) if name == "ball" else swing)
        maps = tuple(_shift(a, b, 1.0, wide if mirror else None) for a, b in zip(x, y, strict=True))
        layers.append(_Layer(picture, maps, name))
        if role != "standing":
            phrases.append(f"{'an' if colour == 'orange' else 'a'} {colour} {name}")
    return layers, phrases


def _composite(layers: list[_Layer], frame: int, height: int, width: int) -> tuple[Float, list[Float], Float]:
    """Paint the layers of one frame; return the picture, each named layer's coverage, and backward flow."""
    picture = np.zeros((height, width, 3), dtype=np.float32)
    flow = np.zeros((height, width, 2), dtype=np.float32)
    covers: list[Float] = []
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32)
    for layer in layers:
        warped = np.asarray(cv2.warpAffine(layer.picture_HWC, layer.maps[frame], (width, height)), np.float32)
        alpha = warped[..., 3:]
        picture = warped[..., :3] + picture * (1 - alpha)
        covers = [c * (1 - alpha[..., 0]) for c in covers]
        if layer.name is not None:
            covers.append(alpha[..., 0])
        now, before = layer.maps[frame], layer.maps[max(frame - 1, 0)]
        step = before @ np.vstack([np.linalg.inv(np.vstack([now, [0, 0, 1]]))])
        moved = np.dstack([step[i, 0] * xs + step[i, 1] * ys + step[i, 2] for i in (0, 1)])
        flow = np.where(alpha > 0.5, moved - np.dstack([xs, ys]), flow).astype(np.float32)
    return picture, covers, flow


def render_clip(seed: int, frames: int = 125, height: int = 144, width: int = 256) -> Scene:
    """Render a clip of 25 frames per second.

    Same arguments, same bytes (one OpenCV build). Shapes: see `Scene`. Errors: ValueError if frames < 1 or
    the picture is smaller than 32 px.
    """
    if frames < 1 or min(height, width) < 32:
        raise ValueError(f"render_clip needs frames >= 1 and sides >= 32, got {frames}, {height}x{width}")
    rng = np.random.default_rng(seed)
    places = _places()
    place = places[int(rng.integers(len(places)))]
    horizon = round(height * rng.uniform(0.48, 0.60))
    time = np.arange(frames) / 25.0
    pan = rng.uniform(-0.06, 0.06) * width * time + 0.01 * width * np.sin(time * 1.7)
    margin = int(np.abs(pan).max()) + 4
    backdrop = _backdrop(rng, place, height, width + 2 * margin, horizon)
    layers = [
        _Layer(picture, tuple(_shift(-margin - p * parallax, 0.0) for p in pan))
        for picture, parallax in zip(backdrop, (0.2, 0.5, 1.0), strict=True)
    ]
    objects, phrases = _objects(rng, place, pan, height, width, horizon)
    layers += objects
    names = tuple(layer.name for layer in objects if layer.name is not None)
    warmth, phase = rng.uniform(-0.03, 0.03), rng.uniform(0, 2 * np.pi)
    frames_FHWC = np.empty((frames, height, width, 3), dtype=np.uint8)
    masks_FKHW = np.zeros((frames, len(names), height, width), dtype=bool)
    flow_FHWC = np.zeros((frames, height, width, 2), dtype=np.float32)
    for f in range(frames):
        picture, covers, flow_FHWC[f] = _composite(layers, f, height, width)
        drift = np.sin(2 * np.pi * f / 125.0 + phase)
        light = (1 + 0.06 * drift) * np.array([1 + warmth * drift, 1.0, 1 - warmth * drift], np.float32)
        frames_FHWC[f] = np.clip(picture * light * 255.0 + 0.5, 0, 255).astype(np.uint8)
        masks_FKHW[f] = np.stack(covers) > 0.5
    return Scene(frames_FHWC, f"{' and '.join(phrases)} {place.where}", names, masks_FKHW, flow_FHWC)
