"""The built-in demo clip behind the source name `demo`: a procedural scene with sound, rendered once per user.

Knows how to write one small file; restyling it is the same as for any other source.
"""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from platformdirs import user_cache_path

from tasks.video.encoder import steady_x264

FRAMES = 50
FPS = 25
SEED = 23
_RATE = 48_000
_VERSION = 2  # part of the folder's name: another clip must not be taken for this one


def demo_clip(folder: Path | None = None) -> Path:
    """Path of the demo clip (256×144, 2 s, AAC sound) in `folder`, default the user's cache; rendered if missing."""
    folder = folder or user_cache_path("steadyframe", appauthor=False) / f"demo-{_VERSION}"
    path = folder / "demo.mp4"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"demo-{os.getpid()}.part.mp4"
        _write(part)
        os.replace(part, path)
    return path


def _write(path: Path) -> None:
    from models.pocket.scenes import render_clip

    frames_FHWC = render_clip(SEED, FRAMES).frames_FHWC
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "16", "threads": "1", **steady_x264()})
        video.height, video.width = frames_FHWC.shape[1:3]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=_RATE)
        for picture in frames_FHWC:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        sound = _chime(FRAMES * _RATE // FPS)
        for start in range(0, len(sound), 1024):
            block = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = _RATE, start, Fraction(1, _RATE)
            container.mux(audio.encode(block))
        container.mux(audio.encode(None))


def _chime(samples: int) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    """Four soft notes, float32 [samples] within ±0.2."""
    t = np.arange(samples) / _RATE
    notes = np.array([261.6, 329.6, 392.0, 523.3])
    at = np.minimum((t * 2).astype(int), 3)
    return np.asarray(0.2 * np.exp(-4 * (t - at / 2)) * np.sin(2 * np.pi * notes[at] * t), np.float32)
