"""Procedural clips are reproducible and what they say about themselves is true."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from models.conditions import soft_edges
from models.pocket.scenes import render_clip
from models.pocket.vocabulary import words


def test_same_seed_same_bytes_and_other_seed_other_clip() -> None:
    """The seed decides everything."""
    first, second, other = (render_clip(seed, 4, 72, 128) for seed in (5, 5, 6))
    assert np.array_equal(first.frames_FHWC, second.frames_FHWC)
    assert np.array_equal(first.masks_FKHW, second.masks_FKHW)
    assert first.caption == second.caption
    assert not np.array_equal(first.frames_FHWC, other.frames_FHWC)


def test_shapes_and_names_agree() -> None:
    """Every object has a mask in every frame."""
    scene = render_clip(1, 3, 72, 128)
    assert scene.frames_FHWC.shape == (3, 72, 128, 3)
    assert scene.frames_FHWC.dtype == np.uint8
    assert scene.masks_FKHW.shape == (3, len(scene.names), 72, 128)
    assert scene.masks_FKHW.dtype == bool
    assert scene.backward_flow_FHWC.shape == (3, 72, 128, 2)
    assert not scene.backward_flow_FHWC[0].any()
    assert scene.masks_FKHW.sum(axis=1).max() <= 1


def test_captions_use_known_words_only() -> None:
    """The text encoder has a whole token for everything a caption can say."""
    known = set(words())
    for seed in range(40):
        assert set(render_clip(seed, 1, 48, 80).caption.split()) <= known


@pytest.mark.parametrize("seed", [0, 2, 7])
def test_backward_flow_predicts_the_next_frame(seed: int) -> None:
    """Pulling frame f-1 along the flow explains frame f better than standing still does."""
    scene = render_clip(seed, 6, 144, 256)
    ys, xs = np.mgrid[0:144, 0:256].astype(np.float32)
    flow = scene.backward_flow_FHWC[5]
    pulled = cv2.remap(scene.frames_FHWC[4], xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR)
    now = scene.frames_FHWC[5].astype(np.float32)
    still = np.abs(scene.frames_FHWC[4] - now)[8:-8, 8:-8].mean()
    assert np.abs(pulled - now)[8:-8, 8:-8].mean() < still


def test_bad_sizes_are_refused() -> None:
    """No empty clips, no thumbnails."""
    with pytest.raises(ValueError, match="frames >= 1"):
        render_clip(0, 0)
    with pytest.raises(ValueError, match="sides >= 32"):
        render_clip(0, 1, 16, 256)


def test_soft_edges_are_local_bounded_and_found_between_equally_bright_colours() -> None:
    """A red and a green field of equal luma still have a contour; flat fields have none."""
    frames = np.zeros((1, 32, 32, 3), dtype=np.uint8)
    frames[:, :, :16] = (196, 0, 0)
    frames[:, :, 16:] = (0, 100, 0)
    edges = soft_edges(frames)
    assert edges.dtype == np.float32
    assert edges.shape == (1, 32, 32)
    assert edges.min() >= 0
    assert edges.max() <= 1
    assert edges[0, 16, 16] > 0.8
    assert edges[0, 16, 4] < 1e-3
    with pytest.raises(ValueError, match="uint8"):
        soft_edges(frames.astype(np.float32))
