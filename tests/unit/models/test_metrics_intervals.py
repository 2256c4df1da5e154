"""Intervals: blocks repair what a plain bootstrap gets wrong on correlated values, and cost little on others."""

import math

import numpy as np
import pytest

from configs.errors import ConfigError
from models.intervals import block_length, bootstrap_ci, bootstrap_of
from models.metrics import excess_flicker

PAIRS, CLIPS = 120, 120


def autoregression(alike, seed, count=PAIRS, mean=5.0):
    """A first-order autoregression around `mean`: neighbours correlate by `alike`."""
    rng = np.random.default_rng(seed)
    values = [rng.normal(0, 1 / math.sqrt(1 - alike**2))]
    for step in rng.normal(0, 1, count - 1):
        values.append(alike * values[-1] + step)
    return [mean + v for v in values]


def coverage(alike, blocks):
    """How often a 95 % interval holds the true mean, and how wide it is."""
    held, widths = 0, []
    for seed in range(CLIPS):
        values = autoregression(alike, seed)
        interval = bootstrap_ci(values, resamples=200, block=block_length(values) if blocks else 1)
        held += interval.low <= 5.0 <= interval.high
        widths.append(interval.high - interval.low)
    return held / CLIPS, float(np.mean(widths))


def test_blocks_cover_where_neighbours_are_alike_and_single_values_do_not():
    plain, _ = coverage(0.7, blocks=False)
    blocked, _ = coverage(0.7, blocks=True)
    assert plain < 0.75, "the control arm: values drawn one by one promise 95 % and hold far less"
    assert blocked > plain + 0.1
    assert blocked > 0.8


def test_blocks_change_little_where_values_are_independent():
    (plain, width), (blocked, blocked_width) = (coverage(0.0, blocks) for blocks in (False, True))
    assert plain > 0.88
    assert blocked > 0.88
    assert 0.8 < blocked_width / width < 1.2


def test_block_length_follows_likeness_and_length():
    lengths = [block_length(autoregression(alike, 1, 400)) for alike in (0.0, 0.5, 0.9)]
    assert lengths == sorted(set(lengths))
    assert block_length(autoregression(0.7, 1, 30)) < block_length(autoregression(0.7, 1, 900))
    assert block_length(list(range(30))) <= 10, "never more than a third"
    assert [block_length(v) for v in ([], [1.0], [2.0, 2.0, 2.0, 2.0], [math.nan] * 5)] == [1, 1, 1, 1]


def test_block_of_one_is_the_plain_bootstrap_and_blocks_stay_centred():
    values = [30.0, *autoregression(0.3, 0, 40)]
    rng = np.random.default_rng(0)
    means = [np.asarray(values)[rng.integers(0, 41, 41)].mean() for _ in range(2000)]
    plain = bootstrap_ci(values)
    assert (plain.low, plain.high) == pytest.approx(np.quantile(means, [0.025, 0.975]))
    blocked = bootstrap_ci(values, block=8)
    assert blocked.mean == plain.mean
    assert blocked.low < blocked.mean < blocked.high, "the outlier lies at the end, where few blocks reach"


def test_what_series_share_cancels_in_a_ratio():
    rng = np.random.default_rng(0)
    source = np.exp(autoregression(0.8, 3, mean=2.0))
    out = 1.5 * source * np.exp(rng.normal(0, 0.02, PAIRS))
    ratio = bootstrap_of(lambda a, b: a / b, list(out), list(source), block=8)
    alone = bootstrap_ci(list(out), block=8)
    assert ratio.low < 1.5 < ratio.high
    assert (ratio.high - ratio.low) / ratio.mean < 0.1 * (alone.high - alone.low) / alone.mean


def test_a_figure_that_draws_leave_undefined_has_no_interval():
    """Where the control flickers about as much as the source, there is nothing sure to say of what was removed."""
    rng = np.random.default_rng(0)
    out, source, control = (list(rng.normal(10, 3, 40)) for _ in range(3))
    control[0] += 40.0
    excess = bootstrap_of(excess_flicker, out, source, control)
    assert math.isnan(excess.low)
    assert math.isnan(excess.high)
    clear = bootstrap_of(excess_flicker, out, source, [v + 50 for v in control])
    assert clear.low < clear.mean < clear.high


def test_missing_pairs_are_left_out_of_all_series():
    both = bootstrap_of(lambda a, b: a - b, [1.0, math.nan, 3.0], [1.0, 50.0, 1.0])
    assert both.mean == 1.0
    assert math.isnan(bootstrap_of(lambda a, b: a, [1.0, math.nan], [math.nan, 1.0]).mean)


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ConfigError, match=r"block >= 1 .* got 0"):
        bootstrap_ci([1.0, 2.0], block=0)
    with pytest.raises(ConfigError, match=r"one length, got 1, \[2, 3\]"):
        bootstrap_of(lambda a, b: a, [1.0, 2.0], [1.0, 2.0, 3.0])
