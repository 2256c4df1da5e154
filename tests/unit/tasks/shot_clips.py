"""A small clip with cuts, and the job and the pool that tests of shots, rungs, forecasts and budgets share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

from configs.job import RestyleJob

LENGTHS = (8, 6, 8)


def cut_clip(path: Path, lengths: Sequence[int] = LENGTHS, height: int = 48, width: int = 64, seed: int = 0) -> Path:
    """Shots of moving textures, each of another brightness and colour."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for number, length in enumerate(lengths):
            tint = np.array([(40, 200, 60), (210, 40, 160), (60, 60, 220)][number % 3], np.uint8)
            small = rng.integers(0, 40, (height // 4, width // 2, 3), np.uint8)
            big = small.repeat(4, 0).repeat(4, 1) // 2 + tint
            for n in range(length):
                picture = np.ascontiguousarray(np.roll(big.astype(np.uint8), n, axis=1)[:, :width])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def dry_job(out: Path, **changes: Any) -> RestyleJob:
    """Three steps of the model that computes nothing, in windows of four frames."""
    return RestyleJob.model_validate(
        {
            "prompt": "x",
            "model": {"path": "dry"},
            "num_inference_steps": 3,
            "guidance_scale": 2.0,
            "window": {"size": 4},
            "deflicker": {"window": 1},
            "working_size": 64,
            "out": str(out),
            "report": {"max_megabytes": 0.2},
            **changes,
        }
    )
