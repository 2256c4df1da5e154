"""Flat layers moved by one linear map each: painting them, and what follows exactly from their maps.

Knows premultiplied pictures, labels, flow, occlusion and depth; refuses to know what a layer shows. A pixel's
label is the front-most layer that covers more than half of it; its motion is that layer's.

Shape suffixes: K objects, L layers, H height, W width, C colour channels (RGB; layers also carry alpha).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from models.pocket.scene_camera import Matrix

Float = NDArray[np.float32]
Mask = NDArray[np.bool_]
Labels = NDArray[np.int16]


@dataclass(frozen=True)
class Layer:
    """A premultiplied RGBA picture, its 3x3 map from own pixels to the frame's at a given frame, and its place.

    thing: index of the object it is a part of. depth: 0 far to 1 near at the picture's row 0, and its rise per row.
    """

    picture_HWC: Float
    at: Callable[[int], Matrix]
    thing: int | None = None
    depth: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class Painting:
    """One painted frame: colours in [0, 1], labels, and visible pixels of each object."""

    picture_HWC: Float
    labels_HW: Labels
    masks_KHW: Mask


def _window(corners: Matrix, height: int, width: int) -> tuple[int, int, int, int] | None:
    low, high = np.floor(corners[:2].min(axis=1)) - 1, np.ceil(corners[:2].max(axis=1)) + 2
    left, top = max(0, int(low[0])), max(0, int(low[1]))
    right, bottom = min(width, int(high[0])), min(height, int(high[1]))
    return None if right <= left or bottom <= top else (left, top, right, bottom)


def paint(layers: Sequence[Layer], frame: int, things: int, height: int, width: int) -> Painting:
    """Paint layers from back to front."""
    picture = np.zeros((height, width, 3), dtype=np.float32)
    labels = np.zeros((height, width), dtype=np.int16)
    covers = np.zeros((things, height, width), dtype=np.float32)
    for index, layer in enumerate(layers):
        place = layer.at(frame)
        high, wide = layer.picture_HWC.shape[:2]
        corners = place @ np.array([[0, wide, 0, wide], [0, 0, high, high], [1, 1, 1, 1]], dtype=np.float64)
        window = _window(corners, height, width)
        if window is None:
            continue
        left, top, right, bottom = window
        local = place[:2].copy()
        local[:, 2] -= (left, top)
        warped = cv2.warpAffine(layer.picture_HWC, local, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
        area = (slice(top, bottom), slice(left, right))
        alpha = np.asarray(warped[..., 3], np.float32)
        clear = 1 - alpha
        picture[area] = warped[..., :3] + picture[area] * clear[..., None]
        labels[area][alpha > 0.5] = index
        covers[(slice(None), *area)] *= clear
        if layer.thing is not None:
            covers[(layer.thing, *area)] += alpha
    return Painting(picture, labels, covers > 0.5)


def flow_between(layers: Sequence[Layer], labels_HW: Labels, frame: int, other: int) -> Float:
    """Return (H, W, 2) float32 (dx, dy) px: what `frame` shows at p is at p + flow in frame `other`."""
    maps = np.stack([layer.at(other) @ np.linalg.inv(layer.at(frame)) for layer in layers])[:, :2]
    steps = (maps - np.eye(3)[:2]).astype(np.float32)[labels_HW]
    ys, xs = np.mgrid[0 : labels_HW.shape[0], 0 : labels_HW.shape[1]].astype(np.float32)
    return np.asarray(steps[..., 0] * xs[..., None] + steps[..., 1] * ys[..., None] + steps[..., 2], np.float32)


def occluded(labels_HW: Labels, other_HW: Labels, flow_HWC: Float) -> Mask:
    """Return the pixels whose counterpart lies outside the other frame or behind another layer there.

    The counterpart is looked up between four pixels, and one of another layer is enough: it would be mixed in.
    """
    height, width = labels_HW.shape
    ys, xs = np.mgrid[0:height, 0:width]
    x, y = xs + flow_HWC[..., 0], ys + flow_HWC[..., 1]
    hidden = (x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)
    left, top = (np.floor(v + 1e-3).astype(np.int64) for v in (x, y))
    right, bottom = (np.ceil(v - 1e-3).astype(np.int64) for v in (x, y))
    for column in (left, right):
        for row in (top, bottom):
            hidden |= other_HW[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)] != labels_HW
    return np.asarray(hidden)


def depth_of(layers: Sequence[Layer], labels_HW: Labels, frame: int) -> Float:
    """Return (H, W) float32 depth, 0 far to 1 near."""
    rows = np.stack([np.linalg.inv(layer.at(frame))[1] for layer in layers]).astype(np.float32)
    offsets = np.array([layer.depth for layer in layers], dtype=np.float32)
    plane = rows * offsets[:, 1:] + np.array([[0, 0, 1]], np.float32) * offsets[:, :1]
    ys, xs = np.mgrid[0 : labels_HW.shape[0], 0 : labels_HW.shape[1]].astype(np.float32)
    a = plane[labels_HW]
    return np.asarray(np.clip(a[..., 0] * xs + a[..., 1] * ys + a[..., 2], 0, 1), dtype=np.float32)
