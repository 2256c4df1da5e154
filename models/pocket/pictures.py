"""The pictures `pocket` is trained on: procedural scenes and crops of openly licensed real pictures.

Knows where pictures come from, how they are varied, and what they show in words. Refuses to know about
latents, styles and models. Nothing real is ever written inside the repository; see the model card for the
licences. Test-only clips (dog, juggle) are not named here.

Shape suffixes: H height, W width, C colour channels (RGB).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from models.pocket.scenes import render_clip

PICTURE_HEIGHT, PICTURE_WIDTH = 144, 256

# CC BY 4.0, intel-iot-devkit/sample-videos; cropped, scaled, flipped and recoloured here.
TRAIN_CLIPS: Mapping[str, str] = MappingProxyType(
    {
        "bottle_vfr.mp4": "a hand and bottles on a table",
        "cuts_join.mp4": "a person and objects",
        "cars_500x282.mp4": "a car on a road from above",
        "sign_fullrange.mkv": "a woman in a room",
    }
)

# Photographs inside the scikit-image and scikit-learn wheels (CC0, public domain, CC BY).
PHOTOGRAPHS: Mapping[str, str] = MappingProxyType(
    {
        "astronaut": "a woman astronaut with a flag",
        "chelsea": "a cat",
        "coffee": "a cup of coffee on a table",
        "rocket": "a rocket at night",
        "motorcycle": "a motorcycle in a garage",
        "grass": "green grass",
        "gravel": "a gravel road",
        "brick": "a brick wall",
        "camera": "a man with a camera in a field",
        "china.jpg": "a temple in china",
        "flower.jpg": "a red flower",
    }
)


def _clip_frames(path: Path, every: int) -> list[NDArray[np.uint8]]:
    reader = cv2.VideoCapture(str(path))
    frames: list[NDArray[np.uint8]] = []
    index = 0
    while True:
        good, frame = reader.read()
        if not good:
            break
        if index % every == 0:
            frames.append(np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), dtype=np.uint8))
        index += 1
    reader.release()
    if not frames:
        raise FileNotFoundError(f"no frames in {path}")
    return frames


def _photograph(name: str) -> NDArray[np.uint8]:
    if name.endswith(".jpg"):
        from sklearn.datasets import load_sample_image

        return np.asarray(load_sample_image(name), dtype=np.uint8)
    from skimage import data

    picture = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    picture = np.asarray(picture, dtype=np.uint8)
    return np.repeat(picture[..., None], 3, axis=-1) if picture.ndim == 2 else picture[..., :3]


def real_pictures(clips: Path) -> list[tuple[str, list[NDArray[np.uint8]]]]:
    """Return (words, frames) of every real source, frames (H, W, 3) uint8 RGB of their own sizes."""
    sources = [(words, _clip_frames(clips / name, every=4)) for name, words in TRAIN_CLIPS.items()]
    sources += [(words, [_photograph(name)]) for name, words in PHOTOGRAPHS.items()]
    return sources


def _recolour(picture: NDArray[np.uint8], rng: np.random.Generator, hues: bool) -> NDArray[np.uint8]:
    """Vary exposure, contrast, colour balance, saturation and (`hues`) hue: few sources, many colours."""
    values = picture.astype(np.float32) / 255.0
    if hues and rng.uniform() < 0.35:
        angle = rng.uniform(-0.5, 0.5) * np.pi
        hue = np.asarray(cv2.cvtColor(values, cv2.COLOR_RGB2HSV))
        hue[..., 0] = (hue[..., 0] + np.degrees(angle)) % 360.0
        values = np.asarray(cv2.cvtColor(hue, cv2.COLOR_HSV2RGB), dtype=np.float32)
    grey = values.mean(axis=-1, keepdims=True)
    values = grey + (values - grey) * rng.uniform(0.6, 1.4)
    values = np.clip(values, 0, 1) ** rng.uniform(0.7, 1.4)
    values = (values - 0.5) * rng.uniform(0.8, 1.2) + 0.5 + rng.uniform(-0.08, 0.08)
    values = values * rng.uniform(0.9, 1.1, 3)
    return np.asarray(np.clip(values, 0, 1) * 255 + 0.5, dtype=np.uint8)


def _crop(picture: NDArray[np.uint8], rng: np.random.Generator, largest: float) -> NDArray[np.uint8]:
    """Cut (144, 256) of any channels out at a random zoom between 'just fits' and `largest`, flipped at random."""
    high, wide = picture.shape[:2]
    fits = max(PICTURE_HEIGHT / high, PICTURE_WIDTH / wide)
    zoom = fits * np.exp(rng.uniform(0, np.log(max(largest / fits, 1.05))))
    size = (max(PICTURE_WIDTH, round(wide * zoom)), max(PICTURE_HEIGHT, round(high * zoom)))
    how = cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC
    # OpenCV takes no more than four channels at once.
    parts = [cv2.resize(picture[..., c : c + 3], size, interpolation=how) for c in range(0, picture.shape[-1], 3)]
    scaled = np.dstack(parts)
    top = int(rng.integers(scaled.shape[0] - PICTURE_HEIGHT + 1))
    left = int(rng.integers(scaled.shape[1] - PICTURE_WIDTH + 1))
    cut = scaled[top : top + PICTURE_HEIGHT, left : left + PICTURE_WIDTH]
    return np.ascontiguousarray(cut[:, ::-1] if rng.uniform() < 0.5 else cut)


@dataclass(frozen=True)
class Drawn:
    """One training picture (144, 256, 3) uint8 RGB, its lower-case words, and whether it is procedural.

    objects_HW: uint8, 255 where one of a scene's objects is seen. depth_HW: uint8, 0 far to 255 near. Both are 0 all
    over in real pictures, of which neither is known.
    """

    picture_HWC: NDArray[np.uint8]
    words: str
    procedural: bool
    objects_HW: NDArray[np.uint8]
    depth_HW: NDArray[np.uint8]


def draw_picture(rng: np.random.Generator, real: list[tuple[str, list[NDArray[np.uint8]]]]) -> Drawn:
    """Draw one training picture, half procedural and half real.

    Scenes are cut little and keep their hues, so that what their captions say is there to be seen.
    """
    procedural = not real or rng.uniform() < 0.5
    if procedural:
        zoom = rng.uniform(1.0, 1.25)
        size = (round(PICTURE_HEIGHT * zoom), round(PICTURE_WIDTH * zoom))
        scene = render_clip(int(rng.integers(2**31)), 1, *size, objects=int(rng.integers(1, 4)))
        frame, words = scene.frames_FHWC[0], scene.caption
        objects = scene.masks_FKHW[0].any(axis=0).astype(np.uint8) * 255
        depth = np.round(scene.depth_FHW[0] * 255).astype(np.uint8)
    else:
        words, frames = real[int(rng.integers(len(real)))]
        frame = frames[int(rng.integers(len(frames)))]
        objects = depth = np.zeros(frame.shape[:2], np.uint8)
    cut = _crop(np.dstack([frame, objects, depth]), rng, 1.0)
    picture = np.ascontiguousarray(cut[..., :3])
    if rng.uniform() < (0.3 if procedural else 0.7):
        picture = _recolour(picture, rng, hues=not procedural)
    return Drawn(picture, words, procedural, *(np.ascontiguousarray(cut[..., c]) for c in (3, 4)))
