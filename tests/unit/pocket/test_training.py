"""Training is reproducible and resumes as if it had never stopped."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from models.pocket.autoencoder import BlockAutoencoder
from models.pocket.checkpoint import load_average
from models.pocket.pairs import STYLE_NAMES, read_shards, write_shard
from models.pocket.sample import WEIGHTS
from models.pocket.train_diffusion import train


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of two procedural pictures each."""
    folder = tmp_path_factory.mktemp("pool")
    vae = BlockAutoencoder.from_pretrained(WEIGHTS / "vae", torch_dtype=torch.float32)
    for index in range(2):
        write_shard(folder / f"shard-{index:03d}.safetensors", index, 2, vae, None)
    return folder


def _run(out: Path, pool: Path, stop_at: int, resume: bool = False) -> None:
    train(
        argparse.Namespace(
            out=out, pool=pool, resume=resume, minutes=5.0, steps=3, stop_at=stop_at, batch=1, lr=1e-3,
            seed=0, threads=1, save_every=10,
            warmup=2, start_from=None,
        )
    )  # fmt: skip


def test_a_shard_holds_every_style_of_every_picture(pool: Path) -> None:
    """Scaled latents of about unit size, words for each picture."""
    pairs = read_shards(sorted(pool.iterdir()))
    assert pairs.targets_NSChw.shape == (4, len(STYLE_NAMES), 16, 18, 32)
    assert pairs.edges_NHW.shape == (4, 144, 256)
    assert len(pairs.words) == 4
    photo = pairs.targets_NSChw[:, STYLE_NAMES.index("photo")]
    torch.testing.assert_close(photo, pairs.source_NChw)


def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path, pool: Path) -> None:
    """Two steps at once, or one, a stop, and another."""
    threads = torch.get_num_threads()
    _run(tmp_path / "straight", pool, stop_at=2)
    _run(tmp_path / "stopped", pool, stop_at=1)
    _run(tmp_path / "stopped", pool, stop_at=2, resume=True)
    torch.set_num_threads(threads)
    straight, step, _ = load_average(tmp_path / "straight")
    resumed, same, _ = load_average(tmp_path / "stopped")
    assert step == same == 2
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
