"""Small H.264 clips for the report: encoded in memory, all alike, and together under a size limit.

Takes frames from any iterable and knows no store, job or page.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, islice
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from configs.errors import ConfigError
from tasks.video.encoder import steady_x264

Frames = Iterable[npt.NDArray[np.uint8]]

MAX_SIDE = 480
# Long side, crf, one frame in so many, usual size beside the first rung. Picture quality goes first, then size,
# then smoothness; rungs that cannot be small enough by far are not tried.
LADDER = (
    (480, 24, 1, 1.0),
    (480, 29, 1, 0.5),
    (360, 30, 1, 0.3),
    (360, 34, 1, 0.2),
    (256, 34, 1, 0.12),
    (256, 38, 2, 0.05),
    (192, 40, 4, 0.02),
)


@dataclass(frozen=True)
class Previews:
    """Encoded clips by name, at one frame in `every` of the video's `fps` (frames per second after that)."""

    clips: Mapping[str, bytes]
    fps: float
    every: int


def preview_mp4(frames: Frames, fps: float, max_side: int = MAX_SIDE, crf: int = 24) -> bytes:
    """Return the frames as an mp4 (H.264, yuv420p, no sound), scaled down so that no side is over `max_side`.

    `frames`: uint8 RGB [H,W,3], all of one size; sides are made even, never enlarged otherwise. Errors:
    ConfigError when there is no frame or a frame of another shape.
    """
    coming = iter(frames)
    first = next(coming, None)
    if first is None:
        raise ConfigError("a preview needs at least one frame, got none")
    height, width = _size(first.shape, max_side)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        # a key frame every second, so that stepping and seeking in the page are quick
        stream.options = {"crf": str(crf), "preset": "medium", "g": str(max(1, round(fps))), **steady_x264()}
        stream.thread_count = 1
        for frame in chain([first], coming):
            if frame.shape != first.shape:
                raise ConfigError(f"all frames of a preview must be {first.shape}, got {frame.shape}")
            small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(small), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def previews_within(clips: Mapping[str, Callable[[], Frames]], fps: float, max_bytes: float) -> Previews:
    """Encode all clips on the best rung of the ladder whose total, as base64, is at most `max_bytes`.

    `clips` maps names to functions that start reading a clip anew. On the last rung a clip is cut short where
    even that is too large, never left out: no clip is shown beside one that is longer.
    """
    encoded: dict[str, bytes] = {}
    whole = 0.0
    for max_side, crf, every, share in LADDER:
        if share != LADDER[-1][-1] and whole * share > 2 * max_bytes:
            continue
        encoded = {
            name: preview_mp4(islice(opened(), 0, None, every), fps / every, max_side, crf)
            for name, opened in clips.items()
        }
        if _base64_size(encoded) <= max_bytes:
            return Previews(encoded, fps / every, every)
        whole = whole or float(_base64_size(encoded))
    max_side, crf, every, _ = LADDER[-1]
    kept = _length(encoded)
    while _base64_size(encoded) > max_bytes and kept > 1:
        kept = max(1, min(kept - 1, int(kept * 0.9 * max_bytes / _base64_size(encoded))))
        encoded = {
            name: preview_mp4(islice(opened(), 0, kept * every, every), fps / every, max_side, crf)
            for name, opened in clips.items()
        }
    return Previews(encoded, fps / every, every)


def _length(encoded: Mapping[str, bytes]) -> int:
    lengths = []
    for data in encoded.values():
        with av.open(io.BytesIO(data)) as container:
            lengths.append(container.streams.video[0].frames)
    return max(lengths, default=0)


def _base64_size(encoded: Mapping[str, bytes]) -> int:
    return sum(-(-len(data) // 3) * 4 for data in encoded.values())


def _size(shape: tuple[int, ...], max_side: int) -> tuple[int, int]:
    """(height, width), even and at least 2."""
    scale = min(1.0, max_side / max(shape[:2]))
    height, width = (max(2, round(side * scale / 2) * 2) for side in shape[:2])
    return min(height, max_side), min(width, max_side)
