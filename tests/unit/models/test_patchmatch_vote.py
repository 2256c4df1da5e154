"""The vote of overlapping patches: an average of what they point at, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from models.remap import vote


def by_definition(image, offsets, patch):
    height, width = offsets.shape[:2]
    out = np.zeros(image.shape, np.float64)
    for y in range(height):
        for x in range(width):
            terms = []
            for dy in range(-(patch // 2), patch // 2 + 1):
                for dx in range(-(patch // 2), patch // 2 + 1):
                    ny, nx = y + dy, x + dx
                    if 0 <= ny < height and 0 <= nx < width:
                        qy, qx = y + offsets[ny, nx, 0], x + offsets[ny, nx, 1]
                        if 0 <= qy < height and 0 <= qx < width:
                            terms.append(image[qy, qx])
            out[y, x] = np.mean(terms, axis=0, dtype=np.float64)
    return out


def some_field(height, width, seed, patches_of=1):
    """Valid offsets, constant on blocks of `patches_of` pixels before clamping."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    wild = rng.integers(-6, 7, (height // patches_of + 1, width // patches_of + 1, 2))
    blocks = np.kron(wild, np.ones((patches_of, patches_of, 1), int))[:height, :width]
    qy, qx = np.clip(y + blocks[..., 0], 0, height - 1), np.clip(x + blocks[..., 1], 0, width - 1)
    return np.stack([qy - y, qx - x], -1).astype(np.int16)


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 13),
    width=st.integers(1, 14),
    channels=st.integers(1, 6),
    patch=st.sampled_from([5, 7]),
    block=st.sampled_from([1, 4, 9]),
    seed=st.integers(0, 99),
)
def test_vote_is_the_mean_of_valid_terms(height, width, channels, patch, block, seed):
    image = np.random.default_rng(seed).random((height, width, channels), dtype=np.float32)
    offsets = some_field(height, width, seed, block)
    np.testing.assert_allclose(vote(image, offsets, patch), by_definition(image, offsets, patch), atol=1e-6)


def test_shift_copies_bits_in_the_interior():
    image = np.random.default_rng(0).random((20, 24, 3), dtype=np.float32)
    y, x = np.mgrid[:20, :24]
    offsets = np.stack([np.clip(y + 2, 0, 19) - y, np.clip(x - 3, 0, 23) - x], -1).astype(np.int16)
    np.testing.assert_array_equal(vote(image, offsets)[3:14, 6:20], image[5:16, 3:17])


def test_long_runs_are_counted_right():
    """Rows wider than the run counter's 255."""
    image = np.random.default_rng(0).random((6, 700, 3), dtype=np.float32)
    np.testing.assert_array_equal(vote(image, np.zeros((6, 700, 2), np.int16), 7), image)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
def test_result_is_float32(dtype):
    assert vote(np.ones((6, 6, 4), dtype), np.zeros((6, 6, 2), np.int16)).dtype == np.float32


@pytest.mark.parametrize(
    "offsets", [np.zeros((6, 7, 2), np.int16), np.zeros((6, 6), np.int16), np.zeros((6, 6, 2), np.int32)]
)
def test_field_of_another_size_or_kind_is_refused(offsets):
    with pytest.raises(ConfigError, match=r"int16 \[6,6,2\]"):
        vote(np.ones((6, 6, 3), np.float32), offsets)


def test_even_patch_is_refused():
    with pytest.raises(ConfigError, match="odd, got 4"):
        vote(np.ones((6, 6, 3), np.float32), np.zeros((6, 6, 2), np.int16), 4)


def test_field_that_points_outside_reads_nothing_outside():
    image = np.random.default_rng(0).random((8, 8, 3), dtype=np.float32)
    np.testing.assert_array_equal(vote(image, np.full((8, 8, 2), 30000, np.int16)), image)
