"""Pixel-MSE and what is made of it."""

import itertools
import math
import pickle

import cv2
import numpy as np
import pytest

from configs.errors import ConfigError
from models.flow import PairFlow, pair_flow
from models.metrics import (
    PSNR_CEILING,
    FlickerMeter,
    bootstrap_ci,
    excess_flicker,
    pair_mse,
    pixel_mse,
    psnr,
    seam_ratio,
    sharpness,
    sharpness_ratio,
)


def scene(height=96, width=128, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def panning(frames, step=3):
    big = scene(96, 128 + step * frames)
    return [np.ascontiguousarray(big[:, t * step : t * step + 128]) for t in range(frames)]


def exact(dx, height=96, width=128):
    """Flow of a scene whose content moves by (0, dx) from frame to frame."""
    backward = np.zeros((height, width, 2), np.float32)
    backward[..., 0] = -dx
    x = np.arange(width)[None] - dx
    inside = np.broadcast_to((x >= 0) & (x < width), (height, width))
    return PairFlow(backward, -backward, inside)


def test_flow_finds_a_pan_and_masks_what_leaves():
    before, after = panning(2, step=5)
    flow = pair_flow(before, after)
    error = np.abs(flow.backward[8:-8, 8:-16] - (5, 0)).mean()
    assert error < 0.3
    assert flow.mask[8:-8, 8:-16].mean() > 0.9
    assert flow.mask[:, -4:].mean() < 0.2


def test_conventions_differ_as_published():
    before, after = panning(2, step=6)
    flow = exact(-6)
    masked, everything, minus = (pair_mse(before, after, flow, c) for c in ("masked", "all", "minus_forward"))
    assert masked == 0
    assert everything > 100  # zeros come in from outside
    assert minus == pytest.approx(everything)  # the same pixels for a uniform motion
    with pytest.raises(ConfigError, match="raft"):
        pair_mse(before, after, flow, "raft")


def test_nothing_visible_is_nan():
    before, after = panning(2)
    flow = exact(0)
    hidden = PairFlow(flow.backward, flow.forward, np.zeros_like(flow.mask))
    assert math.isnan(pair_mse(before, after, hidden))


def test_meter_agrees_with_the_batch_form():
    source = panning(4)
    clip = [np.clip(f.astype(np.int16) + 20 * (t % 2), 0, 255).astype(np.uint8) for t, f in enumerate(source)]
    meter = FlickerMeter()
    for frame, edited in zip(source, clip, strict=True):
        meter.add(frame, out=edited)
    flows = [pair_flow(a, b) for a, b in itertools.pairwise(source)]
    assert meter.pairs["out"] == list(pixel_mse(clip, flows))
    assert meter.pairs["source"] == list(pixel_mse(source, flows))
    assert meter.mean("out") == pytest.approx(np.mean(meter.pairs["out"]))
    assert meter.mean("out") > 100 > meter.mean("source")


def test_meter_leaves_out_pairs_across_a_cut():
    meter = FlickerMeter()
    for t, frame in enumerate([*panning(2), scene(seed=5), scene(seed=5)]):
        if t == 2:
            meter.cut()
        meter.add(frame)
    values = meter.pairs["source"]
    assert [math.isnan(v) for v in values] == [False, True, False]
    assert meter.mean("source") == pytest.approx((values[0] + values[2]) / 2)


def test_meter_does_not_grow_with_the_clip():
    meter, frames, sizes = FlickerMeter(), [scene(32, 40, seed) for seed in range(2)], []
    for t in range(24):
        meter.add(frames[t % 2], out=frames[t % 2])
        sizes.append(len(pickle.dumps(meter)))
    assert sizes[-1] - sizes[3] < frames[0].nbytes


def test_meter_refuses_another_size():
    with pytest.raises(ConfigError, match="'out'"):
        FlickerMeter().add(scene(), out=scene(48, 64))


def test_tiny_frames_have_no_flicker_but_the_plain_difference():
    meter = FlickerMeter(beside=["all", "no_warp"])
    for t in range(2):
        meter.add(np.full((8, 40, 3), 3 * t, np.uint8))
    assert meter.courses["no_warp"]["source"] == [9.0]
    assert math.isnan(meter.mean("source"))
    assert math.isnan(meter.courses["all"]["source"][0])


def test_flow_refuses_tiny_and_unequal_frames():
    with pytest.raises(ConfigError, match="16x16"):
        pair_flow(np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(ConfigError, match="one size"):
        pair_flow(scene(), scene(48, 64))


def test_lengths_must_fit():
    with pytest.raises(ConfigError, match="3 frames need 2 flows, got 1"):
        pixel_mse(panning(3), [exact(0)])


def test_excess_flicker_scale():
    assert excess_flicker(10.0, 10.0, 60.0) == 0
    assert excess_flicker(60.0, 10.0, 60.0) == 1
    assert excess_flicker(5.0, 10.0, 60.0) < 0
    assert math.isnan(excess_flicker(5.0, 10.0, 10.0))


def test_psnr_of_a_known_error():
    flat = np.full((8, 8, 3), 100, np.uint8)
    assert psnr(flat, flat + np.uint8(16)) == pytest.approx(20 * math.log10(255 / 16))
    assert psnr(flat, flat) == PSNR_CEILING == 100.0
    nearly = np.zeros((512, 512, 3), np.float32)
    assert psnr(nearly, nearly + 1e-4) == PSNR_CEILING, "no picture is nearer than an equal one"
    with pytest.raises(ConfigError, match="one size"):
        psnr(flat, flat[:4])


def test_sharpness_falls_with_blur():
    frame = scene()
    blurred = cv2.GaussianBlur(frame, (0, 0), 2.0)
    assert sharpness_ratio([frame], [frame]) == 1
    assert sharpness_ratio([blurred], [frame]) < 0.8
    assert sharpness(np.full((8, 8, 3), 7, np.uint8)) == pytest.approx(0, abs=1e-6)


def test_seam_ratio_compares_borders_with_insides_of_the_same_shot():
    #        shot 0: frames 0-7, windows at 0, 4    |cut|  shot 1: frames 8-15, windows at 8, 12
    pairs = [1, 1, 1, 2, 1, 1, 1, 999, 10, 10, 10, 20, 10, 10, 10]
    assert seam_ratio(pairs, [0, 4, 8, 12], [(0, 8), (8, 16)]) == 2
    assert seam_ratio([1.0] * 15, [0, 4, 8, 12], [(0, 8), (8, 16)]) == 1
    assert math.isnan(seam_ratio([1.0] * 7, [0], [(0, 8)]))
    missing = [*pairs[:7], math.nan, *pairs[8:]]
    assert seam_ratio(missing, [0, 4, 8, 12], [(0, 8), (8, 16)]) == 2


def test_bootstrap_interval_holds_the_mean_and_narrows():
    rng = np.random.default_rng(0)
    few, many = (bootstrap_ci(list(rng.normal(5, 1, n))) for n in (10, 400))
    assert few.low < few.mean < few.high
    assert many.high - many.low < few.high - few.low
    assert many.low < 5 < many.high
    assert bootstrap_ci([1.0, 2.0, math.nan]) == bootstrap_ci([1.0, 2.0])
    assert math.isnan(bootstrap_ci([]).mean)
