"""Task 4, restoration: a small, noisy, flickering copy comes nearer to the original it was made from."""

from __future__ import annotations

import cv2
import numpy as np

from tests.benchmarks.five_tasks.bench import STEADY, Bench, Frames, Row, likeness, rows_of

COMMAND = "steadyframe restyle CLIP --preset restore --out DIR"
ABOUT = (
    "The clip was shrunk to half its size and enlarged again, given noise (sigma 10 of 255) and a brightness that "
    "jumps by up to 4 % from frame to frame. PSNR and sharpness are to the clip before that."
)


def spoilt(frames_FHWC: Frames, seed: int) -> Frames:
    """Half the resolution, noise and flicker."""
    rng = np.random.default_rng(seed)
    out = np.empty_like(frames_FHWC)
    for number, frame in enumerate(frames_FHWC):
        high, wide = frame.shape[:2]
        small = cv2.resize(frame, (wide // 2, high // 2), interpolation=cv2.INTER_AREA)
        large = cv2.resize(small, (wide, high), interpolation=cv2.INTER_CUBIC).astype(np.float32)
        noisy = large * rng.uniform(0.96, 1.04) + rng.normal(0, 10, large.shape)
        out[number] = np.clip(np.round(noisy), 0, 255)
    return out


def measure(bench: Bench) -> list[Row]:
    """The product's result, its control and what was put in."""
    rows: list[Row] = []
    for number, (name, scene) in enumerate(bench.scenes().items()):
        clean, bad = scene.frames_FHWC, spoilt(scene.frames_FHWC, number)
        path = bench.written(f"spoilt-{name}", bad)
        arms = {
            "result": bench.restyled("restore", path),
            "no deflicker": bench.restyled("restore", path, STEADY),
            "spoilt clip as it is": bad,
        }
        rows += rows_of(name, clean, arms, {arm: likeness(made, clean) for arm, made in arms.items()})
    return rows
