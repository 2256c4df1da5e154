"""Bar 4: from a real frame to noise and back by DDIM, against what the autoencoder alone loses.

Inversion and sampling share schedule, conditioning (no words, as the `invert` stage) and guidance 1. Beside the bar's
own arm: without the fixed point, and without controls. Frames are taken one by one, apart in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.inversion import invert
from models.metrics import psnr
from models.schedule import from_config
from tests.benchmarks.pocket_quality.bars import Bar, mean, table
from tests.benchmarks.pocket_quality.loop import controls_of, decode, encode, network
from tests.benchmarks.pocket_quality.record import Record
from tests.benchmarks.pocket_quality.subject import (
    FIRST_SEED,
    TEST_CLIPS,
    FramesU8,
    Subject,
    frame_count,
    real_frames,
    scene_frames,
)
from tests.plain_ddim import denoise

FRAMES = 4
NAIVE = 0


def material() -> dict[str, Callable[[], FramesU8]]:
    """Four frames of each real clip, spread over it, and of four scenes."""

    def spread(name: str) -> FramesU8:
        step = frame_count(name) // FRAMES
        return real_frames(name, range(step // 2, step * FRAMES, step))

    return {
        **{name: partial(spread, name) for name in TEST_CLIPS},
        "procedural scenes": partial(scene_frames, FRAMES, FIRST_SEED + 500),
    }


@torch.inference_mode()
def there_and_back(
    subject: Subject, frames_NHWC: FramesU8, steps: int, fixed_point: int, controlled: bool
) -> dict[str, Any]:
    """PSNR of the way to noise and back, of the autoencoder alone, and how far from its root each step was left."""
    backbone, model = subject.backbone, subject.model
    source: Tensor = encode(backbone, frames_NHWC)
    schedule = from_config(backbone.scheduler_config, steps).invertible()
    controls = controls_of(model, backbone.factor, frames_NHWC, source)
    scales = [c.scale if controlled else 0.0 for c in model.controls]
    predict = network(backbone, backbone.embed("", ""), controls, scales)
    trajectory, errors = invert(source, predict, schedule, fixed_point)
    back = denoise(trajectory[-1], predict, schedule)

    def level(latents: Tensor) -> float:
        return float(np.mean([psnr(a, b) for a, b in zip(decode(backbone, latents), frames_NHWC, strict=True)]))

    whole, alone = level(back), level(source)
    return {
        "frames": len(frames_NHWC),
        "psnr": whole,
        "autoencoder_psnr": alone,
        "loss": alone - whole,
        "residual": float(errors.nanmean()) if fixed_point else None,
        "noise_deviation": float(trajectory[-1].float().std()),
    }


def _read_and_go(subject: Subject, read: Callable[[], FramesU8], *how: Any) -> dict[str, Any]:
    return there_and_back(subject, read(), *how)


def measure(subject: Subject, record: Record, steps: int, fixed_point: int) -> dict[str, Any]:
    """Figures by set and arm; procedural scenes with controls only."""
    rows = []
    for name, read in material().items():
        for controlled in (True, False):
            if not (controlled or name in TEST_CLIPS):
                continue
            for passes in (NAIVE, fixed_point):
                make = partial(_read_and_go, subject, read, steps, passes, controlled)
                arm = f"{'with' if controlled else 'without'} controls"
                piece = record.piece(f"inversion/{name}/{steps}/{passes}/{arm}", make)
                rows.append({"set": name, "fixed_point": passes, "controlled": controlled, **piece})
    return {"steps": steps, "fixed_point": fixed_point, "rows": rows}


def bars(found: Mapping[str, Any]) -> list[Bar]:
    """Bar 4: real frames, fixed point; with the preset's controls, and without any."""
    lines = []
    for controlled, words in ((True, "with"), (False, "without")):
        losses = [
            row["loss"]
            for row in found["rows"]
            if row["set"] in TEST_CLIPS and row["controlled"] == controlled and row["fixed_point"]
        ]
        what = f"4. inversion and back at {found['steps']} steps, {words} controls: below the autoencoder, real frames"
        lines.append(Bar(what, mean(losses), 1, "at most", "dB"))
    return lines


def section(found: Mapping[str, Any]) -> str:
    """The table."""
    rows = [
        [
            row["set"],
            row["frames"],
            "yes" if row["controlled"] else "no",
            row["fixed_point"] or "naive",
            row["psnr"],
            row["autoencoder_psnr"],
            row["loss"],
            row["residual"],
            row["noise_deviation"],
        ]
        for row in found["rows"]
    ]
    head = [
        "frames of",
        "n",
        "controls",
        "extra passes",
        "PSNR dB",
        "autoencoder dB",
        "loss dB",
        "residual",
        "noise sd",
    ]
    return f"""{table(head, rows)}

{found["steps"]} inversion steps, then as many DDIM steps of the same schedule, no words, guidance 1, frames one by one.
Extra passes: predictions per step of the fixed point (`inversion.fixed_point`). Loss: below the autoencoder's own round
trip. Residual: mean relative error left at a step. Noise sd: standard deviation of where the inversion ends; 1 is what
sampling starts from.
"""
