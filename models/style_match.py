"""Fields that the blended pictures have a say in: guide and style matched together (`deflicker.match`).

Legend: H W picture. *Guides* are source frames, *style* is the picture that is about to be remapped. The error of
a match is alpha * SSD(guides) + SSD(T, style), where T, the style's stand-in for the target frame, is what the
present field makes of the style itself (`vote`). So the style term asks whether overlapping patches agree; it
never sees the target's own style frame. Where the guides are equal and the field starts in place, T equals the
style, the error is zero and no candidate is strictly better: such a field stays the identity whatever the style
(oracle 3), and a flat guide gives a coherent field no reason to move.

- "style", ours: starts from the cached guide field and repairs it nearby (`refine`).
- "fastblend": the search of FastBlend's published code (arXiv 2311.09265) from nothing (`fastblend`): pyramid,
  patches 13 to 5, propagation and local random tries. Its bugs are not copied: offsets are relative, so they stay
  exact at any size (absolute coordinates do not survive a resize); random numbers are keyed, so batches change
  nothing; pictures stay float (it truncates to 8 bit at each pass); a coarse field is never shifted by parity.

Knows pictures, frame numbers and a cached field; not where they come from. Same bits however windows are cut.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from models.patchmatch import Field
from models.remap import vote
from models.sampling import Correspond
from models.style_kernels import Border, Image, judge, packed, propagate, scatter

Guide = NDArray[np.uint8]
Key = tuple[int, ...]
Mode = Literal["style", "fastblend"]

ALPHA = 10.0
"""Weight of the guides' SSD against the style's, as published."""

REACH = 4
"""Random candidates lie within this many pixels of the present match, as published."""

DRAWS = 3
ROUNDS = 2
SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))


@dataclass(frozen=True, eq=False)
class StyleFields:
    """The `fields` of `blending.blend` for pictures in [0, 1]: asked anew for each picture that is remapped.

    `guides`: uint8 [H,W,3] by shot-relative frame. `correspond`: cached guide fields at the same size, asked by
    "style" only. `patch`: side of the voting patches; "fastblend" goes down to it from `patch + 8`.
    """

    guides: Mapping[int, Guide]
    correspond: Correspond
    mode: Mode
    patch: int = 5
    seed: int = 0

    def __call__(self, target: int, source: int, weighed: Image) -> tuple[Field, NDArray[np.float32]]:
        """Offsets int16 [H,W,2] and error [H,W] for `weighed` [H,W,3+1], values times weight, weight last."""
        weight = np.maximum(weighed[..., -1:], np.float32(1e-6))
        style = np.ascontiguousarray(weighed[..., :-1] / weight * np.float32(255), dtype=np.float32)
        guides, key = (self.guides[target], self.guides[source]), (self.seed, target, source)
        if self.mode == "fastblend":
            return fastblend(*guides, style, self.patch, key)
        offsets, _ = self.correspond(target, source)
        return refine(*guides, style, offsets, self.patch, key)


def refine(
    target: Guide,
    source: Guide,
    style: Image,
    offsets: Field,
    patch: int = 5,
    key: Key = (0,),
    rounds: int = ROUNDS,
    alpha: float = ALPHA,
) -> tuple[Field, NDArray[np.float32]]:
    """Improve a field by its neighbours' matches and random ones within `REACH` pixels, on guide and style.

    `target`, `source`: uint8 [H,W,3]. `style`: float32 [H,W,3] on the 0..255 scale, in the source's geometry.
    `offsets`: int16 [H,W,2]. `rounds`: at most so many; each is kept only if the summed error, measured with the
    field's own vote, fell. So the result is never worse than what came in.

    Returns the field and its error as (alpha * SSD(guides) + SSD(vote, style)) / (alpha + 1), float32 [H,W]: on
    the scale of `patchmatch.nnf`, for the same confidence. Raises ConfigError when sizes differ.
    """
    search = _Search(target, source, style, alpha, patch // 2, "edge")
    offsets = _inside(offsets, *_size(target, source, style, offsets))
    voted = search.target(offsets, patch)
    errors = search.judge(voted, offsets, patch)
    for turn in range(rounds):
        tried = search.round(voted, offsets, errors, patch, (*key, 0, turn))
        again = search.target(tried, patch)
        found = search.judge(again, tried, patch)
        if not found.sum(dtype=np.float64) < errors.sum(dtype=np.float64):
            break
        offsets, voted, errors = tried, again, found
    return offsets, errors / np.float32(alpha + 1)


def fastblend(
    target: Guide, source: Guide, style: Image, patch: int = 5, key: Key = (0,), rounds: int = 5, alpha: float = ALPHA
) -> tuple[Field, NDArray[np.float32]]:
    """Match on guide and style from the identity, coarse to fine, as FastBlend's published code does.

    Arguments and returns as in `refine`. Pyramid of int(log2(min(H, W) / largest patch)) levels (at least one) of
    H // 2**q x W // 2**q pixels; on each, `rounds` rounds with patches that shrink by two to `patch`. What lies
    outside the picture is zero in both terms.
    """
    height, width = _size(target, source, style)
    largest = patch + 2 * (rounds - 1)
    levels = max(1, int(math.log2(max(1.0, min(height, width) / largest))))
    offsets = np.zeros((1, 1, 2), np.int16)
    for q in reversed(range(levels)):
        size = height // 2**q, width // 2**q
        small = (_resized(target, *size), _resized(source, *size), _resized(style, *size))
        search = _Search(small[0], small[1], small[2], alpha, largest // 2, "constant")
        offsets = grown(offsets, *size)
        for turn in range(rounds):
            side = largest - 2 * turn
            voted = search.target(offsets, side)
            errors = search.judge(voted, offsets, side)
            offsets = search.round(voted, offsets, errors, side, (*key, q, turn))
    return offsets, search.judge(search.target(offsets, patch), offsets, patch) / np.float32(alpha + 1)


class _Search:
    """One level: both guides and the style, packed once; `pad` pixels of `border` around them."""

    def __init__(
        self,
        target: NDArray[np.generic],
        source: NDArray[np.generic],
        style: Image,
        alpha: float,
        pad: int,
        border: Border,
    ) -> None:
        self.guide, self.style, self.alpha, self.pad, self.border = target, style, alpha, pad, border
        self.source = packed(source, style, alpha, pad, border)

    def target(self, offsets: Field, patch: int) -> Image:
        """The target's guide packed with T, the present field's vote on the style."""
        return packed(self.guide, vote(self.style, offsets, patch), self.alpha, self.pad, self.border)

    def judge(self, target: Image, offsets: Field, patch: int) -> NDArray[np.float32]:
        """Error of each match."""
        errors = np.empty(offsets.shape[:2], np.float32)
        judge(target, self.source, self.pad, patch, offsets, errors)
        return errors

    def round(self, target: Image, offsets: Field, errors: NDArray[np.float32], patch: int, key: Key) -> Field:
        """Four neighbours in random order, then `DRAWS` random candidates; T fixed, arguments left as they are."""
        offsets, errors = offsets.copy(), errors.copy()
        for n in sorted(range(len(SIDES)), key=lambda side: _hash(*key, side)):
            before = offsets.copy()
            propagate(target, self.source, self.pad, patch, *SIDES[n], before, offsets, errors)
        for draw in range(len(SIDES), len(SIDES) + DRAWS):
            scatter(target, self.source, self.pad, patch, REACH, _hash(*key, draw), offsets, errors)
        return offsets


def _hash(*numbers: int) -> int:
    """63-bit key of (seed, target, source, level, round, draw)."""
    return int.from_bytes(hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest(), "little") >> 1


def _size(target: Guide, source: Guide, style: Image, offsets: Field | None = None) -> tuple[int, int]:
    height, width = target.shape[:2]
    wanted = (height, width, 3)
    if not target.shape == source.shape == style.shape == wanted:
        raise ConfigError(
            f"guides and style must all be [H,W,3] of one working size, "
            f"got {target.shape}, {source.shape} and {style.shape}"
        )
    if offsets is not None and offsets.shape != (height, width, 2):
        raise ConfigError(f"offsets must be {(height, width, 2)} for these frames, got {offsets.shape}")
    return height, width


def _inside(offsets: NDArray[np.generic], height: int, width: int) -> Field:
    """Matches moved to the nearest pixel of the picture."""
    y, x = np.mgrid[:height, :width]
    wanted = offsets.astype(np.int64)
    at = np.clip(y + wanted[..., 0], 0, height - 1), np.clip(x + wanted[..., 1], 0, width - 1)
    return np.stack([at[0] - y, at[1] - x], -1).astype(np.int16)


def grown(offsets: Field, height: int, width: int) -> Field:
    """A coarser field int16 [h,w,2] at this size: nearest offset, times the ratio of sizes, inside the picture."""
    rows, columns = offsets.shape[:2]
    near = offsets[np.arange(height)[:, None] * rows // height, np.arange(width) * columns // width]
    return _inside(np.rint(near * np.array([height / rows, width / columns])), height, width)


def _resized(picture: NDArray[np.generic], height: int, width: int) -> Image:
    """`picture` as float32 at [height,width,3], by area."""
    whole = picture.astype(np.float32)
    if whole.shape[:2] == (height, width):
        return whole
    small: Image = cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA)
    return small
