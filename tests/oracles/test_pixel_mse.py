"""Oracle 19 of the deflicker specification: what Pixel-MSE is for known motion and known noise."""

import cv2
import numpy as np
import pytest

from models.flow import PairFlow, consistent
from models.metrics import CONVENTIONS, FlickerMeter, pair_mse, pixel_mse

H, W = 96, 128


def texture(height=H, width=W, seed=0):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def drifting(frames, dy, dx, noise=0.0, seed=0):
    """A picture whose content moves by (dy, dx) whole pixels a frame, as float with noise of its own per frame."""
    rng, reach = np.random.default_rng(seed), (frames - 1) * max(abs(dy), abs(dx))
    scene = texture(H + 2 * reach, W + 2 * reach)
    cut = [
        scene[reach - t * dy : reach - t * dy + H, reach - t * dx : reach - t * dx + W].astype(np.float32)
        for t in range(frames)
    ]
    return [frame + rng.normal(0, noise, frame.shape).astype(np.float32) for frame in cut]


def exact_flow(dy, dx):
    """The flow that `drifting` has, with the mask that follows from it."""
    forward = np.broadcast_to(np.float32((dx, dy)), (H, W, 2)).copy()
    return PairFlow(-forward, forward, consistent(-forward, forward))


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (0, 3), (-2, 0), (5, -7)])
def test_oracle_19_translation_with_exact_flow_is_zero(dy, dx):
    frames, flow = drifting(4, dy, dx), exact_flow(dy, dx)
    assert flow.mask.sum() == (H - abs(dy)) * (W - abs(dx))
    assert pixel_mse(frames, [flow] * 3) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("dy", "dx"), [(0, 0), (2, -3)])
@pytest.mark.parametrize("deviation", [2.0, 6.0, 20.0])
def test_oracle_19_noise_counts_twice(deviation, dy, dx):
    """Independent noise of deviation s in each frame of a moving picture adds 2 s^2, to within 5 %."""
    flow = exact_flow(dy, dx)
    clean, noisy = (np.mean(pixel_mse(drifting(5, dy, dx, noise), [flow] * 4)) for noise in (0.0, deviation))
    assert noisy - clean == pytest.approx(2 * deviation**2, rel=0.05)


def test_oracle_19_the_other_conventions_are_not_zero_for_a_translation():
    """What the oracle says holds for our convention only: the others count the border, or the motion itself."""
    before, after = drifting(2, 2, -5)
    found = {c: pair_mse(before, after, exact_flow(2, -5), c) for c in CONVENTIONS}
    assert found.pop("masked") == 0
    assert min(found.values()) > 20


def test_oracle_19_with_measured_flow_noise_still_counts_twice():
    """The meter as used: flow of a clean source, noise in the clip alone."""
    source = [frame.astype(np.uint8) for frame in drifting(4, 1, 3)]
    noisy, meter = drifting(4, 1, 3, noise=8.0), FlickerMeter()
    for frame, edited in zip(source, noisy, strict=True):
        meter.add(frame, clip=edited)
    assert meter.mean("clip") - meter.mean("source") == pytest.approx(2 * 8.0**2, rel=0.1)
