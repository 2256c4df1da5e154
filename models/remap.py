"""Remap a picture through a nearest-neighbour field by letting overlapping patches vote.

Legend: H W picture, C channels. It knows a field and a picture; not where either comes from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from models.patch_kernels import jit

Image = NDArray[np.float32]

LANES = 4
"""Channels that are summed side by side: one 16-byte vector of float32."""


def vote(image: Image, offsets: NDArray[np.int16], patch: int = 5) -> Image:
    """Rebuild a target frame out of the patches of `image` that its pixels match.

    `image`: float32 [H,W,C] in the source frame's geometry, any range. `offsets`: int16 [H,W,2] as (dy, dx),
    target to source. `patch`: odd side r + 1 + r of the voting patches. Returns float32 [H,W,C] in the
    target's geometry: the mean of image(p + offset(p + d)) over |d| <= r, leaving out terms where p + d or
    its match lies outside. Linear in `image`, within its bounds, and exactly a copy where the field is a
    plain shift around p. Source: the vote of EbSynth and FastBlend (arXiv 2311.09265), divided by the number
    of valid terms.
    """
    height, width, channels = image.shape
    if offsets.shape != (height, width, 2) or offsets.dtype != np.int16:
        raise ConfigError(
            f"the field for a picture of {height}x{width} must be int16 [{height},{width},2], "
            f"got {offsets.dtype} {list(offsets.shape)}: correspondence and pictures differ in working size"
        )
    if patch < 1 or patch % 2 == 0:
        raise ConfigError(f"patch must be odd, got {patch}")
    runs = _runs(offsets)
    if channels == LANES:
        return _vote(np.ascontiguousarray(image, np.float32), offsets, runs, patch // 2)
    out = np.empty((height, width, channels), np.float32)
    for first in range(0, channels, LANES):
        part = image[..., first : first + LANES]
        lanes = np.zeros((height, width, LANES), np.float32)
        lanes[..., : part.shape[2]] = part
        out[..., first : first + LANES] = _vote(lanes, offsets, runs, patch // 2)[..., : part.shape[2]]
    return out


@jit
def _runs(offsets):  # type: ignore[no-untyped-def]
    """How many pixels to the left, this one included, share the offset of each pixel (capped at 255)."""
    height, width, _ = offsets.shape
    runs = np.ones((height, width), np.uint8)
    for y in range(height):
        for x in range(1, width):
            if offsets[y, x, 0] == offsets[y, x - 1, 0] and offsets[y, x, 1] == offsets[y, x - 1, 1]:
                runs[y, x] = min(np.int64(runs[y, x - 1]) + 1, 255)
    return runs


@jit
def _vote(image, offsets, runs, radius):  # type: ignore[no-untyped-def]
    """`vote` for four channels. A row of the patch with one offset is one term; so is a whole patch."""
    height, width, _ = image.shape
    out = np.empty_like(image)
    for y in range(height):
        top, bottom = max(y - radius, 0), min(y + radius, height - 1)
        for x in range(width):
            left, right = max(x - radius, 0), min(x + radius, width - 1)
            across = right - left + 1
            uniform = True
            for ny in range(top, bottom + 1):
                same = offsets[ny, right, 0] == offsets[y, x, 0] and offsets[ny, right, 1] == offsets[y, x, 1]
                if not same or runs[ny, right] < across:
                    uniform = False
                    break
            qy, qx = y + np.int64(offsets[y, x, 0]), x + np.int64(offsets[y, x, 1])
            if uniform and qy >= 0 and qy < height and qx >= 0 and qx < width:
                for c in range(4):
                    out[y, x, c] = image[qy, qx, c]
                continue
            a0 = a1 = a2 = a3 = np.float32(0)
            terms = np.float32(0)
            for ny in range(top, bottom + 1):
                at = right
                while at >= left:
                    count = min(np.int64(runs[ny, at]), at - left + 1)
                    qy, qx = y + np.int64(offsets[ny, at, 0]), x + np.int64(offsets[ny, at, 1])
                    if qy >= 0 and qy < height and qx >= 0 and qx < width:
                        weight = np.float32(count)
                        a0 += weight * image[qy, qx, 0]
                        a1 += weight * image[qy, qx, 1]
                        a2 += weight * image[qy, qx, 2]
                        a3 += weight * image[qy, qx, 3]
                        terms += weight
                    at -= count
            if terms == 0:  # only in a field that points outside everywhere, which `nnf` never makes
                a0, a1, a2, a3 = image[y, x, 0], image[y, x, 1], image[y, x, 2], image[y, x, 3]
                terms = np.float32(1)
            out[y, x, 0] = a0 / terms
            out[y, x, 1] = a1 / terms
            out[y, x, 2] = a2 / terms
            out[y, x, 3] = a3 / terms
    return out
