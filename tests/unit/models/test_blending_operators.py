"""Operators and modes of the blend: what each leaves out, what detail brings back, what is refused."""

import numpy as np
import pytest

from configs.errors import ConfigError
from models.blend_operators import check, closes, plain, trimmed_mean, weighed
from models.blending import blend
from models.metrics import sharpness
from models.patchmatch import identity
from models.remap import vote
from models.tables import both_ways, pairs_for_window
from tests.deflicker_clips import WAYS, H, W, in_place, scattered, shifting, texture, whole


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    return {f: rng.random((H, W, 3), dtype=np.float32) for f in range(count)}


@pytest.mark.parametrize(("operator", "mode"), WAYS)
def test_blend_asks_for_the_declared_pairs_only(operator, mode):
    asked, window, w = set(), whole(11), 3

    def noting(target, source):
        asked.add((target, source))
        return identity(H, W)

    blend(window, pictures(11), noting, w, operator, mode=mode)
    assert asked == pairs_for_window(window, w, operator, mode)


def test_pairs_of_a_checked_blend_are_those_of_the_mean_both_ways():
    mean = pairs_for_window(whole(21), 5)
    checked = pairs_for_window(whole(21), 5, "checked")
    assert checked == both_ways(mean) == {(s, t) for t, s in checked}
    assert len(checked) > len(mean)


def test_pairs_of_the_naive_mode_are_all_within_reach():
    pairs = pairs_for_window(whole(9), 2, mode="naive")
    assert pairs == {(t, s) for t in range(9) for s in range(9) if 0 < abs(t - s) <= 2}


def test_a_table_is_the_sums_it_is_said_to_be():
    """Frame 6 of 8, w = 3: left 6, {5 4}, {3 2 1 0} cut to 3; right 6, 7. Same additions in the same order."""
    fields, images = scattered(H, W), pictures(8)
    own = {f: weighed(p) for f, p in images.items()}

    def seen(target, source, total):
        return vote(total, fields(target, source)[0])

    pair = own[5] + seen(5, 4, own[4])
    total = -own[6] + own[6] + seen(6, 5, pair) + seen(6, 3, own[3])
    total = total + (own[6] + seen(6, 7, own[7]))
    np.testing.assert_array_equal(blend(whole(8), images, fields, 3)[6], plain(total))


@pytest.mark.parametrize("mode", ["table", "naive"])
def test_checked_leaves_out_what_does_not_close(mode):
    """On the right, the way there leads ten rows down and the way back ten more: the frame's detail stays alone."""

    def astray(target, source):
        offsets, error = identity(H, W)
        offsets[:, W // 2 :, 0] = np.minimum(10, H - 1 - np.arange(H))[:, None]
        return offsets, error

    images = pictures(5)
    out = blend(whole(5), images, astray, 2, "checked", mode=mode)[2]
    mean = blend(whole(5), images, astray, 2, "mean", mode=mode)[2]
    good, bad = np.s_[:, : W // 2 - 12], np.s_[:12, W // 2 :]
    np.testing.assert_allclose(out[good], mean[good], atol=1e-6)
    assert np.std((out - images[2])[bad]) < 0.25 * np.std((mean - images[2])[bad])


def test_closing_fields_have_full_weight_and_gaps_fall_off():
    there, back = shifting(3, -2)(0, 1)[0], shifting(3, -2)(1, 0)[0]
    trust = closes(there, back, 5)[..., 0]
    assert (trust[:-3, 2:] == 1).all()
    gaps = [np.full((H, W, 2), (gap, 0), np.int16) for gap in (0, 1, 2, 4, 8)]
    weights = [float(closes(gap, identity(H, W)[0], 5)[0, 0, 0]) for gap in gaps]
    np.testing.assert_allclose(weights, np.exp(-np.array([0, 1, 4, 16, 64]) / 8), rtol=1e-6)


@pytest.mark.parametrize(("count", "kept"), [(1, [0]), (2, [0, 1]), (3, [1]), (4, [1, 2]), (5, [1, 2, 3]), (9, [2, 6])])
def test_trimmed_mean_is_that_of_the_middle_half(count, kept):
    values = np.random.default_rng(0).permuted(np.tile(np.arange(count, dtype=np.float32), (H, 1)), axis=1)
    members = [np.repeat(values[:, k, None, None], 3, axis=2) for k in range(count)]
    middle = np.arange(kept[0], kept[-1] + 1)
    np.testing.assert_allclose(trimmed_mean(members), np.full((H, 1, 3), middle.mean()), rtol=1e-6)


def test_one_wild_frame_does_not_show_when_trimmed():
    images = {f: np.full((H, W, 3), 0.5, np.float32) for f in range(5)}
    images[3] = images[3] + np.float32(0.4)
    trimmed = blend(whole(5), images, in_place, 2, "trimmed", mode="naive")
    mean = blend(whole(5), images, in_place, 2, "mean", mode="naive")
    np.testing.assert_array_equal(trimmed[2], images[2])
    np.testing.assert_allclose(mean[2], 0.58, rtol=1e-6)


def noisy_still(n, sigma=8.0):
    """A steady picture with fine noise of its own in each frame, and a colour of its own."""
    rng = np.random.default_rng(0)
    picture = texture().astype(np.float32)
    tint = {f: np.float32(10 * rng.standard_normal()) for f in range(n)}
    fine = {f: (sigma * rng.standard_normal((H, W, 3))).astype(np.float32) for f in range(n)}
    return {f: picture + fine[f] + tint[f] for f in range(n)}


@pytest.mark.parametrize(("operator", "mode"), [way for way in WAYS if way[0] != "trimmed"])
def test_detail_brings_back_sharpness_and_fine_flicker_in_proportion(operator, mode):
    """Control: the frames themselves. Of fine noise, pairs of frames differ by (1 - d) of what the blend leaves
    and d of what the control has, which are independent here; flicker of the colour does not come back."""
    n, w = 24, 3
    images = noisy_still(n)
    control = np.stack(list(images.values()))
    blends = {d: blend(whole(n), images, in_place, w, operator, detail=d, mode=mode) for d in (0.0, 0.25, 0.5, 1.0)}

    def fine_flicker(frames):
        steps = np.diff(frames, axis=0)[w:-w]
        return float((steps - steps.mean((1, 2), keepdims=True)).var())

    def tint_flicker(frames):
        return float(np.diff(frames.mean((1, 2)), axis=0)[w:-w].var())

    *sharp, most = [sum(map(sharpness, frames)) for frames in (*blends.values(), control)]
    assert sharp == sorted(sharp)
    assert sharp[0] < 0.9 * most
    assert sharp[-1] == pytest.approx(most, rel=0.02)
    low, high = fine_flicker(blends[0.0]), fine_flicker(blends[1.0])
    assert low < 0.2 * high < 0.2 * fine_flicker(control)
    for d in (0.25, 0.5):
        assert fine_flicker(blends[d]) == pytest.approx((1 - d) ** 2 * low + d**2 * high, rel=0.15)
    assert tint_flicker(blends[1.0]) < 0.2 * tint_flicker(control)


def test_no_detail_changes_no_bit():
    images, fields = pictures(6), scattered(H, W)
    one = blend(whole(6), images, fields, 2, detail=0.0)
    np.testing.assert_array_equal(one, blend(whole(6), images, fields, 2))
    assert (one != blend(whole(6), images, fields, 2, detail=0.1)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"w": -1}, "window must be >= 0, got -1"),
        ({"operator": "median"}, "one of mean, confidence, checked, trimmed, got 'median'"),
        ({"operator": "trimmed"}, "set deflicker.mode to naive"),
        ({"mode": "slow"}, "one of table, naive, got 'slow'"),
        ({"tau": 0.0}, "tau must be > 0"),
        ({"detail": 1.5}, "detail must be within 0 and 1, got 1.5"),
    ],
)
def test_what_means_nothing_is_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        check(**{"w": 1, "operator": "mean", **change})
    check(w=0, operator="trimmed", mode="naive", detail=1.0)
