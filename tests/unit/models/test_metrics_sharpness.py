"""Sharpness over time: level and pulsing are told apart, and the source's own changes are not held against a clip."""

import math

import cv2
import numpy as np
import pytest

from configs.errors import ConfigError
from models.sharpness import sharpness, temporal_sharpness


def scene(seed=0, height=48, width=64):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def energies(frames):
    return [sharpness(frame) for frame in frames]


def test_a_steady_blur_lowers_the_ratio_and_does_not_pulse():
    source = [scene()] * 8
    found = temporal_sharpness(energies([cv2.GaussianBlur(f, (0, 0), 1.0) for f in source]), energies(source))
    assert found.ratio < 0.8
    assert found.pulsing == 0
    assert found.course == pytest.approx([found.ratio] * 8)


def test_key_frames_sharper_than_the_rest_pulse():
    source = [scene()] * 12
    soft = [f if t % 4 == 0 else cv2.GaussianBlur(f, (0, 0), 0.8) for t, f in enumerate(source)]
    assert temporal_sharpness(energies(soft), energies(source)).pulsing > 0.1


def test_what_the_source_does_is_not_pulsing():
    """The source goes in and out of focus; a clip that follows it is steady, one that does not follow pulses."""
    source = energies([cv2.GaussianBlur(scene(), (0, 0), 0.5 + (t % 3)) for t in range(9)])
    assert temporal_sharpness([0.5 * s for s in source], source).pulsing == pytest.approx(0, abs=1e-9)
    assert temporal_sharpness([np.mean(source)] * 9, source).pulsing > 0.3


def test_pulsing_is_the_relative_deviation_of_independent_frames_and_blind_to_drift():
    rng = np.random.default_rng(0)
    jitter, drift = rng.normal(0, 0.08, 2000), np.linspace(0, 3, 2000)
    steady = [100.0] * 2000
    assert temporal_sharpness(list(100 * np.exp(jitter + drift)), steady).pulsing == pytest.approx(0.08, rel=0.1)
    assert temporal_sharpness(list(100 * np.exp(drift)), steady).pulsing < 0.01


def test_the_mean_ratio_weighs_twice_and_half_alike():
    assert temporal_sharpness([200.0, 50.0], [100.0, 100.0]).ratio == pytest.approx(1)


def test_cuts_and_flat_frames_are_left_out():
    source, clip = [10.0, 10.0, 40.0, 40.0], [10.0, 10.0, 10.0, 10.0]
    assert temporal_sharpness(clip, source).pulsing > 0.5
    assert temporal_sharpness(clip, source, cuts=[0, 2]).pulsing == 0
    black = temporal_sharpness([5.0, 0.0, 5.0], [10.0, 10.0, 10.0])
    assert black.ratio == pytest.approx(0.5)
    assert [math.isnan(v) for v in black.course] == [False, True, False]
    assert math.isnan(black.pulsing)
    nothing = temporal_sharpness([], [])
    assert math.isnan(nothing.ratio)
    assert math.isnan(nothing.pulsing)


def test_clips_of_unequal_length_are_refused():
    with pytest.raises(ConfigError, match="got 2 and 3 frames"):
        temporal_sharpness([1.0] * 2, [1.0] * 3)
