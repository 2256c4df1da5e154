"""Tables of patch blending: which entries a window reads, which fields that takes, and what comes out."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from models.blending import blend
from models.patchmatch import identity
from models.sampling import Window, windows_of
from models.tables import Entry, pairs_for_window, query
from tests.pairs_formula import pairs_count


def in_place(target, source):
    return identity(12, 16)


def pictures(count, channels=3, seed=0):
    rng = np.random.default_rng(seed)
    return {f: rng.random((12, 16, channels), dtype=np.float32) for f in range(count)}


def whole(n):
    return Window(0, 0, n, n)


@pytest.mark.parametrize(
    ("target", "end", "expected"),
    [
        (6, 0, [(6, 0), (5, 1), (3, 2)]),
        (7, 0, [(7, 3)]),
        (6, 3, [(6, 0), (5, 1), (3, 0)]),
        (5, 2, [(5, 1), (3, 1)]),
    ],
)
def test_left_query_of_the_published_examples(target, end, expected):
    assert query("left", target, end) == tuple(Entry("left", x, k) for x, k in expected)


@pytest.mark.parametrize(
    ("target", "end", "expected"),
    [(5, 7, [(5, 0), (6, 1)]), (0, 7, [(0, 3)]), (1, 6, [(1, 0), (2, 1), (4, 1), (6, 0)])],
)
def test_right_query_is_aligned_to_the_start_of_the_shot(target, end, expected):
    assert query("right", target, end) == tuple(Entry("right", x, k) for x, k in expected)


def test_entry_holds_its_frames():
    assert Entry("left", 7, 2).others == (4, 5, 6)
    assert Entry("right", 4, 2).others == (5, 6, 7)
    assert Entry("left", 6, 0).others == ()


@settings(deadline=None)
@given(n=st.integers(1, 100), w=st.integers(0, 40), data=st.data())
def test_queries_cover_each_frame_once_and_stay_inside(n, w, data):
    target = data.draw(st.integers(0, n - 1))
    for side, end in (("left", max(0, target - w)), ("right", min(n - 1, target + w))):
        seen = Counter()
        for entry in query(side, target, end):
            assert 2**entry.level <= w + 1
            seen.update([entry.frame, *entry.others])
        assert seen == Counter(range(min(target, end), max(target, end) + 1))


@settings(deadline=None)
@given(n=st.integers(1, 60), w=st.integers(0, 12), size=st.integers(1, 9))
def test_pairs_are_those_of_the_windows_together_and_within_reach(n, w, size):
    pairs = pairs_for_window(whole(n), w)
    assert pairs == set().union(*(pairs_for_window(win, w) for win in windows_of(n, size)))
    assert all(0 < abs(t - s) <= w and 0 <= s < n for t, s in pairs)
    assert len(pairs) == pairs_count(n, w)


@pytest.mark.parametrize("operator", ["mean", "confidence"])
def test_blend_asks_for_the_declared_pairs_and_frames_only(operator):
    window, w, n = Window(2, 8, 12, 21), 5, 21
    asked = set()

    def noting(target, source):
        asked.add((target, source))
        return identity(12, 16)

    near = {f: p for f, p in pictures(n).items() if 3 <= f < 17}
    blend(window, near, noting, w, operator)
    assert asked == pairs_for_window(window, w)


@pytest.mark.parametrize("operator", ["mean", "confidence"])
def test_window_zero_and_single_frame_return_the_input(operator):
    images = pictures(3)
    np.testing.assert_array_equal(blend(whole(3), images, in_place, 0, operator), np.stack(list(images.values())))
    one = blend(whole(1), {0: images[0]}, in_place, 4, operator)
    np.testing.assert_array_equal(one[0], images[0])


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_channels_do_not_mix(channels):
    images = pictures(6, channels)
    out = blend(whole(6), images, in_place, 2, "confidence")
    for c in range(channels):
        alone = blend(whole(6), {f: p[..., c : c + 1] for f, p in images.items()}, in_place, 2, "confidence")
        np.testing.assert_allclose(out[..., c], alone[..., 0], atol=1e-6)


def test_confidence_leaves_out_detail_of_bad_matches():
    """One neighbour with a hopeless error: its detail does not show, its coarse colour still counts."""
    rng = np.random.default_rng(0)
    detail = rng.choice([-0.2, 0.2], (12, 16, 3)).astype(np.float32)
    flat = np.full((12, 16, 3), 0.5, np.float32)
    images = {0: flat, 1: flat + detail + 0.1}

    def hopeless(target, source):
        offsets, _ = identity(12, 16)
        return offsets, np.full((12, 16), 75 * 120.0**2, np.float32)

    sure = blend(whole(2), images, hopeless, 1, "confidence")[0]
    mean = blend(whole(2), images, hopeless, 1, "mean")[0]
    assert sure.std() < 0.35 * mean.std()
    assert abs(sure.mean() - mean.mean()) < 0.02


def test_confidence_equals_mean_where_matches_are_perfect():
    images = pictures(9)
    mean, sure = (blend(whole(9), images, in_place, 3, op) for op in ("mean", "confidence"))
    np.testing.assert_array_equal(mean, sure)


def test_naive_counts_frames_at_the_clip_ends():
    images = {f: np.full((12, 16, 3), f, np.float32) for f in range(5)}
    out = blend(whole(5), images, in_place, 2, mode="naive")
    np.testing.assert_allclose(out[:, 6, 6, 0], [1.0, 1.5, 2.0, 2.5, 3.0])


@pytest.mark.parametrize(("w", "operator", "message"), [(-1, "mean", "window must be >= 0"), (1, "median", "'median'")])
def test_bad_arguments_are_refused(w, operator, message):
    with pytest.raises(ConfigError, match=message):
        blend(whole(2), pictures(2), in_place, w, operator)
