"""Matching frames of a film: the search of `models.patchmatch`, told what light and noise did between two frames.

The search takes a pair as it is, and every difference for a sign that something moved. In films the light drifts and
flickers, and grain is new in each frame; a match that is blended must follow neither.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.patch_light import relit
from models.patch_noise import noise_margin
from models.patch_plan import Plan
from models.patchmatch import Field, Method, nnf_batch


def frame_match(
    targets: NDArray[np.uint8],
    sources: NDArray[np.uint8],
    plan: Plan = Plan(),  # noqa: B008  (frozen)
    method: Method = "auto",
    device: str = "cpu",
) -> list[tuple[Field, NDArray[np.float32]]]:
    """Offsets int16 [H,W,2] and error float32 [H,W] of each of B pairs uint8 [B,H,W,3], as `models.patchmatch.nnf`.

    Each source is seen in the light of its target first (`patch_light.relit`), so that a change of exposure is no
    error either; and a match must beat staying by what the noise of the pair explains (`patch_noise.noise_margin`).
    On a steady and clean pair both change nothing. The batch changes no bit. Errors: as for `nnf_batch`.
    """
    lit = np.stack([relit(target, source) for target, source in zip(targets, sources, strict=True)])
    margins = [noise_margin(target, source, plan) for target, source in zip(targets, lit, strict=True)]
    found: dict[int, tuple[Field, NDArray[np.float32]]] = {}
    for margin in sorted(set(margins)):
        alike = [k for k, own in enumerate(margins) if own == margin]
        fields = nnf_batch(targets[alike], lit[alike], replace(plan, margin=margin), method=method, device=device)
        found |= dict(zip(alike, zip(*fields, strict=True), strict=True))
    return [found[k] for k in range(len(margins))]
