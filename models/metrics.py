"""How steady and how faithful a restyled clip is, beside its source and its control.

Legend: F frames, H W picture; pictures uint8 or float [H,W,3] on the 0-255 scale, arithmetic in float32.
Pixel-MSE is defined on flow of the *source* (`models.flow`), so that flicker cannot hide in the flow. Low
flicker alone rewards blur: read it with `psnr` and with `models.sharpness`. `models.match_error` is a second
opinion without flow, `models.intervals` says how far a mean can be trusted. It knows no job and no file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from models.flow import PairFlow, large_enough, pair_flow, warp
from models.intervals import Interval, bootstrap_ci
from models.pair_meter import PairMeter, mean
from models.sharpness import sharpness, sharpness_ratio

__all__ = [
    "CONVENTIONS",
    "PSNR_CEILING",
    "Convention",
    "FlickerMeter",
    "Interval",
    "bootstrap_ci",
    "excess_flicker",
    "pair_mse",
    "pixel_mse",
    "psnr",
    "seam_ratio",
    "sharpness",
    "sharpness_ratio",
]

Convention = Literal["masked", "all", "minus_forward", "no_warp"]
Picture = NDArray[Any]

PSNR_CEILING = 100.0
"""dB: what one value in 150 000 off by one level leaves; nobody compares beyond."""

CONVENTIONS: tuple[Convention, ...] = ("masked", "all", "minus_forward", "no_warp")
"""Ours first, then the two that published evaluations use, then what no motion compensation at all gives."""


def pair_mse(before: Picture, after: Picture, flow: PairFlow | None, convention: Convention = "masked") -> float:
    """Mean squared difference (0-255 scale) of edited frame t + 1 and frame t moved along source flow.

    `masked`, ours: backward flow, pixels inside the frame and consistent both ways. `all`: backward flow, all
    pixels, zeros outside. `minus_forward`: frame t read at x - forward flow, all pixels (published
    evaluations do either; they differ by up to 60x and cannot be compared). `no_warp`: frame t as it is, all
    pixels: motion and flicker together. NaN when no pixel counts, or where the source gave no flow (None) and one is
    needed. On the 0-1 scale all are 65025x smaller. Raises ConfigError for frames and flow of unequal size.
    """
    if convention not in CONVENTIONS:
        raise ConfigError(f"convention must be one of {', '.join(CONVENTIONS)}, got {convention!r}")
    size = before.shape[:2] if flow is None else flow.mask.shape
    if not before.shape == after.shape == (*size, *before.shape[2:]):
        raise ConfigError(
            f"frames to compare must be of one size and their flow's, got {before.shape} and {after.shape} "
            f"along flow of {size}"
        )
    early, late = before.astype(np.float32), after.astype(np.float32)
    if convention == "no_warp":
        return float(((early - late) ** 2).mean(dtype=np.float64))
    if flow is None:
        return math.nan
    if convention == "masked":
        squares = ((warp(early, flow.backward) - late) ** 2).mean(-1)[flow.mask]
        return float(squares.mean(dtype=np.float64)) if squares.size else math.nan
    early = warp(early, flow.backward if convention == "all" else -flow.forward)
    return float(((early - late) ** 2).mean(dtype=np.float64))


def pixel_mse(
    edited: Sequence[Picture], flows: Sequence[PairFlow], convention: Convention = "masked"
) -> tuple[float, ...]:
    """`pair_mse` of each pair of consecutive frames: F - 1 numbers for F frames and F - 1 flows."""
    if len(flows) != len(edited) - 1:
        raise ConfigError(f"{len(edited)} frames need {len(edited) - 1} flows, got {len(flows)}")
    return tuple(pair_mse(edited[t], edited[t + 1], flow, convention) for t, flow in enumerate(flows))


class FlickerMeter(PairMeter):
    """Pixel-MSE per pair of any number of clips over one source, frame by frame, along the source's flow.

    `convention` is the one of `pairs` and `mean`; the conventions named in `beside` are measured on the same flow and
    lie in `courses[convention]`. The flow of a pair is computed once for all clips and conventions; frames that are not
    `models.flow.large_enough` for it have NaN in all of them but `no_warp`.
    """

    def __init__(self, convention: Convention = "masked", beside: Collection[Convention] = ()) -> None:
        super().__init__(*dict.fromkeys((convention, *beside)))
        self.convention: Convention = convention
        self._conventions = tuple(dict.fromkeys((convention, *beside)))

    @property
    def pairs(self) -> dict[str, list[float]]:
        """One value per pair of consecutive frames fed and clip, NaN where a cut lies between."""
        return self.courses[self.convention]

    def _compare(self, both: Mapping[str, tuple[Picture, Picture]]) -> Mapping[str, Mapping[str, float]]:
        flow = pair_flow(*both["source"]) if large_enough(both["source"][0]) else None
        return {c: {name: pair_mse(*two, flow, c) for name, two in both.items()} for c in self._conventions}

    def mean(self, name: str) -> float:
        """Mean over the pairs that count; NaN when there is none."""
        return mean(self.pairs.get(name, ()))


def excess_flicker(out: float, source: float, control: float) -> float:
    """Share of the control's added flicker that is left: 0 as steady as the source, 1 as bad as the control.

    (out - source) / (control - source) of mean Pixel-MSE; negative when smoother than the source (suspect
    blur). NaN when the control flickers no more than the source, for then there is nothing to remove.
    """
    return (out - source) / (control - source) if control > source else math.nan


def psnr(picture: Picture, reference: Picture) -> float:
    """Peak signal-to-noise ratio in dB on the 0-255 scale, at most PSNR_CEILING: that is what equal pictures have.

    So that a mean over frames, which is how clips are compared, exists where one frame is equal (black before a film).
    """
    if picture.shape != reference.shape:
        raise ConfigError(f"pictures to compare must be of one size, got {picture.shape} and {reference.shape}")
    error = float(((picture.astype(np.float32) - reference.astype(np.float32)) ** 2).mean(dtype=np.float64))
    return min(PSNR_CEILING, 10.0 * math.log10(255.0**2 / error)) if error else PSNR_CEILING


def seam_ratio(
    per_pair_mse: Sequence[float], window_starts: Collection[int], shots: Sequence[tuple[int, int]]
) -> float:
    """Mean Pixel-MSE of pairs across window borders over that of pairs inside windows: 1 means no seams.

    `per_pair_mse[t]`: pair (t, t + 1) of the clip. `window_starts`: first frame of each window, counted in
    the clip. `shots`: [first, last) of each. Pairs across cuts are left out. Taken per shot that has both
    kinds of pair, so that shots of different motion do not mix, then averaged with the number of borders as
    weight; NaN when no shot has.
    """
    starts, total, borders = frozenset(window_starts), 0.0, 0
    for first, last in shots:
        pairs = [t for t in range(first, last - 1) if not math.isnan(per_pair_mse[t])]
        across = [per_pair_mse[t] for t in pairs if t + 1 in starts]
        inside = [per_pair_mse[t] for t in pairs if t + 1 not in starts]
        if across and inside and mean(inside) > 0:
            total += len(across) * mean(across) / mean(inside)
            borders += len(across)
    return total / borders if borders else math.nan
