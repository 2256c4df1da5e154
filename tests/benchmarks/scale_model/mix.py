"""Mixes of videos: how many frames each has, the clips of a real run, and the large library that is only simulated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.small_clips import write_clip

WINDOW = 8  # frames
LEAST, MOST = 16, 1440  # frames of a video of the large library


def windows(frames: int) -> int:
    """Windows of a video of one shot."""
    return -(-frames // WINDOW)


def write_mix(folder: Path, lengths: Sequence[int], seed: int) -> Path:
    """One clip per length, none like another, so that nothing is found in the store."""
    folder.mkdir(parents=True)
    for n, frames in enumerate(lengths):
        write_clip(folder / f"clip-{n:03d}.mp4", frames=frames, seed=1000 * seed + n)
    return folder


def large_library(count: int, seed: int = 0) -> list[int]:
    """Frames of `count` videos, largest first as a library runs them: log-normal, half of them below 10 s at 24 frames
    per second, none beyond a minute.
    """
    rng = np.random.default_rng(seed)
    drawn = rng.lognormal(np.log(240), 0.8, count)
    return sorted((int(np.clip(frames, LEAST, MOST)) for frames in drawn), reverse=True)
