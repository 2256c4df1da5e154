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

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from models.blend_operators import TAU
from models.remap import vote
from models.sampling import Correspond

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


def interpolate(
    frame: int,
    keys: Mapping[int, Image],
    correspond: Correspond,
    operator: Operator = "mean",
    patch: int = 5,
    tau: float = TAU,
) -> tuple[Image, float]:
    """Frame `frame` made of the keys of its shot, and how badly the better key matches there.

    `keys`: float32 [H,W,C] by shot-relative frame, any range; only the one or two around `frame` are read.
    `correspond(target, source)`: fields at [H,W]. `operator`: "mean" mixes with `weights`; "confidence" multiplies
    them per pixel by exp(-error / tau) and divides by their sum.

    Returns float32 [H,W,C] within the bounds of the keys, and the mean over pixels of the smaller of the two match
    errors (mean squared difference, 0-255 scale). A key is returned as given, with error 0; equal keys on a steady
    guide give the same bits in every frame. Raises ConfigError for bad arguments.
    """
    check(operator, tau)
    if frame in keys:
        return keys[frame], 0.0
    shares = weights(frame, tuple(keys))
    moved, errors = [], []
    for key, _ in shares:
        offsets, error = correspond(frame, key)
        moved.append(vote(keys[key], offsets, patch))
        errors.append(error.astype(np.float32) / np.float32(3 * patch**2))
    missed = float(np.minimum.reduce(errors).mean(dtype=np.float64))
    if len(moved) == 1:
        return moved[0], missed
    share = share_of_right(shares[0][1], shares[1][1], errors[0], errors[1], tau if operator == "confidence" else None)
    # one product and not two, so that equal pictures stay as they are to the last bit
    mixed: Image = moved[0] + share[..., None] * (moved[1] - moved[0])
    return mixed, missed


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
