"""The weights under test, opened once, and the pictures they are tested on: none of them was trained on.

Knows where test clips lie and the seeds kept from training; refuses to know what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from configs.errors import ConfigError
from configs.job import ModelConfig
from configs.presets import load_preset
from models.backbone import Backbone, describe, load
from models.pocket.autoencoder import BlockAutoencoder
from models.pocket.sample import read_frames
from models.pocket.scenes import render_clip
from models.weights import find_model
from tests.benchmarks.clips import REAL

FramesU8 = NDArray[np.uint8]

# Tests only, by their licences too (see MANIFEST.md beside them); `models.pocket.pictures` does not name them.
TEST_CLIPS = ("dog_audio.mp4", "juggle_portrait.mp4")
FIRST_SEED = 80_000  # training draws its seeds at random from 2^31; those of tests are from here on
HEIGHT, WIDTH = 144, 256


@dataclass(frozen=True)
class Subject:
    """A model of the pocket preset. path: 'pocket' or a diffusers folder. threads: per model call."""

    path: str = "pocket"
    device: str = "cpu"
    threads: int = 1

    @cached_property
    def model(self) -> ModelConfig:
        """The preset's model, controls and all, with other weights."""
        preset = load_preset("pocket")["model"]
        return ModelConfig.model_validate({**preset, "path": self.path, "threads_per_call": self.threads})

    @cached_property
    def digest(self) -> str:
        """Sha256 over the files of the model."""
        return describe(self.model).digest

    @cached_property
    def backbone(self) -> Backbone:
        """The loaded networks."""
        return load(self.model, self.device)

    @cached_property
    def vae(self) -> BlockAutoencoder:
        """The autoencoder alone, float32 on the CPU."""
        folder = find_model(self.model).component("vae")
        loaded: BlockAutoencoder = BlockAutoencoder.from_pretrained(folder, torch_dtype=torch.float32)
        loaded.eval()
        return loaded


def real_clip(name: str) -> Path:
    """Path of a test clip. Errors: ConfigError if the clips do not lie beside the project."""
    path = REAL / name
    if not path.exists():
        raise ConfigError(f"missing test clip {path}; the bars are about real clips, nothing stands in for them")
    return path


def real_frames(name: str, indices: Sequence[int], long_side: int = 256) -> FramesU8:
    """Frames (N, H, W, 3) of a test clip, scaled."""
    return read_frames(real_clip(name), list(indices), long_side)


def frame_count(name: str) -> int:
    """How many frames a test clip has."""
    reader = cv2.VideoCapture(str(real_clip(name)))
    count = int(reader.get(cv2.CAP_PROP_FRAME_COUNT))
    reader.release()
    return count


def scene_frames(count: int, first: int = FIRST_SEED) -> FramesU8:
    """One frame (N, 144, 256, 3) of each of `count` procedural scenes."""
    return np.concatenate([render_clip(first + n, 1, HEIGHT, WIDTH).frames_FHWC for n in range(count)])
