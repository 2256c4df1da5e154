"""Correspondence by dense optical flow: the second way to match two frames, under the contract of `nnf`.

Legend: H W picture; offsets int16 [H,W,2] as (dy, dx), target to source; error float32 [H,W]. DIS flow of OpenCV both
ways (settings: `models.flow`), rounded to whole pixels. Unlike PatchMatch it is smooth, knows where a pixel has no
counterpart, and sees luma only; it knows no seed. OpenCV computes it in floats: any number of threads gives the same
bits on one machine, another build or processor need not (`numerics` says what it hangs on).
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from models.flow import pair_flow
from models.patchmatch import Field, errors_of


def flow_match(
    target: NDArray[np.uint8], source: NDArray[np.uint8], patch: int = 5
) -> tuple[Field, NDArray[np.float32]]:
    """Match every pixel of `target` to a pixel of `source` along optical flow; in and out as `models.patchmatch.nnf`.

    The error is the patch SSD of the rounded match (`errors_of`), and `unmatched(patch)` where the way there and back
    does not close (Sundaram et al., ECCV 2010) or leads outside: such a pixel is hidden in the source, and what flow
    points at is another thing, however alike. Equal pictures give exactly zero offsets. Raises ConfigError for
    pictures or patches it cannot take; a side must have 16 pixels at least. Source: Kroeger et al., ECCV 2016 (DIS).
    """
    if target.dtype != np.uint8 or source.dtype != np.uint8:
        raise ConfigError(f"frames to match must be uint8, got {target.dtype} and {source.dtype}")
    flow = pair_flow(before=source, after=target)
    height, width = target.shape[:2]
    y, x = np.mgrid[:height, :width]
    row = np.clip(y + np.rint(flow.backward[..., 1]), 0, height - 1)
    column = np.clip(x + np.rint(flow.backward[..., 0]), 0, width - 1)
    offsets = np.stack([row - y, column - x], axis=-1).astype(np.int16)
    error = errors_of(target, source, offsets, patch)
    return offsets, np.where(flow.mask, error, np.float32(unmatched(patch)))


def unmatched(patch: int) -> int:
    """The error of a pixel without counterpart: the SSD of a black and a white patch, which no match can exceed.

    Whatever an operator makes of errors, it then trusts nothing less than this; "confidence" weighs it with nothing.
    """
    return 3 * patch**2 * 255**2


def numerics() -> dict[str, str]:
    """What the bits of `flow_match` hang on besides the frames: OpenCV's build and the vector units it uses here.

    Its scalar and its AVX-512 code differ by 0.002 px, which rounding hides nearly everywhere, but not by law.
    """
    return {"opencv": cv2.__version__, "processor": cv2.getCPUFeaturesLine()}
