"""PQ and HLG pictures brought down to SDR, deliberately and by published formulas.

Arrays in, arrays out: knows neither files nor frames. Only used when the job says `input.hdr=tonemap`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tasks.video.facts import Hdr

Float = npt.NDArray[np.float32]

# SMPTE ST 2084 constants.
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
# Rec. ITU-R BT.2100 HLG constants.
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073

PEAK_NITS = 1000.0  # what nearly all HDR is graded to; brighter samples clip
WHITE_NITS = 203.0  # HDR reference white of BT.2408; becomes SDR full scale
# BT.2020 to BT.709 primaries, linear light (BT.2087 matrix, inverted).
_TO_709 = np.array(
    [[1.660491, -0.587641, -0.072850], [-0.124550, 1.132900, -0.008349], [-0.018151, -0.100579, 1.118730]],
    np.float32,
)
_LUMA_2020 = np.array([0.2627, 0.6780, 0.0593], np.float32)


def pq_to_nits(signal: Float) -> Float:
    """The ST 2084 EOTF: signal in 0..1 to cd/m2 in 0..10000."""
    power = np.power(np.clip(signal, 0.0, 1.0), 1.0 / _M2)
    nits = 10000.0 * np.power(np.maximum(power - _C1, 0.0) / (_C2 - _C3 * power), 1.0 / _M1)
    return nits.astype(np.float32)


def nits_to_pq(nits: Float) -> Float:
    """The inverse of `pq_to_nits`."""
    power = np.power(np.maximum(nits, 0.0) / 10000.0, _M1)
    return np.power((_C1 + _C2 * power) / (1.0 + _C3 * power), _M2).astype(np.float32)


def hlg_to_nits(signal: Float) -> Float:
    """BT.2100 HLG: inverse OETF, then the OOTF of a 1000 cd/m2 display (gamma 1.2); [..., RGB] 0..1 in."""
    signal = np.clip(signal, 0.0, 1.0)
    scene = np.where(signal <= 0.5, signal**2 / 3.0, (np.exp((signal - _C) / _A) + _B) / 12.0)
    luma = np.maximum(scene @ _LUMA_2020, 1e-6)[..., None]
    return (PEAK_NITS * scene * luma**0.2).astype(np.float32)


def roll_off(nits: Float) -> Float:
    """The EETF of Rec. ITU-R BT.2390 (section 5.4.1) from `PEAK_NITS` to `WHITE_NITS`, black kept at 0.

    The identity below its knee (about 90 cd/m2), a Hermite spline in PQ above.
    """
    top = float(nits_to_pq(np.float32(PEAK_NITS)))  # type: ignore[arg-type]
    limit = float(nits_to_pq(np.float32(WHITE_NITS))) / top  # type: ignore[arg-type]
    knee = 1.5 * limit - 0.5
    e1 = np.minimum(nits_to_pq(nits) / top, 1.0)
    t = np.clip((e1 - knee) / (1.0 - knee), 0.0, 1.0)
    spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1.0 - knee) + (-2 * t**3 + 3 * t**2) * limit
    return pq_to_nits(np.where(e1 < knee, e1, spline).astype(np.float32) * top)


def to_sdr(signal: Float, kind: Hdr, wide: bool) -> npt.NDArray[np.uint8]:
    """uint8 BT.709 R'G'B' from PQ or HLG R'G'B' in 0..1, both [H,W,3].

    The roll-off is found for the largest channel of each pixel and applied to all three, so hue stays;
    `wide` says the primaries are BT.2020. The result is encoded for a BT.1886 display (gamma 2.4).
    """
    nits = pq_to_nits(signal) if kind == "pq" else hlg_to_nits(signal)
    brightest = np.maximum(nits.max(axis=-1, keepdims=True), 1e-4)
    linear = nits * (roll_off(brightest) / brightest) / WHITE_NITS
    if wide:
        linear = linear @ _TO_709.T
    encoded = np.power(np.clip(linear, 0.0, 1.0), 1.0 / 2.4)
    return np.rint(encoded * 255.0).astype(np.uint8)
