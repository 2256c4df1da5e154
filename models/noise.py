"""Where every random number of a run comes from: keyed by what it is for, never by who computes it.

Initial noise is keyed by (seed) or (seed, frame in the clip): no window, shard, worker or job can change it.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


def keyed_normal(shape: tuple[int, ...], *key: int | str) -> Tensor:
    """Standard normal float32 tensor of `shape`, a pure function of `key`; drawn on the CPU on every device."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def initial_noise(mode: str, seed: int, clip_frames: range, shape: tuple[int, int, int]) -> Tensor:
    """Noise [F,C,H,W] for frames numbered in the clip: `fixed` repeats one draw (DiffSynth), `per_frame` does not."""
    if mode == "fixed":
        return keyed_normal(shape, "fixed", seed).expand(len(clip_frames), *shape).clone()
    return torch.stack([keyed_normal(shape, "frame", seed, frame) for frame in clip_frames])
