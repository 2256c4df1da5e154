"""What each blend operator makes of pictures that were remapped into one frame: weights, trimming, detail.

Legend: H W picture, C channels. A *weighed* picture [H,W,C+1] carries its weight as last channel and its
values times that weight, so that sums of them carry their weights along. It knows no frame number and no table.

- mean: every frame the same weight.
- confidence: coarse structure from that mean, detail (below the patch's scale) from a mean weighted per pixel
  by exp(-error / tau), so that pixels without a counterpart do not blur, but take part in the colour.
- checked: the same with other weights: how nearly the way to the match and back closes. Needs no tau and no
  likeness, but each field both ways. Strict: a flat area's matches seldom close, so more flicker stays there.
- trimmed: the mean of the middle half of the values, pixel by pixel. It needs every frame by itself, while a
  table entry is a sum in which one bad frame hides (throwing out the sum would throw out good ones with it,
  half of a window at a time): so it exists in naive mode only. A pixel seen by the target alone is itself the
  outlier: against occlusion it does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from configs.job import Operator
from models.patchmatch import Field
from models.tables import Mode

Image = NDArray[np.float32]

TAU = 100.0
"""Operator "confidence": mean squared difference of a patch (0-255 scale) at which a weight falls to 1/e."""


def check(w: int, operator: str, tau: float = TAU, mode: str = "table", detail: float = 0.0) -> None:
    """Refuse a radius, operator, tau, mode or detail that means nothing, and operators a mode cannot do."""
    if w < 0:
        raise ConfigError(f"deflicker.window must be >= 0, got {w}")
    if operator not in get_args(Operator):
        raise ConfigError(f"deflicker.operator must be one of {', '.join(get_args(Operator))}, got {operator!r}")
    if mode not in get_args(Mode):
        raise ConfigError(f"deflicker.mode must be one of {', '.join(get_args(Mode))}, got {mode!r}")
    if operator == "trimmed" and mode != "naive":
        raise ConfigError(
            "deflicker.operator trimmed compares frames one by one, but a table holds sums of them: "
            "set deflicker.mode to naive too, or choose the operator confidence or checked"
        )
    if not tau > 0:
        raise ConfigError(f"tau must be > 0, got {tau}")
    if not 0.0 <= detail <= 1.0:
        raise ConfigError(f"deflicker.detail must be within 0 and 1, got {detail}")


def weighed(image: Image) -> Image:
    """[H,W,C] to [H,W,C+1]: the picture and its weight 1."""
    return np.concatenate([image, np.ones((*image.shape[:2], 1), np.float32)], axis=2, dtype=np.float32)


def plain(total: Image) -> Image:
    """[H,W,C+1] back to [H,W,C]: divided by its weight."""
    out: Image = total[..., :-1] / total[..., -1:]
    return out


def confidence(error: NDArray[np.float32], patch: int, tau: float) -> Image:
    """Weights [H,W,1] in (0, 1] from patch errors [H,W] as `models.patchmatch.nnf` returns them."""
    per_value = error.astype(np.float32) / np.float32(3 * patch**2)
    trust: Image = np.exp(-per_value / np.float32(tau))[..., None]
    return trust


def closes(there: Field, back: Field, patch: int) -> Image:
    """Weights [H,W,1] in [0, 1]: exp(-gap^2 / 2 r^2), the gap in pixels left by going there and back.

    `there`: target to source; `back`: source to target; int16 [H,W,2]. r, the patch's radius, is as far as
    two patches may lie apart and still be about the same thing; at twice that 0.14 is left, at four times
    less than 0.001. Soft, since searched fields err by a pixel, and a threshold would flicker.
    """
    height, width = there.shape[:2]
    y, x = np.mgrid[:height, :width]
    qy, qx = np.clip(y + there[..., 0], 0, height - 1), np.clip(x + there[..., 1], 0, width - 1)
    gap = there.astype(np.float32) + back[qy, qx]
    square = (gap**2).sum(-1, dtype=np.float32)
    trust: Image = np.exp(-square / np.float32(2 * (patch // 2) ** 2))[..., None]
    return trust


def trimmed_mean(members: Sequence[Image]) -> Image:
    """Mean [H,W,C] of the middle half of `members`, each value by itself (the interquartile mean).

    A quarter, rounded, is left out at either end; of two members none is, of three all but the middle.
    """
    count = len(members)
    out = min((count + 2) // 4, (count - 1) // 2)
    middle = np.sort(np.stack(members), axis=0)[out : count - out]
    mean: Image = middle.mean(0, dtype=np.float32)
    return mean


def coarse(image: Image, patch: int) -> Image:
    """What is left of [H,W,C] after a Gaussian blur: structure larger than the patches that voted."""
    blurred = cv2.GaussianBlur(image, (0, 0), patch // 2, borderType=cv2.BORDER_REFLECT_101)
    smooth: Image = blurred.reshape(image.shape)  # cv2 drops a channel axis of one
    return smooth


def with_detail(blended: Image, own: Image, share: float, patch: int) -> Image:
    """`blended` with `share` of its detail below the patch's scale replaced by the frame's own.

    Takes back what blending blurred, and of the flicker that part which is as fine; colours stay as blended.
    """
    lost = own - blended
    out: Image = blended + np.float32(share) * (lost - coarse(lost, patch))
    return out
