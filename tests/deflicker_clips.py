"""Guides, styles and fields that the deflicker tests share: textures, known motion, searched matches. No pytest."""

from __future__ import annotations

import cv2
import numpy as np

from models.patchmatch import identity, nnf
from models.sampling import Window

H, W = 40, 56
WAYS = [("mean", "table"), ("confidence", "table"), ("checked", "table")]
WAYS += [(operator, "naive") for operator in ("mean", "confidence", "checked", "trimmed")]
"""Every operator in every mode that knows it."""


def texture(height=H, width=W, seed=0):
    """A uint8 guide: smooth blobs and fine noise, so that matches are unique."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    fine = rng.integers(-20, 21, (height, width, 3))
    grown = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(grown + fine, 0, 255).astype(np.uint8)


def whole(n):
    """A shot of `n` frames as one window."""
    return Window(0, 0, n, n)


def styles(n, seed=0, height=H, width=W):
    """Style frames on the 0..255 scale of the specification."""
    rng = np.random.default_rng(seed)
    return {f: (255 * rng.random((height, width, 3))).astype(np.float32) for f in range(n)}


def in_place(target, source):
    """Nothing moves."""
    return identity(H, W)


def shifting(dy, dx):
    """Exactly composing fields: content moves by (dy, dx) a frame; matches are clamped to the picture."""
    y, x = np.mgrid[:H, :W]

    def correspond(target, source):
        k = source - target
        qy, qx = np.clip(y + k * dy, 0, H - 1), np.clip(x + k * dx, 0, W - 1)
        return np.stack([qy - y, qx - x], -1).astype(np.int16), np.zeros((H, W), np.float32)

    return correspond


def searched(frames, **settings):
    """Fields as the product searches them, each once."""
    known = {}

    def correspond(target, source):
        if (target, source) not in known:
            known[target, source] = nnf(frames[target], frames[source], **settings)
        return known[target, source]

    return correspond


def scattered(height, width):
    """Fields with nothing to them: random offsets and errors, by pair, that compose with no other."""
    y, x = np.mgrid[:height, :width]
    known = {}

    def correspond(target, source):
        if (target, source) not in known:
            rng = np.random.default_rng([target, source])
            wild = rng.integers(-2, 3, (height, width, 2))
            qy, qx = np.clip(y + wild[..., 0], 0, height - 1), np.clip(x + wild[..., 1], 0, width - 1)
            error = (rng.random((height, width)) * 9000).astype(np.float32)
            known[target, source] = np.stack([qy - y, qx - x], -1).astype(np.int16), error
        return known[target, source]

    return correspond
