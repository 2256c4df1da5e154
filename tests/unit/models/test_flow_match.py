"""Matching by optical flow: the contract of `nnf`, and distrust where a pixel has no counterpart."""

import cv2
import numpy as np
import pytest

from configs.errors import ConfigError
from models.blending import TAU
from models.flow_match import flow_match, numerics, unmatched
from models.patchmatch import errors_of, identity, nnf
from models.pocket.scenes import render_clip


def texture(height, width, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def shifted(dy, dx):
    """(target, source, pixels whose patch and match are inside) of a moving texture."""
    scene = texture(140, 170)
    inner = np.s_[abs(dy) + 8 : -(abs(dy) + 8), abs(dx) + 8 : -(abs(dx) + 8)]
    return scene[20:100, 30:140], scene[20 - dy : 100 - dy, 30 - dx : 140 - dx], inner


def test_returns_what_nnf_returns():
    target, source, _ = shifted(2, -3)
    for offsets, error in (nnf(target, source), flow_match(target, source)):
        assert (offsets.dtype, offsets.shape) == (np.int16, (80, 110, 2))
        assert (error.dtype, error.shape) == (np.float32, (80, 110))


@pytest.mark.parametrize(("dy", "dx"), [(1, 0), (-4, 7), (6, -2)])
def test_a_shift_is_found_as_dy_dx(dy, dx):
    target, source, inner = shifted(dy, dx)
    offsets, error = flow_match(target, source)
    assert (offsets[inner] == (dy, dx)).all(-1).mean() >= 0.99
    assert np.median(error[inner]) == 0


@pytest.mark.parametrize("shape", [(64, 96), (33, 47), (16, 16)])
def test_equal_frames_keep_the_identity(shape):
    for frame in (texture(*shape), np.full((*shape, 3), 77, np.uint8)):
        offsets, error = flow_match(frame, frame)
        np.testing.assert_array_equal(offsets, identity(*shape)[0])
        np.testing.assert_array_equal(error, identity(*shape)[1])


@pytest.mark.parametrize("patch", [5, 7])
def test_error_is_the_patch_ssd_or_says_that_there_is_no_match(patch):
    target, source, _ = shifted(5, 9)
    offsets, error = flow_match(target, source, patch)
    lost = error == unmatched(patch)
    assert 0 < lost.mean() < 0.5
    np.testing.assert_array_equal(error[~lost], errors_of(target, source, offsets, patch)[~lost])


def test_no_match_is_worse_than_any_match_and_weighs_nothing():
    black, white = np.zeros((20, 20, 3), np.uint8), np.full((20, 20, 3), 255, np.uint8)
    for patch in (5, 7):
        assert errors_of(black, white, identity(20, 20)[0], patch).max() == unmatched(patch)
        assert np.exp(-np.float32(unmatched(patch)) / np.float32(3 * patch**2 * TAU)) == 0


def test_matches_stay_inside_the_picture():
    rng = np.random.default_rng(0)
    offsets, _ = flow_match(*(rng.integers(0, 256, (37, 51, 3), dtype=np.uint8) for _ in range(2)))
    y, x = np.mgrid[:37, :51]
    for at, side in ((y + offsets[..., 0], 37), (x + offsets[..., 1], 51)):
        assert at.min() >= 0
        assert at.max() < side


def test_hidden_pixels_are_distrusted_and_seen_ones_are_not():
    scene = render_clip(70_000, 5, 96, 128)
    _, hidden = scene.source.motion(4, 0)
    _, error = flow_match(scene.frames_FHWC[4], scene.frames_FHWC[0])
    lost = error == unmatched(5)
    assert hidden.any()
    assert lost[hidden].mean() > 3 * lost[~hidden].mean()


def test_threads_and_repeats_change_no_bit():
    target, source, _ = shifted(3, 8)
    before = cv2.getNumThreads()
    try:
        found = []
        for threads in (1, 2, 5):
            cv2.setNumThreads(threads)
            found.append(flow_match(target, source))
    finally:
        cv2.setNumThreads(before)
    for offsets, error in found[1:]:
        np.testing.assert_array_equal(offsets, found[0][0])
        np.testing.assert_array_equal(error, found[0][1])


def test_numerics_name_the_build_and_the_vector_units():
    assert numerics() == {"opencv": cv2.__version__, "processor": cv2.getCPUFeaturesLine()}
    assert all(numerics().values())


def test_views_are_accepted():
    big = texture(80, 110)
    view = big[::2, 5:105:2]
    np.testing.assert_array_equal(flow_match(view, view[::-1])[0], flow_match(view.copy(), view[::-1].copy())[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 6}, "patch must be 5 or 7, got 6"),
        ({"source": np.zeros((19, 20, 3), np.uint8)}, r"\(19, 20, 3\)"),
        ({"source": np.zeros((20, 20, 3), np.float32)}, "float32"),
        ({"target": np.zeros((20, 15, 3), np.uint8), "source": np.zeros((20, 15, 3), np.uint8)}, "at least 16x16"),
    ],
)
def test_refuses_what_it_cannot_match(change, message):
    arguments = {"target": np.zeros((20, 20, 3), np.uint8), "source": np.zeros((20, 20, 3), np.uint8), **change}
    with pytest.raises(ConfigError, match=message):
        flow_match(**arguments)
