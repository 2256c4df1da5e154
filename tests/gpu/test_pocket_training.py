"""Training of pocket on a CUDA device: the checkpoint of one device is gone on with on the other."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from models.pocket.autoencoder import BlockAutoencoder, fit_blocks
from models.pocket.checkpoint import load_average
from models.pocket.pairs import COLOUR_FILE, colour_directions, write_shard
from models.pocket.sample import WEIGHTS
from models.pocket.train_autoencoder import train as train_autoencoder
from models.pocket.train_autoencoder import training_pictures
from models.pocket.train_diffusion import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: nothing here says anything about GPUs"),
]


@pytest.mark.parametrize("bfloat16", [False, True])
def test_diffusion_goes_on_across_devices(tmp_path: Path, bfloat16: bool) -> None:
    vae = BlockAutoencoder.from_pretrained(WEIGHTS / "vae", torch_dtype=torch.float32)
    for index in range(2):
        write_shard(tmp_path / f"shard-{index:03d}.safetensors", index, 2, vae, None)
    save_file({"colour": colour_directions(vae)}, tmp_path / COLOUR_FILE)
    for stop_at, device in enumerate(("cuda", "cpu", "auto"), 1):
        train(
            argparse.Namespace(
                out=tmp_path / "run", pool=tmp_path, resume=True, minutes=5.0, steps=3, stop_at=stop_at, batch=1,
                lr=1e-3, seed=0, threads=1, save_every=10, warmup=2, start_from=None, bfloat16=bfloat16, alone=None,
                device=device,
            )
        )  # fmt: skip
        values, step, _ = load_average(tmp_path / "run")
        assert step == stop_at
        assert all(value.device.type == "cpu" and math.isfinite(float(value.sum())) for value in values.values())


def test_the_autoencoder_goes_on_across_devices(tmp_path: Path) -> None:
    pictures = training_pictures(20, 0, None)
    model = BlockAutoencoder(latent_channels=6, block_out_channels=(4, 4, 8, 8), kernel_size=16)
    fit_blocks(model, pictures.float() / 127.5 - 1)
    for number, (stop_at, device) in enumerate(((4, "cuda"), (7, "cuda"), (8, "cpu"), (9, "cuda"))):
        model = BlockAutoencoder.from_pretrained(tmp_path) if number else model
        common = {"out": tmp_path, "steps": 9, "seed": 0, "save_every": 100}
        given = argparse.Namespace(**common, stop_at=stop_at, resume=number > 0, device=device)
        train_autoencoder(model, pictures, given)
        assert load_average(tmp_path)[1] == stop_at
