"""Frames between keyframes: pictures made for a few frames of a shot, carried to all others along correspondence.

Legend: H W picture, C channels; frame numbers are shot-relative; l and r are the keys before and after frame m. It
is handed the keys of one shot, so nothing crosses a cut. It knows no file, no store and no clip.
Source: FastBlend (arXiv 2311.09265), interpolation; unlike there, keys are returned as given and both sides are
matched on the guide alone, so that a repainted key needs no new match.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from models.blend_operators import TAU
from models.patchmatch import Field
from models.remap import vote
from models.sampling import Correspond
from models.style_match import grown

Image = NDArray[np.float32]
Operator = Literal["mean", "confidence"]

_STEEPEST = 80.0  # exp() of more leaves float32; a weight of exp(-80) is none


@dataclass(frozen=True)
class Segment:
    """Frames [first, stop) that the same one or two keys are responsible for; the keys themselves lie outside."""

    first: int
    stop: int
    keys: tuple[int, ...]

    @property
    def frames(self) -> range:
        """Its frames."""
        return range(self.first, self.stop)


def segments(shot_frames: int, keys: Iterable[int]) -> tuple[Segment, ...]:
    """Everything that is no key, in order: before the first key, between neighbours, after the last.

    Raises ConfigError without a key, or with one outside the shot.
    """
    placed = sorted(set(keys))
    if not placed:
        raise ConfigError("a shot needs at least one keyframe")
    if placed[0] < 0 or placed[-1] >= shot_frames:
        raise ConfigError(f"keyframes of a shot of {shot_frames} frames must lie in it, got {placed}")
    found = [Segment(0, placed[0], (placed[0],))]
    found += [Segment(left + 1, right, (left, right)) for left, right in pairwise(placed)]
    found.append(Segment(placed[-1] + 1, shot_frames, (placed[-1],)))
    return tuple(segment for segment in found if segment.frames)


def weights(frame: int, keys: Sequence[int]) -> tuple[tuple[int, float], ...]:
    """The keys that frame `frame` is made of, with their shares, which sum to 1.

    (r - m) / (r - l) and (m - l) / (r - l) between two keys; 1 for the nearest outside them, and for a key itself.
    """
    left = max((key for key in keys if key <= frame), default=None)
    right = min((key for key in keys if key >= frame), default=None)
    if left is None or right is None or left == right:
        only = left if left is not None else right
        if only is None:
            raise ConfigError("a shot needs at least one keyframe")
        return ((only, 1.0),)
    span = right - left
    return ((left, (right - frame) / span), (right, (frame - left) / span))


def pairs_for_keys(shot_frames: int, keys: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """The (target, source) pairs whose fields `interpolate` asks for over the whole shot, by target."""
    return tuple((m, key) for s in segments(shot_frames, keys) for m in s.frames for key in s.keys)


@dataclass(frozen=True, eq=False)
class Mix:
    """What a frame is made of: for each of the one or two keys its field int16 [h,w,2], and the last one's share.

    `missed` is how badly the better key matches there: the mean over pixels of the smaller of the two match errors
    (mean squared difference of a value, 0-255 scale).
    """

    fields: Mapping[int, Field]
    share: NDArray[np.float32] | None
    missed: float

    def of(self, pictures: Mapping[int, Image], patch: int = 5) -> Image:
        """The same mix of any pictures [H,W,C] of the keys, also larger ones than were matched: fields are enlarged."""
        moved = []
        for key, offsets in self.fields.items():
            height, width = pictures[key].shape[:2]
            field = offsets if offsets.shape[:2] == (height, width) else grown(offsets, height, width)
            moved.append(vote(pictures[key], field, patch))
        if self.share is None:
            return moved[0]
        share = self.share
        if share.shape != moved[0].shape[:2]:
            share = cv2.resize(share, moved[0].shape[1::-1], interpolation=cv2.INTER_LINEAR)
        # one product and not two, so that equal pictures stay as they are to the last bit
        mixed: Image = moved[0] + share[..., None] * (moved[1] - moved[0])
        return mixed


def mix_of(
    frame: int,
    keys: Iterable[int],
    correspond: Correspond,
    operator: Operator = "mean",
    patch: int = 5,
    tau: float = TAU,
) -> Mix:
    """What frame `frame` of the shot, which is none of `keys`, is made of; arguments as of `interpolate`."""
    check(operator, tau)
    shares = weights(frame, tuple(keys))
    found = {key: correspond(frame, key) for key, _ in shares}
    errors = [error.astype(np.float32) / np.float32(3 * patch**2) for _, error in found.values()]
    missed = float(np.minimum.reduce(errors).mean(dtype=np.float64))
    share = None
    if len(shares) > 1:
        trust = tau if operator == "confidence" else None
        share = share_of_right(shares[0][1], shares[1][1], errors[0], errors[1], trust)
    return Mix({key: offsets for key, (offsets, _) in found.items()}, share, missed)


def interpolate(
    frame: int,
    keys: Mapping[int, Image],
    correspond: Correspond,
    operator: Operator = "mean",
    patch: int = 5,
    tau: float = TAU,
) -> tuple[Image, float]:
    """Frame `frame` made of the keys of its shot, and how badly the better key matches there (see `Mix`).

    `keys`: float32 [H,W,C] by shot-relative frame, any range; only the one or two around `frame` are read.
    `correspond(target, source)`: fields at [H,W]. `operator`: "mean" mixes with `weights`; "confidence" multiplies
    them per pixel by exp(-error / tau) and divides by their sum.

    Returns float32 [H,W,C] within the bounds of the keys. A key is returned as given, with error 0; equal keys on a
    steady guide give the same bits in every frame. Raises ConfigError for bad arguments.
    """
    check(operator, tau)
    if frame in keys:
        return keys[frame], 0.0
    mix = mix_of(frame, keys, correspond, operator, patch, tau)
    return mix.of(keys, patch), mix.missed


def share_of_right(
    left: float, right: float, left_error: Image, right_error: Image, tau: float | None
) -> NDArray[np.float32]:
    """The right key's weight [H,W] in [0, 1]; the left one has the rest, so that they sum to 1 by construction.

    right c_r / (left c_l + right c_r) with c = exp(-error / tau), written with the difference of the errors: where
    both match badly the weights by distance remain, and not 0 / 0. `tau` None: c = 1.
    """
    if tau is None:
        return np.full(left_error.shape, right / (left + right), np.float32)
    steep = np.clip((right_error - left_error) / np.float32(tau), -_STEEPEST, _STEEPEST)
    share: NDArray[np.float32] = 1 / (1 + np.float32(left / right) * np.exp(steep, dtype=np.float32))
    return share


def check(operator: str, tau: float = TAU) -> None:
    """Refuse an operator or tau that mean nothing between keyframes."""
    if operator not in ("mean", "confidence"):
        raise ConfigError(f"between keyframes deflicker.operator must be 'mean' or 'confidence', got {operator!r}")
    if not tau > 0:
        raise ConfigError(f"tau must be > 0, got {tau}")
