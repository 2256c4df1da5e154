"""The flow that flicker is measured along is more exact than the ready-made choices, on warps that are known."""

import cv2
import numpy as np
import pytest

from models.flow import pair_flow

H, W = 128, 160


def picture(seed):
    """Detail at every scale, the coarse stronger, as in photographs."""
    rng, sum_ = np.random.default_rng(seed), np.zeros((H, W, 3), np.float32)
    for side in (2, 4, 8, 16, 32):
        grid = rng.normal(0, side, (H // side + 1, W // side + 1, 3)).astype(np.float32)
        sum_ += cv2.resize(grid, (W, H), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 40 * sum_ / sum_.std(), 0, 255).astype(np.uint8)


def smooth_motion(seed, reach):
    """A flow that bends over some 20 px, `reach` px at most."""
    noise = np.random.default_rng(seed + 100).normal(0, 1, (H, W, 2)).astype(np.float32)
    flow = cv2.GaussianBlur(noise, (0, 0), 20)
    return flow * (reach / np.abs(flow).max())


def warped(before, flow):
    y, x = np.mgrid[:H, :W].astype(np.float32)
    return cv2.remap(before, x + flow[..., 0], y + flow[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def ours(after, before):
    return pair_flow(before, after).backward


def dis_medium(after, before):
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (after, before)]
    return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*grey, None)


def farneback(after, before):
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (after, before)]
    return cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 3, 15, 3, 5, 1.2, 0)


@pytest.mark.parametrize("reach", [2.0, 6.0])
def test_our_settings_err_less_than_the_presets_on_a_known_warp(reach):
    """Mean endpoint error away from the border, over two pictures."""
    errors = {method: [] for method in (ours, dis_medium, farneback)}
    for seed in range(2):
        before, flow = picture(seed), smooth_motion(seed, reach)
        after = warped(before, flow)
        for method, found in errors.items():
            gap = np.hypot(*np.moveaxis(method(after, before) - flow, -1, 0))
            found.append(gap[12:-12, 12:-12].mean())
    mine, medium, other = (float(np.mean(found)) for found in errors.values())
    assert mine < 0.85 * medium
    assert mine < 0.5 * other


def test_the_flow_of_a_pair_is_repeatable():
    before = picture(0)
    after = warped(before, smooth_motion(0, 4.0))
    one, two = pair_flow(before, after), pair_flow(before, after)
    assert np.array_equal(one.backward, two.backward)
    assert np.array_equal(one.mask, two.mask)
