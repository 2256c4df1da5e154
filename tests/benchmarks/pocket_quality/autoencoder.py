"""Bar 1: what is lost between pixels and latents, before any diffusion; beside it, the same without its ideas.

Arms, all with as many channels: `blocks`, principal components of 8x8 blocks and nothing else, fitted in this run;
`lapped`, the shipped linear transform without its correction network; `whole`, as shipped. JPEG, whose 8x8 blocks
everybody has seen, is the landmark for the blockiness figure.
Legend: N pictures, H W pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.metrics import psnr
from models.pocket.autoencoder import BlockAutoencoder, fit_blocks
from models.pocket.pictures import PHOTOGRAPHS, draw_picture, real_pictures
from tests.benchmarks.clips import REAL
from tests.benchmarks.pocket_quality.bars import Bar, mean, table
from tests.benchmarks.pocket_quality.record import Record
from tests.benchmarks.pocket_quality.subject import (
    HEIGHT,
    TEST_CLIPS,
    WIDTH,
    FramesU8,
    Subject,
    frame_count,
    real_frames,
    scene_frames,
)

FITTED_ON, STRIDE, SCENES, CROP, BLOCK = 240, 4, 20, 256, 8
# Set before anything was measured and not calibrated by eye: the JPEG rows say what such a ratio looks like.
NO_BLOCKS = 1.05
LANDMARKS = (90, 75)  # JPEG qualities
ARMS = ("blocks", "lapped", "whole", *(f"JPEG {quality}" for quality in LANDMARKS))


def blockiness(frames_NHWC: NDArray[np.uint8], size: int = BLOCK) -> float:
    """Mean absolute pixel step across block borders over the mean step elsewhere, both directions: 1 without blocks.

    NaN for flat pictures. Errors: ValueError if a side holds no border.
    """
    if min(frames_NHWC.shape[1:3]) <= size:
        raise ValueError(f"pictures of {frames_NHWC.shape[1:3]} hold no border of {size} px blocks")
    values = frames_NHWC.astype(np.float32)
    across, elsewhere = [], []
    for axis in (1, 2):
        steps = np.moveaxis(np.abs(np.diff(values, axis=axis)), axis, 0)
        border = np.arange(1, len(steps) + 1) % size == 0
        across.append(steps[border].ravel())
        elsewhere.append(steps[~border].ravel())
    low = float(np.concatenate(elsewhere).mean(dtype=np.float64))
    return float(np.concatenate(across).mean(dtype=np.float64)) / low if low else float("nan")


def colour_error(frames_NHWC: NDArray[np.uint8], rebuilt_NHWC: NDArray[np.uint8]) -> float:
    """Absolute difference of the channel means of each picture, in levels, averaged."""
    means = [x.astype(np.float64).mean(axis=(1, 2)) for x in (frames_NHWC, rebuilt_NHWC)]
    return float(np.abs(means[0] - means[1]).mean())


@torch.no_grad()
def round_trip(vae: BlockAutoencoder, frames_NHWC: FramesU8) -> FramesU8:
    """Encode and decode, eight pictures at a time, and round to bytes."""
    parts = []
    for part in torch.split(torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2), 8):
        rebuilt = vae(part.float() / 127.5 - 1).sample.clamp(-1, 1)
        parts.append(((rebuilt + 1) * 127.5).round().byte().permute(0, 2, 3, 1))
    return np.asarray(torch.cat(parts).numpy(), dtype=np.uint8)


def jpeg(frames_NHWC: FramesU8, quality: int) -> FramesU8:
    """The same pictures after JPEG at a quality, 0 to 100."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality]
    coded = (cv2.imencode(".jpg", frame[..., ::-1], options)[1] for frame in frames_NHWC)
    return np.stack([np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1] for data in coded])


def linear_blocks(channels: int) -> BlockAutoencoder:
    """Principal components of 8x8 blocks of procedural pictures and openly licensed photographs, no training."""
    photographs = [source for source in real_pictures(REAL) if source[0] in set(PHOTOGRAPHS.values())]
    rng = np.random.default_rng(FITTED_ON)
    drawn = np.stack([draw_picture(rng, photographs).picture_HWC for _ in range(FITTED_ON)])
    model: BlockAutoencoder = BlockAutoencoder(latent_channels=channels, kernel_size=BLOCK)
    fit_blocks(model, torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1)
    return model


def without_correction(vae: BlockAutoencoder) -> BlockAutoencoder:
    """The linear transform of a trained autoencoder alone."""
    linear: BlockAutoencoder = copy.deepcopy(vae)
    torch.nn.init.zeros_(linear.to_rgb.weight)
    if linear.to_rgb.bias is not None:
        torch.nn.init.zeros_(linear.to_rgb.bias)
    return linear


def material() -> dict[str, Callable[[], FramesU8]]:
    """Sets of pictures by name, read when asked for."""

    def whole(name: str) -> FramesU8:
        return real_frames(name, range(0, frame_count(name), STRIDE))

    def crops(name: str) -> FramesU8:
        frames = real_frames(name, range(0, frame_count(name), STRIDE), long_side=512)
        top, left = (frames.shape[1] - CROP) // 2, (frames.shape[2] - CROP) // 2
        return np.ascontiguousarray(frames[:, top : top + CROP, left : left + CROP])

    return {
        **{f"{name}, whole frames at 256 px": partial(whole, name) for name in TEST_CLIPS},
        **{f"{name}, middle {CROP}x{CROP} at native size": partial(crops, name) for name in TEST_CLIPS},
        f"procedural scenes, {HEIGHT}x{WIDTH}": partial(scene_frames, SCENES),
    }


def measure(subject: Subject, record: Record) -> dict[str, Any]:
    """Figures by set of pictures and arm."""

    @cache
    def arms() -> Mapping[str, Callable[[FramesU8], FramesU8]]:
        trips = {
            "blocks": linear_blocks(int(subject.vae.config.latent_channels)),
            "lapped": without_correction(subject.vae),
            "whole": subject.vae,
        }
        return {
            **{name: partial(round_trip, vae) for name, vae in trips.items()},
            **{f"JPEG {quality}": partial(jpeg, quality=quality) for quality in LANDMARKS},
        }

    def figures(read: Callable[[], FramesU8]) -> dict[str, Any]:
        frames = read()
        own = blockiness(frames)
        row: dict[str, Any] = {"frames": len(frames), "source": {"blockiness": own}}
        for arm, through in arms().items():
            rebuilt = through(frames)
            blocks = blockiness(rebuilt)
            row[arm] = {
                "psnr": float(np.mean([psnr(a, b) for a, b in zip(rebuilt, frames, strict=True)])),
                "colour_error": colour_error(frames, rebuilt),
                "blockiness": blocks,
                "blocks_over_source": blocks / own,
            }
        return row

    return {
        "channels": int(subject.vae.config.latent_channels),
        "sets": {
            name: record.piece(f"autoencoder/{name}", partial(figures, read)) for name, read in material().items()
        },
    }


def bars(found: Mapping[str, Any]) -> list[Bar]:
    """Bar 1: PSNR, colour, blocks, of the autoencoder as shipped."""
    sets = {name: row["whole"] for name, row in found["sets"].items()}

    def level(words: str) -> float | None:
        return mean([row["psnr"] for name, row in sets.items() if words in name])

    return [
        Bar("1. round trip of real clips, whole frames at 256 px", level("whole frames"), 29, unit="dB"),
        Bar(f"1. round trip of real clips, {CROP}x{CROP} crops at native size", level("native"), 29, unit="dB"),
        Bar("1. round trip of procedural frames", level("procedural"), 32, unit="dB"),
        Bar("1. mean colour error, worst set", max(r["colour_error"] for r in sets.values()), 1, "at most", "levels"),
        Bar(
            "1. steps across 8 px borders over the source's, worst set",
            max(r["blocks_over_source"] for r in sets.values()),
            NO_BLOCKS,
            "at most",
        ),
    ]


def section(found: Mapping[str, Any]) -> str:
    """The table, with both control arms."""
    rows = [
        [name, row["frames"], arm, *(row[arm][k] for k in ("psnr", "colour_error", "blockiness", "blocks_over_source"))]
        for name, row in found["sets"].items()
        for arm in ARMS
    ]
    head = ["pictures", "frames", "arm", "PSNR dB", "colour error", "blockiness", "over the source's"]
    gain = {
        arm: mean([row["whole"]["psnr"] - row[arm]["psnr"] for row in found["sets"].values()])
        for arm in ("blocks", "lapped")
    }
    return f"""{table(head, rows)}

The first three have {found["channels"]} channels. `blocks`: principal components of 8x8 blocks, fitted in this run to
{FITTED_ON} procedural pictures and photographs, nothing else. `lapped`: the shipped linear transform with its
correction network silenced (it was not trained to stand alone). `whole`: as shipped; over all sets
{gain["blocks"]:+.2f} dB over blocks and {gain["lapped"]:+.2f} dB over its own linear part. PSNR is the mean over
frames, then over clips; every {STRIDE}th frame. Colour error: difference of the channel means of a frame, in levels
of 255.

Blockiness: mean absolute pixel step across the borders of 8 px blocks over that at all other places, and the same over
the source's own, where 1 means no blocks. The limit of {NO_BLOCKS} is this page's, set beforehand and not calibrated by
eye; JPEG at two qualities is there to compare with.
"""
