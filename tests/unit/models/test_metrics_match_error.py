"""Flicker along matching patches: agrees with what was added, and leaves out what has no match."""

import itertools
import math

import cv2
import numpy as np
import pytest

from configs.errors import ConfigError
from models.match_error import MatchMeter

H, W = 64, 80


def texture(height=H, width=W, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 226, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    fine = rng.integers(-12, 13, (height, width, 3))
    return np.clip(cv2.resize(coarse, (width, height)) + fine, 0, 255).astype(np.uint8)


def panning(frames, step=3):
    scene = texture(H, W + step * frames)
    return [np.ascontiguousarray(scene[:, step * t : step * t + W]) for t in range(frames)]


def measured(source, **clips):
    meter = MatchMeter()
    for number, frame in enumerate(source):
        meter.add(frame, **{name: clip[number] for name, clip in clips.items()})
    return meter


def test_a_pan_is_followed_and_brightness_flicker_is_found_as_it_is():
    source = panning(4)
    flashing = [frame.astype(np.float32) + 10 * (t % 2) for t, frame in enumerate(source)]
    meter = measured(source, clip=flashing)
    still = np.mean([((a.astype(float) - b) ** 2).mean() for a, b in itertools.pairwise(source)])
    assert meter.mean("squared", "source") < 0.01 * still
    assert meter.mean("squared", "clip") == pytest.approx(100, rel=0.05)
    assert meter.mean("absolute", "clip") == pytest.approx(10, rel=0.05)
    assert min(meter.kept) > 0.9


def test_noise_of_a_shifted_picture_counts_twice():
    """Where the field is a plain shift the vote copies, so that nothing is averaged away."""
    source, rng = panning(4), np.random.default_rng(0)
    noisy = [frame + rng.normal(0, 6, frame.shape).astype(np.float32) for frame in source]
    meter = measured(source, clip=noisy)
    assert meter.mean("squared", "clip") - meter.mean("squared", "source") == pytest.approx(2 * 36, rel=0.1)


def test_what_has_no_match_is_left_out():
    """A thing appears in one half of the picture: there the source does not match itself, and is not counted."""
    before, after = panning(2, step=0)
    fresh = np.random.default_rng(9).integers(0, 256, (H, W // 2, 3), dtype=np.uint8)
    after = after.copy()
    after[:, W // 2 :] = fresh
    edited = [before.astype(np.float32), before.astype(np.float32)]
    edited[1][:, W // 2 + 4 :] += 100
    strict, lax = MatchMeter(), MatchMeter(worst=255.0)
    for meter in (strict, lax):
        for frame, clip in zip((before, after), edited, strict=True):
            meter.add(frame, clip=clip)
    assert 0.4 < strict.kept[0] < 0.6
    assert lax.kept == [1.0]
    assert strict.mean("squared", "clip") < 0.1 * lax.mean("squared", "clip")


def test_a_cut_is_no_pair_and_nothing_alike_is_nan():
    one, other = texture(seed=1), np.random.default_rng(2).integers(0, 256, (H, W, 3), dtype=np.uint8)
    meter = measured([one, other])
    assert math.isnan(meter.courses["squared"]["source"][0])
    assert meter.kept == [0.0]
    meter.cut()
    meter.add(one)
    meter.add(one)
    assert [math.isnan(v) for v in meter.courses["absolute"]["source"]] == [True, True, False]
    assert meter.mean("absolute", "source") == 0


def test_another_size_is_refused_with_both():
    with pytest.raises(ConfigError, match=r"'clip' is \(32, 40, 3\), the source's is \(64, 80, 3\)"):
        MatchMeter().add(texture(), clip=texture(32, 40))
