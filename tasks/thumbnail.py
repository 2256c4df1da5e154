"""A small picture of a finished video, kept with its report, so that a page of thousands opens no video."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from tasks.run import StageRecord
from tasks.store import StageKey, Store, TornArtifact

PART = "thumbnail.jpg"
LONG_SIDE = 168
QUALITY = 72


def jpeg(picture: npt.NDArray[np.uint8]) -> bytes:
    """Return an RGB picture [H,W,3] as a JPEG of a few kB, its long side at most `LONG_SIDE` pixels."""
    height, width = picture.shape[:2]
    scale = min(1.0, LONG_SIDE / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(np.ascontiguousarray(picture), size, interpolation=cv2.INTER_AREA)
    done, coded = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return coded.tobytes() if done else b""


def thumbnail_of(store: Store, stages: Iterable[StageRecord]) -> bytes:
    """Return the thumbnail that the report of a video left, found by its stages; b'' where there is none (any more)."""
    for stage in stages:
        if stage.stage == "report":
            manifest = store.lookup(StageKey("report", stage.key, {}))
            try:
                if manifest and manifest.part(PART):
                    return store.read_part(manifest, PART)
            except TornArtifact:  # a page without one of its pictures is still a page
                return b""
    return b""
