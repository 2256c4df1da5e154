"""A small clip for tests that need a file: a moving texture, deterministic by its seed. No pytest."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from tasks.video.encoder import steady_x264


def write_clip(path: Path, frames: int = 10, height: int = 48, width: int = 64, seed: int = 1, speed: int = 1) -> Path:
    """Write H.264 at 25 frames per second; the texture moves `speed` pixels a frame to the right."""
    rng = np.random.default_rng(seed)
    big = rng.integers(0, 255, (height // 4, width // 2, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=steady_x264())
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            picture = np.ascontiguousarray(np.roll(big, speed * n, axis=1)[:, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
