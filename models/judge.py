"""Which style does an output frame show, and how well does it keep its source? One ruler for every model.

Frozen before pocket v1 was trained: whatever changes a figure of it raises JUDGE_VERSION and voids those taken
before, be it here, in `models.looks` or in what the figures are taken with: `metrics.psnr` and `sharpness_ratio`,
`conditions.soft_edges`, the filters. A golden table in the tests holds it to that. (Still version 1: equal pictures
came to have 100 dB where they had infinity, which no figure published by then held.) It compares an output with the
known filters applied to *its own source*, so it needs no training. Knows frames and `models.pocket.styles`; refuses to
know models, prompts, jobs and time.

Reads a picture at its own pixel scale; calibrated at 256 px on the long side, pocket's working size.
Shape suffixes: F frames, H height, W width, C colour channels (RGB).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from models.conditions import soft_edges
from models.looks import look
from models.metrics import psnr, sharpness_ratio
from models.pocket.styles import STYLES, apply_style

JUDGE_VERSION = 1

FrameU8 = NDArray[np.uint8]

# Above it the output is near no known look. Lies (on 70 frames) between what must pass (shifted 3 px, blurred by sigma
# 2.5, contrast 0.7: 98 % read at most 0.35) and what must not (another scene in the same style, noise, flat pictures,
# colours blurred by sigma 16: 98 % read at least 0.55, bar pictures with next to nothing in them).
STRANGE = 0.5
_EDGE_BLUR = 1.5  # px; contours that moved by 1 or 2 px still agree
_LEAST_OWN = 0.1  # a filter that keeps fewer of the contours (mosaic on fine detail) is no measure for others


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one frame. The last five but `structure` are NaN where no style was wanted.

    style: one of STYLES, `photo` (unstyled: looks like the source) or `none` (near none of them).
    distances: per class but `none`, `models.looks` units, 0 equal. strangeness: see `Look.strangeness`, of the
    nearest class; above STRANGE the style is `none`.
    structure: agreement of the contours with the source's, [0, 1]. structure_ratio: over that of the filter's
    own output, for a sketch cannot keep what it does not draw; above 1 where the filter's own marks (the grout
    of `mosaic`) are missing. fidelity_psnr: dB, to the filter's output.
    colour_error: mean Lab delta E to it after a blur of sigma 4. sharpness_ratio: Laplacian energy over its.
    """

    style: str
    distances: Mapping[str, float]
    strangeness: float
    structure: float
    structure_ratio: float = math.nan
    fidelity_psnr: float = math.nan
    colour_error: float = math.nan
    sharpness_ratio: float = math.nan


class Judge:
    """All known looks of one source frame, taken once; then any number of outputs are judged by them.

    source: uint8 RGB (H, W, 3). `pictures`: each filter's output, and the source as `photo`. Errors: ValueError
    for another shape or dtype.
    """

    def __init__(self, source: FrameU8) -> None:
        """Apply every filter to the source: most of the cost."""
        self.pictures = MappingProxyType({name: apply_style(name, source) for name in (*STYLES, "photo")})
        self._looks = {name: look(picture) for name, picture in self.pictures.items()}
        self._contours = _contours(source)

    def __call__(self, out: FrameU8, wanted: str | None = None) -> Verdict:
        """Judge an output of the same size; `wanted`: one of STYLES or `photo`.

        Errors: ValueError for another size or dtype, or an unknown style.
        """
        if out.shape != self.pictures["photo"].shape or out.dtype != np.uint8:
            raise ValueError(f"the source is uint8 {self.pictures['photo'].shape}, the output {out.dtype} {out.shape}")
        if wanted is not None and wanted not in self.pictures:
            raise ValueError(f"unknown style {wanted!r}; known: {', '.join(self.pictures)}")
        seen = look(out)
        distances = {name: known.distance(seen) for name, known in self._looks.items()}
        nearest = min(distances, key=lambda name: distances[name])
        strangeness = self._looks[nearest].strangeness(seen)
        style = nearest if strangeness <= STRANGE else "none"
        found = MappingProxyType(distances)
        structure = _agreement(_contours(out), self._contours)
        if wanted is None:
            return Verdict(style, found, strangeness, structure)
        target = self.pictures[wanted]
        own = _agreement(_contours(target), self._contours)
        return Verdict(
            style,
            found,
            strangeness,
            structure,
            structure_ratio=structure / own if own >= _LEAST_OWN else math.nan,
            fidelity_psnr=psnr(out, target),
            colour_error=self._looks[wanted].colour_difference(seen),
            sharpness_ratio=sharpness_ratio([out], [target]),
        )


def judge_frame(source: FrameU8, out: FrameU8, wanted: str | None = None) -> Verdict:
    """Judge one output frame by its source; keep a `Judge` where several outputs share a source."""
    return Judge(source)(out, wanted)


def summary(verdicts: Sequence[Verdict], wanted: str) -> dict[str, Any]:
    """Mean figures of a clip's judged frames, NaN left out (NaN where nothing is left), and which styles they show."""
    figures = ("structure", "structure_ratio", "fidelity_psnr", "colour_error", "sharpness_ratio")
    means: dict[str, Any] = {}
    for name in figures:
        known = [value for v in verdicts if not math.isnan(value := getattr(v, name))]
        means[name] = sum(known) / len(known) if known else math.nan
    seen = Counter(v.style for v in verdicts)
    accuracy = seen[wanted] / len(verdicts) if verdicts else math.nan
    return {"style_accuracy": accuracy, **means, "judged_frames": len(verdicts), "styles": dict(seen.most_common())}


def _contours(frame: FrameU8) -> NDArray[np.float32]:
    """Soft contours (H, W), blurred, with zero mean."""
    blurred = cv2.GaussianBlur(soft_edges(frame[None])[0], (0, 0), _EDGE_BLUR)
    return np.asarray(blurred - blurred.mean(), np.float32)


def _agreement(mine: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """Correlation of two contour maps, [0, 1]: 0 also where it is negative or a picture has no contours."""
    scale = float(np.linalg.norm(mine)) * float(np.linalg.norm(theirs))
    return min(1.0, max(0.0, float((mine * theirs).sum()) / scale)) if scale > 1e-6 else 0.0
