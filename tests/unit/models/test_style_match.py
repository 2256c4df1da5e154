"""Matching guide and style together: what the two modes promise, on fields and through `blend`."""

from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest

from configs.errors import ConfigError
from models import style_match
from models.blending import blend
from models.patchmatch import errors_of, identity, nnf
from models.sampling import windows_of
from models.style_kernels import LANES, judge, packed, propagate, scatter
from models.style_match import ALPHA, REACH, StyleFields, fastblend, refine

MODES = ["style", "fastblend"]
SPOT = 8


def texture(height, width, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    grown = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    return np.clip(grown + rng.integers(-20, 21, (height, width, 3)), 0, 255).astype(np.uint8)


def drifting(n, height=40, width=56, step=1, noise=4.0):
    """Guides of a scene that moves `step` pixels a frame to the left, with sensor noise, by frame."""
    scene = texture(height, width + n * step).astype(np.float32)
    rng = np.random.default_rng(1)
    cut = [scene[:, f * step : f * step + width] for f in range(n)]
    return {f: np.clip(c + noise * rng.standard_normal(c.shape), 0, 255).astype(np.uint8) for f, c in enumerate(cut)}


def styled(guides, sigma=0.1, seed=2):
    """Pictures in [0, 1]: the negative of the guides, flickering."""
    rng = np.random.default_rng(seed)
    return {
        f: np.clip(1 - g / 255 + sigma * rng.standard_normal(g.shape), 0, 1).astype(np.float32)
        for f, g in guides.items()
    }


def searched(guides, patch=5, **search):
    known = {}

    def correspond(target, source):
        if (target, source) not in known:
            known[target, source] = nnf(guides[target], guides[source], patch, **search)
        return known[target, source]

    return correspond


def never(target, source):
    raise AssertionError("a search from nothing reads no cached field")


def fields_of(mode, guides, patch=5, seed=0):
    return StyleFields(guides, searched(guides, patch) if mode == "style" else never, mode, patch, seed)


def weighed(style, weight=1.0):
    return np.concatenate([style * weight, np.full((*style.shape[:2], 1), weight)], -1, dtype=np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("patch", [5, 7])
@pytest.mark.parametrize(("guide", "sigma"), [("texture", 4), ("texture", 40), ("flat", 16)])
def test_oracle_03_equal_guides_keep_the_identity_whatever_the_style(mode, patch, guide, sigma):
    frame = texture(37, 53) if guide == "texture" else np.full((37, 53, 3), 90, np.uint8)
    style = np.random.default_rng(3).normal(0.5, sigma / 255, (37, 53, 3)).astype(np.float32)
    offsets, error = fields_of(mode, {0: frame, 1: frame}, patch)(0, 1, weighed(style))
    assert not offsets.any()
    assert not error.any()


@pytest.mark.parametrize("mode", MODES)
def test_constant_pictures_are_unchanged(mode):
    guides = drifting(5)
    images = {f: np.full((40, 56, 3), 0.3, np.float32) for f in guides}
    for window in windows_of(5, 5):
        out = blend(window, images, never, 2, "mean", fields=fields_of(mode, guides))
        np.testing.assert_allclose(out, 0.3, atol=1e-6)


@pytest.mark.parametrize("operator", ["mean", "confidence"])
@pytest.mark.parametrize("mode", MODES)
def test_the_cut_into_windows_changes_no_bit(mode, operator):
    """Each window sees only the frames within its reach, and makes its own table entries."""
    n, w = 8, 3
    guides = drifting(n, 26, 34)
    images = styled(guides)

    def run(size):
        rows = []
        for window in windows_of(n, size):
            near = range(max(0, window.start - w), min(n, window.stop + w))
            fields = fields_of(mode, {f: guides[f] for f in near})
            rows.append(blend(window, {f: images[f] for f in near}, never, w, operator, fields=fields))
        return np.concatenate(rows)

    whole = run(n)
    for size in (1, 3):
        np.testing.assert_array_equal(run(size), whole)


@pytest.mark.parametrize("mode", MODES)
def test_threads_and_company_change_no_bit(mode):
    guides = drifting(4)
    images = styled(guides)
    fields = fields_of(mode, guides)
    asked = [(t, s) for t in guides for s in guides if t != s]

    def one(pair):
        return fields(*pair, weighed(images[pair[1]]))

    alone = [one(pair) for pair in asked]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one, reversed(asked)))[::-1]
    for (offsets, error), (again, same) in zip(alone, together, strict=True):
        np.testing.assert_array_equal(offsets, again)
        np.testing.assert_array_equal(error, same)
    other = fields_of(mode, guides, seed=1)(0, 3, weighed(images[3]))[0]
    assert (other != alone[asked.index((0, 3))][0]).any(), "the seed reaches the random candidates"


@pytest.mark.parametrize("mode", MODES)
def test_the_weight_of_a_picture_is_taken_out_again(mode):
    guides = drifting(2)
    image = styled(guides)[1]
    fields = fields_of(mode, guides)
    for a, b in zip(fields(0, 1, weighed(image)), fields(0, 1, weighed(image, 4.0)), strict=True):
        np.testing.assert_array_equal(a, b)


def test_refining_never_raises_the_error_on_guide_and_style():
    """Summed, each field with its own vote; strictly lower here, where a short search leaves a ragged field."""
    guides = drifting(3, noise=16.0)
    correspond = searched(guides, margin=0, fine_sweeps=0)
    for (t, s), style in {pair: styled(guides)[pair[1]] * 255 for pair in [(0, 1), (0, 2), (2, 1)]}.items():
        before, guided = correspond(t, s)
        offsets, own = refine(guides[t], guides[s], style, before, rounds=0)
        np.testing.assert_array_equal(offsets, before)
        assert (own * (ALPHA + 1) >= guided * ALPHA * (1 - 1e-5)).all(), "the style term only adds"
        sums = [own.sum()]
        for rounds in (1, 2, 4):
            refined, error = refine(guides[t], guides[s], style, before, key=(0, t, s), rounds=rounds)
            sums.append(error.sum())
            np.testing.assert_array_equal(
                error, refine(guides[t], guides[s], style, refined, rounds=0)[1], "measured with its own vote"
            )
        assert sums[0] > sums[1] >= sums[2] >= sums[3]


def test_style_heals_holes_that_the_guide_cannot_see():
    """Flat spots in the guide, textured in the style, all moving by two pixels: the guide field is in place there.

    Control arms: the guide alone errs not at all there, so its field has nothing to gain; a style without texture
    changes nothing either. Spots about as wide as a patch are healed, from their rims: a wide flat area is not,
    as the style term compares the style with its own vote and never with the target's style (oracle 3).
    """
    height, width, move = 48, 64, 2
    scene, painted = texture(height, width + move, 5), texture(height, width + move, 6)
    for y in range(8, 40, 12):
        for x in range(8, 56, 12):
            scene[y : y + SPOT, x : x + SPOT] = 128
    target, source = scene[:, :width], scene[:, move:]
    style = painted[:, move:].astype(np.float32)
    truth = np.array([0, -move])
    field, _ = nnf(target, source)
    true_error = errors_of(target, source, np.broadcast_to(truth, field.shape).astype(np.int16))
    hole = (field != truth).any(-1) & (true_error == 0)
    hole[:, : move + 8] = hole[:, -8:] = False
    assert hole.sum() > 20
    healed = (refine(target, source, style, field)[0] == truth).all(-1)[hole].mean()
    blank = (refine(target, source, np.full_like(style, 128), field)[0] == truth).all(-1)[hole].mean()
    assert healed > 0.9
    assert blank == 0


@pytest.mark.parametrize("shift", [(0, 5), (3, -6)])
def test_fastblend_finds_a_shift_from_the_identity(shift):
    scene = texture(120, 150, 7)
    dy, dx = shift
    target, source = scene[12:108, 12:138], scene[12 + dy : 108 + dy, 12 + dx : 138 + dx]
    style = 255 - source.astype(np.float32)
    offsets, _ = fastblend(target, source, style)
    inner = (slice(13 + abs(dy), -13 - abs(dy)), slice(13 + abs(dx), -13 - abs(dx)))
    assert ((offsets == (-dy, -dx)).all(-1)[inner]).mean() >= 0.99


def test_fastblend_walks_the_published_pyramid(monkeypatch):
    """int(log2(67 / 13)) = 2 levels of H // 2**q, five rounds each with patches 13 .. 5; one last vote."""
    seen = []

    def noting(image, offsets, patch):
        seen.append((*offsets.shape[:2], patch))
        return image

    monkeypatch.setattr(style_match, "vote", noting)
    guides = drifting(2, 67, 90)
    fastblend(guides[0], guides[1], np.zeros((67, 90, 3), np.float32))
    patches = (13, 11, 9, 7, 5)
    assert seen == [(33, 45, p) for p in patches] + [(67, 90, p) for p in (*patches, 5)]


@pytest.mark.parametrize("border", ["edge", "constant"])
def test_error_is_the_weighted_ssd_of_both_pictures(border):
    """Against plain numpy, borders included: edges repeated, or zeros that enter both terms."""
    height, width, patch, alpha = 9, 11, 5, 10.0
    a, b = texture(height, width, 1), texture(height, width, 2)
    voted, style = (np.random.default_rng(n).random((height, width, 3)).astype(np.float32) * 255 for n in (3, 4))
    offsets = nnf(a, b)[0]
    errors = np.empty((height, width), np.float32)
    judge(packed(a, voted, alpha, 4, border), packed(b, style, alpha, 4, border), 4, patch, offsets, errors)
    around = ((2, 2), (2, 2), (0, 0))
    mine, theirs = (
        np.pad(np.concatenate([alpha**0.5 * g.astype(float), s], -1), around, mode=border)
        for g, s in ((a, voted), (b, style))
    )
    for y in range(height):
        for x in range(width):
            qy, qx = (y, x) + offsets[y, x]
            here, there = mine[y : y + 5, x : x + 5], theirs[qy : qy + 5, qx : qx + 5]
            assert errors[y, x] == pytest.approx(((here - there) ** 2).sum(), rel=1e-5)


def test_candidates_come_from_the_pass_before_and_from_nearby():
    """Jacobi: an offset moves one pixel a pass, not along a whole row; random ones stay within their reach."""
    height, width = 20, 24
    target, source = (packed(texture(height, width, n), np.zeros((height, width, 3)), 1.0, 2, "edge") for n in (1, 2))
    assert target.shape[2] == LANES
    offsets, _ = identity(height, width)
    offsets[:, 10] = (0, 3)
    errors = np.full((height, width), np.inf, np.float32)
    before = offsets.copy()
    propagate(target, source, 2, 5, 0, -1, before, offsets, errors)
    assert {tuple(o) for o in offsets[:, 11]} == {(0, 3)}
    assert not offsets[:, 12].any()
    before = offsets.copy()
    judge(target, source, 2, 5, offsets, errors)
    was = errors.copy()
    scatter(target, source, 2, 5, REACH, 12345, offsets, errors)
    moved = (offsets != before).any(-1)
    assert moved.mean() > 0.2
    assert np.abs(offsets - before).max() == REACH
    assert (errors[moved] < was[moved]).all()
    assert (errors[~moved] == was[~moved]).all()
    y, x = np.mgrid[:height, :width]
    assert ((y + offsets[..., 0] >= 0) & (y + offsets[..., 0] < height)).all()
    assert ((x + offsets[..., 1] >= 0) & (x + offsets[..., 1] < width)).all()


def test_pictures_of_another_size_are_refused():
    guides = drifting(2)
    with pytest.raises(ConfigError, match="one working size"):
        fields_of("fastblend", guides)(0, 1, weighed(np.zeros((20, 28, 3), np.float32)))
    wrong = StyleFields(guides, lambda t, s: identity(20, 28), "style")
    with pytest.raises(ConfigError, match="offsets must be"):
        wrong(0, 1, weighed(np.zeros((40, 56, 3), np.float32)))
