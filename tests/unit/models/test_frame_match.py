"""Light that flickers and grain that changes move no match; things that move still do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.blending import blend
from models.frame_match import frame_match
from models.patch_light import relit
from models.patch_noise import noise_margin
from models.patch_plan import Plan
from models.patchmatch import nnf
from models.sampling import Window

LIGHT = [(1.0, 9), (1.06, 0), (0.93, 5), (1.0, -12)]


def scene(height=96, width=128, seed=0):
    """Plain ground below, texture above: what films are made of, without noise."""
    drawn = np.random.default_rng(seed).integers(60, 200, (height // 4, width // 4, 3)).astype(np.float32)
    picture = cv2.resize(drawn, (width, height), interpolation=cv2.INTER_CUBIC)
    picture[height // 2 :] = (120, 110, 100)
    return np.clip(picture, 0, 255)


def grainy(picture, sigma, seed):
    noise = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def moved(field):
    """Share of pixels whose match lies more than one pixel away."""
    return float((np.hypot(field[..., 0].astype(float), field[..., 1]) > 1).mean())


def matched(target, source, plan=Plan()):  # noqa: B008
    return frame_match(target[None], source[None], plan)[0]


@pytest.mark.parametrize(("gain", "offset"), LIGHT)
def test_light_that_changes_moves_nothing_and_is_no_error(gain, offset):
    target, dark = grainy(scene(), 0.5, 1), grainy(scene() * gain + offset, 0.5, 2)
    offsets, errors = matched(target, dark)
    assert moved(offsets) < 0.05
    assert np.sqrt(np.median(errors) / 75) < 1.5
    assert moved(nnf(target, dark)[0]) > 0.3, "the search alone is led astray: else this test shows nothing"


def test_where_no_light_changed_the_source_is_taken_as_it_is():
    target, source = grainy(scene(), 2, 1), grainy(scene(), 2, 2)
    assert relit(target, source) is source
    panned = np.roll(target, (3, 7), (0, 1))
    assert relit(target, panned) is panned
    other = grainy(scene(seed=5) * 0.5 + 90, 2, 3)  # another shot: no light makes one of the other
    assert relit(target, other[::-1]) is not target


def test_a_thing_that_passes_is_not_taken_for_light():
    target = grainy(scene(), 1, 1)
    source = target.copy()
    source[20:80, 30:100] = 230
    assert relit(target, source) is source


@pytest.mark.parametrize("sigma", [2, 4, 6, 8])
def test_grain_scatters_no_matches_over_what_is_plain(sigma):
    flat = np.full((96, 128, 3), 120.0)
    target, source = grainy(flat, sigma, 1), grainy(flat, sigma, 2)
    assert moved(matched(target, source)[0]) < 0.1
    assert moved(nnf(target, source, margin=0)[0]) > 0.8


@pytest.mark.parametrize("sigma", [0, 4, 8])
def test_what_moves_is_found_through_light_and_grain(sigma):
    big = scene(160, 200, 3)[:80]  # texture only
    target, source = grainy(big[8:72, 8:136], sigma, 1), grainy(big[5:69, 14:142], sigma, 2)
    offsets = matched(target, source)[0][10:-10, 10:-10]
    assert (np.abs(offsets - np.array((3, -6))).max(-1) <= 1).mean() > 0.9


def test_margins_follow_the_noise_and_leave_clean_pairs_alone():
    margins = [noise_margin(grainy(scene(), s, 1), grainy(scene(), s, 2), Plan()) for s in (0, 1, 4, 8, 30)]
    assert margins[:2] == [16, 16]
    assert 24 <= margins[2] <= 44  # 2 * 4**2 = 32
    assert 100 <= margins[3] <= 170  # 2 * 8**2 = 128
    assert margins[4] == 200
    assert noise_margin(grainy(scene(), 8, 1), grainy(scene(), 8, 2), Plan(margin=0)) == 0


def test_a_steady_style_stays_sharp_under_a_grainy_guide():
    """The style never changes, so blending must give it back; matches that follow the grain blur it."""
    style = grainy(np.full((64, 96, 3), 128.0), 40, 9).astype(np.float32)
    guides = [grainy(scene(64, 96), 6, seed) for seed in range(5)]

    def kept(match):
        window = Window(0, 0, 5, 5)
        blended = blend(window, dict.fromkeys(range(5), style), lambda t, s: match(guides[t], guides[s]), 2)[2]
        return float(cv2.Laplacian(blended, cv2.CV_32F).std() / cv2.Laplacian(style, cv2.CV_32F).std())

    assert kept(matched) > 0.9
    assert kept(nnf) < 0.8


def test_the_batch_changes_no_bit_and_equal_frames_do_not_move():
    pairs = [(grainy(scene(40, 48), s, 1), grainy(scene(40, 48), s, 2)) for s in (0, 8, 0)]
    pairs.append((pairs[1][0], pairs[1][0]))
    together = frame_match(np.stack([t for t, _ in pairs]), np.stack([s for _, s in pairs]))
    for (target, source), (offsets, errors) in zip(pairs, together, strict=True):
        alone = matched(target, source)
        assert np.array_equal(alone[0], offsets)
        assert np.array_equal(alone[1], errors)
    assert not together[3][0].any()
    assert not together[3][1].any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 2), (7, 64)])
def test_any_size_can_be_matched(shape):
    target, source = (
        grainy(scene(96, 128)[: shape[0], : shape[1]], 3, 1),
        grainy(scene(96, 128)[: shape[0], : shape[1]], 3, 2),
    )
    offsets, errors = matched(target, source)
    assert offsets.shape == (*shape, 2)
    assert errors.shape == shape
