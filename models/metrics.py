"""How steady, how faithful and how sharp a restyled clip is, beside its source and its control.

Legend: F frames, H W picture; pictures uint8 or float [H,W,3] on the 0-255 scale, arithmetic in float32.
Pixel-MSE is defined on flow of the *source* (`models.flow`), so that flicker cannot hide in the flow. Low
flicker alone rewards blur: read it with `psnr` and `sharpness_ratio`. It knows no job and no file.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from models.flow import PairFlow, pair_flow, warp

Convention = Literal["masked", "all", "minus_forward"]
Picture = NDArray[Any]


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def pair_mse(before: Picture, after: Picture, flow: PairFlow, convention: Convention = "masked") -> float:
    """Mean squared difference (0-255 scale) of edited frame t + 1 and frame t moved along source flow.

    `masked`, ours: backward flow, pixels inside the frame and consistent both ways. `all`: backward flow, all
    pixels, zeros outside. `minus_forward`: frame t read at x - forward flow, all pixels (published
    evaluations do either; they differ by up to 60x and cannot be compared). NaN when no pixel counts.
    """
    early, late = before.astype(np.float32), after.astype(np.float32)
    if convention == "masked":
        squares = ((warp(early, flow.backward) - late) ** 2).mean(-1)[flow.mask]
        return float(squares.mean(dtype=np.float64)) if squares.size else math.nan
    if convention not in ("all", "minus_forward"):
        raise ConfigError(f"convention must be masked, all or minus_forward, got {convention!r}")
    moved = warp(early, flow.backward if convention == "all" else -flow.forward)
    return float(((moved - late) ** 2).mean(dtype=np.float64))


def pixel_mse(
    edited: Sequence[Picture], flows: Sequence[PairFlow], convention: Convention = "masked"
) -> tuple[float, ...]:
    """`pair_mse` of each pair of consecutive frames: F - 1 numbers for F frames and F - 1 flows."""
    if len(flows) != len(edited) - 1:
        raise ConfigError(f"{len(edited)} frames need {len(edited) - 1} flows, got {len(flows)}")
    return tuple(pair_mse(edited[t], edited[t + 1], flow, convention) for t, flow in enumerate(flows))


class FlickerMeter:
    """Pixel-MSE per pair of any number of clips over one source, frame by frame; holds two frames of each.

    Feed frames in order with `add`; after a cut call `cut` so that no pair crosses it. `pairs[name]` has one
    value per pair of consecutive frames fed, NaN where a cut lies between. The source itself is measured
    under "source".
    """

    def __init__(self, convention: Convention = "masked") -> None:
        self.convention: Convention = convention
        self.pairs: dict[str, list[float]] = {}
        self._source: NDArray[np.uint8] | None = None
        self._clips: dict[str, Picture] = {}
        self._first = True

    def cut(self) -> None:
        """The next frame starts a new shot."""
        self._source, self._clips = None, {}

    def add(self, source: NDArray[np.uint8], **clips: Picture) -> None:
        """The next frame: uint8 RGB source [H,W,3], and the same frame of each clip at the same size."""
        now: dict[str, Picture] = {"source": source, **clips}
        for name, picture in now.items():
            if picture.shape != source.shape:
                raise ConfigError(f"frame of {name!r} is {picture.shape}, the source's is {source.shape}")
        if not self._first:
            flow = pair_flow(self._source, source) if self._source is not None else None
            for name, picture in now.items():
                value = math.nan
                if flow is not None and name in self._clips:
                    value = pair_mse(self._clips[name], picture, flow, self.convention)
                self.pairs.setdefault(name, []).append(value)
        self._first, self._source, self._clips = False, source, now

    def mean(self, name: str) -> float:
        """Mean over the pairs that count; NaN when there is none."""
        return _mean(self.pairs.get(name, ()))


def excess_flicker(out: float, source: float, control: float) -> float:
    """Share of the control's added flicker that is left: 0 as steady as the source, 1 as bad as the control.

    (out - source) / (control - source) of mean Pixel-MSE; negative when smoother than the source (suspect
    blur). NaN when the control flickers no more than the source, for then there is nothing to remove.
    """
    return (out - source) / (control - source) if control > source else math.nan


def psnr(picture: Picture, reference: Picture) -> float:
    """Peak signal-to-noise ratio in dB on the 0-255 scale; infinite when equal."""
    if picture.shape != reference.shape:
        raise ConfigError(f"pictures to compare must be of one size, got {picture.shape} and {reference.shape}")
    error = float(((picture.astype(np.float32) - reference.astype(np.float32)) ** 2).mean(dtype=np.float64))
    return 10.0 * math.log10(255.0**2 / error) if error else math.inf


def sharpness(picture: Picture) -> float:
    """Mean square of the Laplacian of the luma of an RGB picture [H,W,3] (0-255); 0 for a flat picture."""
    luma = picture.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    edges = cv2.Laplacian(luma, cv2.CV_32F, ksize=1)[1:-1, 1:-1]
    return float((edges**2).mean(dtype=np.float64))


def sharpness_ratio(out: Iterable[Picture], reference: Iterable[Picture]) -> float:
    """Laplacian energy of `out` over that of `reference`, over all frames: 1 as sharp, below 1 blurred.

    Noise counts as sharpness: choose a reference of the same style and noise. NaN when the reference is flat.
    """
    mine, theirs = sum(map(sharpness, out)), sum(map(sharpness, reference))
    return mine / theirs if theirs else math.nan


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
        if across and inside and _mean(inside) > 0:
            total += len(across) * _mean(across) / _mean(inside)
            borders += len(across)
    return total / borders if borders else math.nan


def bootstrap_ci(values: Sequence[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0) -> Interval:
    """Mean of `values` (NaN left out) with a percentile bootstrap interval (Efron 1979).

    Consecutive pairs of one clip are correlated: give one value per clip or shot where you can. NaN when
    empty.
    """
    known = np.asarray([v for v in values if not math.isnan(v)], np.float64)
    if not known.size:
        return Interval(math.nan, math.nan, math.nan)
    rng = np.random.default_rng(seed)
    means = [known[rng.integers(0, known.size, known.size)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(known.mean()), float(low), float(high))


def _mean(values: Iterable[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) / len(known) if known else math.nan
