"""The clip of the chaos suite, the undisturbed result, and how many seeds to try."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.chaos.killing import outcome, start


def write_clip(path: Path, frames: int = 17, height: int = 48, width: int = 64) -> Path:
    """A small moving texture."""
    rng = np.random.default_rng(3)
    big = rng.integers(0, 255, (height // 4, width // 2, 3)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for n in range(frames):
            picture = np.ascontiguousarray(np.roll(big, 2 * n, axis=1)[:, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("chaos") / "clip.mp4")


@pytest.fixture(scope="session")
def undisturbed(clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return outcome(start(clip, tmp_path_factory.mktemp("chaos") / "undisturbed"))
