"""Oracles 1 to 6 of deflicker.md section 5: the remap, and the fields it goes by.

Guide-only fields: correspondence comes from the source frames alone, so what the specification says of fields that
also depend on the style holds here trivially or, where a docstring says so, is not a theorem.
"""

import itertools
import math

import cv2
import numpy as np
import pytest

from models.blending import blend
from models.patchmatch import errors_of, identity, nnf
from models.remap import vote
from tests.deflicker_clips import WAYS, H, W, searched, styles, texture, whole


def test_oracle_01_identity_remap():
    image = styles(1)[0]
    for patch in (5, 7):
        np.testing.assert_array_equal(vote(image, identity(H, W)[0], patch), image)


def test_oracle_02_constant_linear_bounded():
    offsets, _ = nnf(texture(seed=1), texture(seed=2))
    one, two = styles(2).values()
    constant = np.full((H, W, 3), 77.3, np.float32)
    assert np.abs(vote(constant, offsets) - constant).max() < 1e-4
    mixed = vote(0.3 * one - 2 * two, offsets)
    assert np.abs(mixed - (0.3 * vote(one, offsets) - 2 * vote(two, offsets))).max() <= 1e-3
    out = vote(one, offsets)
    assert out.min() >= one.min() - 1e-4
    assert out.max() <= one.max() + 1e-4


@pytest.mark.parametrize(("operator", "mode"), [way for way in WAYS if way[0] != "trimmed"])
def test_oracle_03_static_guide_gives_the_mean_of_the_window(operator, mode):
    """Equal guides give exactly the identity, so F is a plain mean and noise falls by 1 / sqrt(window).

    Not a theorem for trimmed, which is no mean of the window by intention.
    """
    frame, n, w, sigma = texture(37, 53), 9, 2, 16.0
    rng = np.random.default_rng(0)
    noisy = {f: (128 + sigma * rng.standard_normal((37, 53, 3))).astype(np.float32) for f in range(n)}
    correspond = searched([frame] * n)
    assert not correspond(3, 4)[0].any()
    out = blend(whole(n), noisy, correspond, w, operator, mode=mode)
    for i in range(n):
        mean = np.mean([noisy[j] for j in range(max(0, i - w), min(n, i + w + 1))], axis=0)
        np.testing.assert_allclose(out[i], mean, atol=1e-2)
    assert out[4].std() == pytest.approx(sigma / math.sqrt(5), rel=0.05)


def test_oracle_03_guide_noise_moves_few_matches():
    """Empirical, not a theorem: with guide noise of sigma 4 the field of our global search is not all identity
    (flat parts match elsewhere as well), but nowhere is it worse than the identity."""
    rng = np.random.default_rng(0)
    frame = texture()
    noisy = np.clip(frame + 4 * rng.standard_normal(frame.shape), 0, 255).astype(np.uint8)
    offsets, error = nnf(noisy, frame)
    assert (error <= errors_of(noisy, frame, identity(H, W)[0])).all()
    assert (~offsets.any(-1)).mean() > 0.95


@pytest.mark.parametrize(("operator", "mode"), WAYS)
def test_oracle_04_equal_frames_are_a_fixed_point(operator, mode):
    frame, style = texture(), styles(1)[0]
    correspond = searched([frame] * 7)
    once = blend(whole(7), dict.fromkeys(range(7), style), correspond, 3, operator, mode=mode)
    np.testing.assert_allclose(once, np.broadcast_to(style, once.shape), atol=1e-3)
    twice = blend(whole(7), dict(enumerate(once)), correspond, 3, operator, mode=mode)
    np.testing.assert_allclose(twice, once, atol=1e-3)


def test_oracle_05_translation_is_found():
    scene = texture(140, 160)
    dy, dx = 4, -7
    target, source = scene[20:120, 20:130], scene[20 - dy : 120 - dy, 20 - dx : 130 - dx]
    offsets, _ = nnf(target, source)
    inner = offsets[12:-12, 14:-14]
    assert (inner == (dy, dx)).all(-1).mean() >= 0.99


def test_oracle_06_error_never_increases_and_is_near_the_optimum():
    """More sweeps never cost quality: acceptance is strict, and the first sweeps do not know of later ones."""
    scene = texture(64, 64)
    turn = cv2.getRotationMatrix2D((32, 32), 3, 1.02)
    warped = cv2.warpAffine(scene, turn, (64, 64), borderMode=cv2.BORDER_REFLECT)
    target, source = scene[16:48, 16:48].copy(), warped[16:48, 16:48].copy()
    errors = [nnf(target, source, levels=1, fine_sweeps=k)[1] for k in range(6)]
    for fewer, more in itertools.pairwise(errors):
        assert (more <= fewer).all()
    best = exhaustive(target, source)
    assert nnf(target, source, fine_sweeps=6)[1].mean() <= 1.05 * best.mean()


def exhaustive(target, source, patch=5):
    radius = patch // 2
    rows = []
    for image in (target, source):
        framed = np.pad(image.astype(np.int64), ((radius, radius), (radius, radius), (0, 0)), "edge")
        windows = np.lib.stride_tricks.sliding_window_view(framed, (patch, patch), (0, 1))
        rows.append(windows.reshape(image.shape[0] * image.shape[1], -1))
    a, b = rows
    return ((a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T).min(1)


def test_oracle_18_same_seed_twice_is_bit_identical():
    """The half of row 18 that needs no GPU. CPU against GPU is `test_oracle_18_...` in `tests/gpu/test_nnf.py`: to the
    bit, ties and errors too, since our GPU kernels have a twin on the CPU.
    """
    target, source = texture(seed=1), texture(seed=2)
    (offsets, error), (again, same) = nnf(target, source, seed=3), nnf(target, source, seed=3)
    np.testing.assert_array_equal(offsets, again)
    np.testing.assert_array_equal(error, same)
    assert (nnf(target, source, seed=4)[0] != offsets).any()
