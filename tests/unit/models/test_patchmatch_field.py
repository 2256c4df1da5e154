"""The nearest-neighbour field: right, repeatable, and careful about what it is given."""

import numpy as np
import pytest

from configs.errors import ConfigError
from models.patchmatch import errors_of, identity, nnf, warm_up


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def texture(height, width, seed=0):
    """Smooth random blobs: unlike noise, neighbouring matches are nearly as good."""
    import cv2

    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def every_error(target, source, patch):
    """SSD of each target patch with each source patch, by the definition: int64 [H*W, H*W]."""
    radius = patch // 2

    def patches(image):
        framed = np.pad(image.astype(np.int64), ((radius, radius), (radius, radius), (0, 0)), "edge")
        windows = np.lib.stride_tricks.sliding_window_view(framed, (patch, patch), (0, 1))
        return windows.reshape(image.shape[0] * image.shape[1], -1)

    a, b = patches(target), patches(source)
    return (a * a).sum(1)[:, None] + (b * b).sum(1)[None] - 2 * a @ b.T


@pytest.mark.parametrize("patch", [5, 7])
def test_error_is_the_ssd_of_the_patches_it_points_at(patch):
    target, source = texture(30, 41), texture(30, 41, seed=1)
    offsets, error = nnf(target, source, patch)
    y, x = np.mgrid[:30, :41]
    at = (y + offsets[..., 0]) * 41 + x + offsets[..., 1]
    table = every_error(target, source, patch)
    assert offsets.dtype == np.int16
    assert error.dtype == np.float32
    np.testing.assert_array_equal(error.ravel(), table[np.arange(30 * 41), at.ravel()])
    np.testing.assert_array_equal(errors_of(target, source, offsets, patch), error)


@pytest.mark.parametrize("patch", [5, 7])
def test_field_is_near_the_exhaustive_optimum(patch):
    target = texture(40, 48)
    source = np.ascontiguousarray(np.roll(target[::-1], 5, 1))  # mirrored: no patch has an exact match to copy
    _, error = nnf(target, source, patch)
    best = every_error(target, source, patch).min(1)
    assert error.mean() <= 1.3 * best.mean()


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (7, -13), (-20, 30)])
def test_pure_shift_is_found(dy, dx):
    scene = texture(200, 220)
    target, source = scene[40:140, 40:150], scene[40 - dy : 140 - dy, 40 - dx : 150 - dx]
    offsets, error = nnf(target, source)
    inner = np.s_[max(dy, 0, -dy) + 3 : -max(abs(dy) + 3, 3), abs(dx) + 3 : -(abs(dx) + 3)]
    found = (offsets[inner] == (dy, dx)).all(-1) | (error[inner] == 0)
    assert found.mean() >= 0.99


@pytest.mark.parametrize("shape", [(64, 96), (33, 47), (5, 5), (3, 70), (1, 1)])
def test_equal_frames_keep_the_identity(shape):
    frame = texture(*shape) if min(shape) > 4 else noise(*shape)
    offsets, error = nnf(frame, frame)
    expected = identity(*shape)
    np.testing.assert_array_equal(offsets, expected[0])
    np.testing.assert_array_equal(error, expected[1])


def test_flat_frames_keep_the_identity():
    offsets, error = nnf(np.full((40, 40, 3), 9, np.uint8), np.full((40, 40, 3), 30, np.uint8))
    assert not offsets.any()
    assert (error == 75 * 21**2).all()


def test_matches_stay_inside_the_picture():
    offsets, _ = nnf(noise(37, 51), noise(37, 51, seed=1))
    y, x = np.mgrid[:37, :51]
    assert (y + offsets[..., 0]).min() >= 0
    assert (y + offsets[..., 0]).max() < 37
    assert (x + offsets[..., 1]).min() >= 0
    assert (x + offsets[..., 1]).max() < 51


def test_threads_and_repeats_change_no_bit():
    target, source = texture(210, 60), texture(210, 60, seed=1)
    first = nnf(target, source, seed=3)
    for threads in (1, 2, 5):
        again = nnf(target, source, seed=3, threads=threads)
        np.testing.assert_array_equal(first[0], again[0])
        np.testing.assert_array_equal(first[1], again[1])


def test_seed_matters():
    target, source = noise(60, 60), noise(60, 60, seed=1)
    assert (nnf(target, source, seed=0)[0] != nnf(target, source, seed=1)[0]).any()


def test_views_are_accepted():
    big = texture(80, 90)
    view = big[::2, 5:85:2]
    np.testing.assert_array_equal(nnf(view, view[::-1])[0], nnf(view.copy(), view[::-1].copy())[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"patch": 6}, "patch must be 5 or 7, got 6"),
        ({"radius": 0}, "radius"),
        ({"threads": 0}, "threads"),
        ({"levels": 0}, "levels must be >= 1"),
        ({"source": np.zeros((9, 8, 3), np.uint8)}, r"\(9, 8, 3\)"),
        ({"source": np.zeros((8, 8, 3), np.float32)}, "float32"),
    ],
)
def test_refuses_what_it_cannot_match(change, message):
    arguments = {"target": np.zeros((8, 8, 3), np.uint8), "source": np.zeros((8, 8, 3), np.uint8), **change}
    with pytest.raises(ConfigError, match=message):
        nnf(**arguments)


def test_warm_up_runs_both_patch_sizes():
    warm_up(5)
    warm_up(7)
