"""A source frame in the light of its target: exposure that drifts, flicker of a film or a lamp, a fade.

Patches are told apart by their colour. When all of a frame is a few levels brighter than the next, staying in place
costs more than many a random patch of the right brightness, and matches scatter over everything plain. It knows two
pictures; not how they are searched.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REACH, NEAR = 24, 2
"""Levels: how far light may move for a pixel to be counted at all, and how near to its prediction a pixel must lie."""

SAMPLES = 64
"""Pixels looked at along the shorter side."""


def relit(target: NDArray[np.uint8], source: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`source` uint8 [H,W,3] under one gain and offset a channel that lead to the light of `target`; itself where
    that explains no more.

    Fitted by least squares over pixels that stayed in place: those whose difference is near the most frequent one.
    It is taken only where half as many pixels again come to lie within `NEAR` levels of their target; a camera that
    pans, or a picture that moved, gives no such light and is left alone. Sums are whole numbers, so that every machine
    finds the same picture.
    """
    step = max(1, min(target.shape[:2]) // SAMPLES)
    there, here = target[::step, ::step], source[::step, ::step]
    tables = [_fitted(there[..., c], here[..., c]) for c in range(3)]
    if 2 * _stayed(there, _lit(here, tables)) <= 3 * _stayed(there, here):
        return source
    return _lit(source, tables)


def _lit(picture: NDArray[np.uint8], tables: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.stack([table[picture[..., c]] for c, table in enumerate(tables)], axis=-1)


def _fitted(target: NDArray[np.uint8], source: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The table [256] from a level of one channel of `source` to that level in the light of `target`."""
    counts = np.bincount((source.astype(np.int64) << 8 | target).reshape(-1), minlength=1 << 16).reshape(256, 256)
    levels = np.arange(256)
    difference = levels - levels[:, None]
    moved = np.array([counts.trace(d) for d in range(-REACH, REACH + 1)])
    line = levels + float(np.argmax(np.convolve(moved, np.ones(2 * NEAR + 1, np.int64), "same")) - REACH)
    for near in (4 * NEAR, 2 * NEAR, 2 * NEAR):
        line = _line(np.where(np.abs(difference + levels[:, None] - line[:, None]) <= near, counts, 0))
    return np.clip(np.rint(line), 0, 255).astype(np.uint8)


def _line(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Target level [256] for each source level, by least squares over joint `counts` [source, target] of pixels."""
    levels = np.arange(256)
    at, to = counts.sum(1), counts.sum(0)
    n, x, y = int(at.sum()), int(at @ levels), int(to @ levels)
    xx, xy = int(at @ levels**2), int(levels @ counts @ levels)
    spread = n * xx - x * x
    gain = (n * xy - x * y) / spread if spread else 1.0
    return np.asarray(gain * levels + ((y - gain * x) / n if n else 0.0), np.float64)


def _stayed(target: NDArray[np.uint8], source: NDArray[np.uint8]) -> int:
    return int((np.abs(target.astype(np.int16) - source).max(-1) <= NEAR).sum())
