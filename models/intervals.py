"""How far a mean can be trusted: bootstrap intervals, in blocks where values follow one another.

Legend: values are one number per pair of frames (or per clip), NaN where there is none. It knows no pictures.

Consecutive pairs of a clip are alike: a fast passage has many bad pairs in a row. A bootstrap that draws them one by
one takes them for independent news and gives intervals that are too narrow. Drawing *blocks* of neighbours keeps their
likeness within a block (moving blocks: Künsch, Annals of Statistics 1989). Independent clips need no blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError

_AT_ONCE = 1 << 20
"""Values drawn at once: memory does not grow with the clip."""


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its confidence interval."""

    mean: float
    low: float
    high: float


def bootstrap_ci(
    values: Sequence[float], confidence: float = 0.95, resamples: int = 2000, seed: int = 0, block: int = 1
) -> Interval:
    """Mean of `values` (NaN left out) with a percentile bootstrap interval (Efron 1979).

    `block`: how many consecutive values are drawn together; 1 for independent values (one per clip or shot), for the
    pairs of a single clip `block_length(values)`. All NaN when empty.
    """
    return bootstrap_of(_itself, values, confidence=confidence, resamples=resamples, seed=seed, block=block)


def bootstrap_of(
    figure: Callable[..., float],
    *series: Sequence[float],
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
    block: int = 1,
) -> Interval:
    """`figure` of the means of several series with its interval; all series are drawn at the same places.

    For ratios and the like: what the series have in common (a hard passage) then cancels. A place counts where every
    series has a number. Ends are NaN where some draw leaves `figure` undefined. Raises ConfigError for series of
    unequal length or a block below 1.
    """
    if block < 1 or len({len(s) for s in series}) != 1:
        raise ConfigError(f"bootstrap needs block >= 1 and series of one length, got {block}, {[*map(len, series)]}")
    table = np.asarray(series, np.float64)
    known = table[:, ~np.isnan(table).any(0)]
    count = known.shape[1]
    if not count:
        return Interval(math.nan, math.nan, math.nan)
    means = _means(known, min(block, count), resamples, np.random.default_rng(seed))
    centre = known.mean(1)
    if block > 1:  # the ends of a clip lie in fewer blocks, so that the draws are off centre (Lahiri 1992)
        means += centre - means.mean(0)
    found = [figure(*row) for row in means.tolist()]
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(figure(*map(float, centre))), float(low), float(high))


def block_length(values: Sequence[float]) -> int:
    """Length of the blocks to draw from `values` (NaN left out): 1 where neighbours are unlike, longer where alike.

    (sqrt(6) r / (1 - r^2))^(2/3) n^(1/3) with r the correlation of neighbours: what is best for the variance of the
    mean of a first-order autoregression, by the plug-in of Andrews (Econometrica 1991) for Bartlett weights, which
    moving blocks equal. At most a third of the values, so that there is something to draw from.
    """
    known = np.asarray([v for v in values if not math.isnan(v)], np.float64)
    around = known - known.mean() if known.size else known
    power = float((around**2).sum())
    if known.size < 3 or power == 0:
        return 1
    alike = min(abs(float((around[1:] * around[:-1]).sum()) / power), 0.97)
    best = (math.sqrt(6) * alike / (1 - alike**2)) ** (2 / 3) * known.size ** (1 / 3)
    return max(1, min(round(best), known.size // 3))


def _means(known: NDArray[np.float64], block: int, resamples: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Means of drawn values, [resamples, series]: runs of `block` neighbours, the last of a draw cut short."""
    count = known.shape[1]
    at_once, parts = max(1, _AT_ONCE // count), []
    for first in range(0, resamples, at_once):
        draws = min(at_once, resamples - first)
        starts = rng.integers(0, count - block + 1, (draws, -(-count // block), 1))
        places = (starts + np.arange(block)).reshape(draws, -1)[:, :count]
        parts.append(known[:, places].mean(-1).T)
    return np.concatenate(parts)


def _itself(mean: float) -> float:
    return mean
