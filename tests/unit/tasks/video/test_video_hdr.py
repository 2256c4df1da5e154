"""The HDR curves against figures of the standards, and the roll-off's promises."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.video.hdr import PEAK_NITS, WHITE_NITS, hlg_to_nits, nits_to_pq, pq_to_nits, roll_off, to_sdr


@pytest.mark.parametrize(("nits", "signal"), [(0, 0.0), (100, 0.508), (203, 0.581), (1000, 0.752), (10000, 1.0)])
def test_pq_has_the_values_of_bt_2408(nits, signal):
    assert float(nits_to_pq(np.array([nits], np.float32))[0]) == pytest.approx(signal, abs=6e-4)


def test_pq_inverts():
    signal = np.linspace(0, 1, 101, dtype=np.float32)
    assert np.allclose(nits_to_pq(pq_to_nits(signal)), signal, atol=1e-4)


def test_hlg_reference_white_is_three_quarters_signal():
    assert float(hlg_to_nits(np.full((1, 3), 0.75, np.float32))[0, 0]) == pytest.approx(203, abs=1)
    assert float(hlg_to_nits(np.ones((1, 3), np.float32))[0, 0]) == pytest.approx(1000, abs=2)


def test_the_roll_off_is_the_identity_in_the_dark_and_rises_to_white():
    nits = np.linspace(0, 2 * PEAK_NITS, 400, dtype=np.float32)
    rolled = roll_off(nits)
    assert np.allclose(rolled[nits < 85], nits[nits < 85], rtol=2e-3, atol=1e-3)
    assert (np.diff(rolled) >= -1e-3).all()
    assert rolled.max() == pytest.approx(WHITE_NITS, rel=2e-3)


def test_grey_stays_grey_and_black_black():
    signal = np.repeat(np.linspace(0, 1, 50, dtype=np.float32)[None, :, None], 3, axis=2)
    out = to_sdr(signal, "pq", wide=True).astype(int)
    assert np.abs(out - out[..., :1]).max() <= 1
    assert (out[0, 0] == 0).all()
    assert (np.diff(out[0, :, 0]) >= 0).all()
