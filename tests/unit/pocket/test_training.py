"""Training is reproducible and resumes as if it had never stopped."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import CLIPTokenizer

from models.pocket.autoencoder import BlockAutoencoder, fit_blocks
from models.pocket.batches import STEERINGS, Batch, degraded
from models.pocket.checkpoint import load_average
from models.pocket.device import training_device
from models.pocket.export import write_folder
from models.pocket.networks import (
    CONTROLS,
    LATENT_CHANNELS,
    TEXT_WIDTH,
    Networks,
    begin_as_identity,
    build_networks,
    build_scheduler,
)
from models.pocket.pairs import COLOUR_FILE, STYLE_NAMES, colour_directions, read_shards, write_shard
from models.pocket.sample import WEIGHTS
from models.pocket.train_autoencoder import train as train_autoencoder
from models.pocket.train_autoencoder import training_pictures
from models.pocket.train_diffusion import train
from models.pocket.vocabulary import write_tokenizer


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shards of two procedural pictures each."""
    folder = tmp_path_factory.mktemp("pool")
    vae = BlockAutoencoder.from_pretrained(WEIGHTS / "vae", torch_dtype=torch.float32)
    for index in range(2):
        write_shard(folder / f"shard-{index:03d}.safetensors", index, 2, vae, None)
    save_file({"colour": colour_directions(vae)}, folder / COLOUR_FILE)
    return folder


def _run(out: Path, pool: Path, stop_at: int, resume: bool = False, **changes: Any) -> None:
    train(
        argparse.Namespace(
            **{
                "out": out, "pool": pool, "resume": resume, "minutes": 5.0, "steps": 3, "stop_at": stop_at, "batch": 1,
                "lr": 1e-3, "seed": 0, "threads": 1, "save_every": 10, "warmup": 2, "start_from": None,
                "bfloat16": False, "alone": None, "device": "cpu", **changes,
            }
        )
    )  # fmt: skip


def test_a_shard_holds_every_style_of_every_picture(pool: Path) -> None:
    """Scaled latents of about unit size, words for each picture."""
    pairs = read_shards(sorted(pool.glob("shard-*")))
    assert pairs.targets_NSChw.shape == (4, len(STYLE_NAMES), LATENT_CHANNELS, 18, 32)
    assert pairs.edges_NHW.shape == (4, 144, 256)
    assert pairs.depth_NHW.shape == (4, 144, 256)
    assert pairs.objects_Nhw.shape == (4, 18, 32)
    assert all(
        depth.max() > 0 and objects.max() > 0 for depth, objects in zip(pairs.depth_NHW, pairs.objects_Nhw, strict=True)
    )
    assert len(pairs.words) == len(pairs.procedural_N) == 4
    photo = pairs.targets_NSChw[:, STYLE_NAMES.index("photo")]
    torch.testing.assert_close(photo, pairs.source_NChw)


def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path, pool: Path) -> None:
    """Two steps at once, or one, a stop, and another."""
    threads = torch.get_num_threads()
    _run(tmp_path / "straight", pool, stop_at=2)
    _run(tmp_path / "stopped", pool, stop_at=1, resume=True)  # nothing is there yet: it begins
    _run(tmp_path / "stopped", pool, stop_at=2, resume=True)
    torch.set_num_threads(threads)
    straight, step, _ = load_average(tmp_path / "straight")
    resumed, same, _ = load_average(tmp_path / "stopped")
    assert step == same == 2
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)


@pytest.mark.parametrize("bfloat16", [False, True])
def test_one_control_trained_alone_and_exported_leaves_the_others_to_the_bit(
    tmp_path: Path, pool: Path, bfloat16: bool
) -> None:
    threads = torch.get_num_threads()
    for name in ("depth", "reference"):
        _run(tmp_path / name, pool, stop_at=1, start_from=WEIGHTS, alone=name, bfloat16=bfloat16)
    torch.set_num_threads(threads)
    _, more = write_folder(tmp_path / "reference", WEIGHTS / "vae", tmp_path / "made", {"depth": tmp_path / "depth"})
    assert {name: steps for name, (steps, _) in more.items()} == {"depth": 1}
    for name in ("unet", "text_encoder", "vae", *CONTROLS):
        shipped, made = (_weights_of(folder / name) for folder in (WEIGHTS, tmp_path / "made"))
        same = [torch.equal(made[key], shipped[key]) for key in shipped]
        trained = name in ("controlnet_depth", "controlnet_reference")
        assert (all(same), any(same)) == (not trained, not trained), name


def _weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return {key: value for file in folder.glob("*.safetensors") for key, value in load_file(file).items()}


def test_batches_are_decided_by_their_seed_and_meet_every_steering(pool: Path, tmp_path: Path) -> None:
    """The same seed draws the same batch; over seeds both controls, each alone, and none come up."""
    pairs = read_shards(sorted(pool.glob("shard-*")))
    write_tokenizer(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    alphas_cumprod = build_scheduler().alphas_cumprod
    one, same = (Batch(pairs, tokenizer, alphas_cumprod, 5, 4) for _ in range(2))
    assert torch.equal(one.noisy_NChw, same.noisy_NChw)
    assert torch.equal(one.ids_NL, same.ids_NL)
    drawn = [Batch(pairs, tokenizer, alphas_cumprod, seed, 1).steering for seed in range(120)]
    assert all(steering in drawn for steering in STEERINGS.values())
    for batch in (one, Batch(pairs, tokenizer, alphas_cumprod, 6, 4, "softedge")):
        assert {name: control.shape[1] for name, control in batch.controls.items()} == {
            name: channels for name, (_kind, channels) in CONTROLS.items()
        }


def test_a_batch_moves_to_a_device_whole(pool: Path, tmp_path: Path) -> None:
    """Whatever tensor a batch comes to have; the batch itself stays where it was."""
    write_tokenizer(tmp_path)
    pairs = read_shards(sorted(pool.glob("shard-*")))
    batch = Batch(pairs, CLIPTokenizer.from_pretrained(tmp_path), build_scheduler().alphas_cumprod, 5, 2)
    moved = batch.to(torch.device("meta"))

    def places(one: Batch) -> set[str]:
        values = [*vars(one).values(), *one.controls.values()]
        return {value.device.type for value in values if isinstance(value, torch.Tensor)}

    assert (places(batch), places(moved)) == ({"cpu"}, {"meta"})
    assert moved.steering is batch.steering


def test_training_takes_a_gpu_if_there_is_one_and_else_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert training_device("auto") == torch.device(device)
        assert training_device("cpu") == torch.device("cpu")


def test_what_words_name_weighs_more_only_where_nothing_else_knows_its_colour(pool: Path, tmp_path: Path) -> None:
    """Without the tile's colours objects count for more; with them all pixels are alike."""
    pairs = read_shards(sorted(pool.glob("shard-*")))
    write_tokenizer(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    alphas_cumprod = build_scheduler().alphas_cumprod
    for seed in range(4):
        both, softedge, depth = (
            Batch(pairs, tokenizer, alphas_cumprod, seed, 4, name) for name in ("both", "softedge", "depth")
        )
        assert (both.weights_N1hw == 1).all()
        assert softedge.weights_N1hw.max() > 2
        assert softedge.weights_N1hw.min() == depth.weights_N1hw.min() == 1


def test_a_reference_is_another_picture_in_the_same_look_and_the_words_do_not_name_it(
    pool: Path, tmp_path: Path
) -> None:
    pairs = read_shards(sorted(pool.glob("shard-*")))
    write_tokenizer(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    alphas_cumprod = build_scheduler().alphas_cumprod
    silent = {tokenizer(words).input_ids[1] for words in ("watercolor", "sketch", "neon", "mosaic", "oil", "blueprint")}
    for seed in range(8):
        batch = Batch(pairs, tokenizer, alphas_cumprod, seed, 4, "reference")
        assert not silent & set(batch.ids_NL.flatten().tolist())
        assert batch.controls["controlnet_reference"].shape == batch.x0_NChw.shape


def test_restoring_means_a_blurred_and_noisy_tile_of_the_picture_wanted() -> None:
    """Later channels lose most, noise is added, and a luck of zero loses nearly nothing of the first ones."""
    latents = torch.ones(64, LATENT_CHANNELS, 4, 4)
    spoilt = degraded(latents, torch.Generator().manual_seed(0))
    kept = spoilt.mean(dim=(0, 2, 3))
    assert kept[0] > 0.9
    assert kept[-1] < 0.6
    assert 0.02 < float(spoilt[:, 0].std(dim=(1, 2)).mean()) < 0.2


def test_untrained_networks_answer_with_the_tile(pool: Path) -> None:
    """The first weights hand the source through, whatever the noise; without that start they know nothing of it."""
    source = read_shards(sorted(pool.glob("shard-*"))).source_NChw.float()
    alphas_cumprod = build_scheduler().alphas_cumprod

    def error(networks: Networks, timestep: int) -> float:
        alpha = alphas_cumprod[timestep]
        noisy = alpha.sqrt() * source + (1 - alpha).sqrt() * torch.randn(source.shape)
        tile = networks.controlnets["controlnet_tile"]
        time, words = torch.full((len(source),), timestep), torch.randn(len(source), 4, TEXT_WIDTH)
        with torch.no_grad():
            down, middle = tile(noisy, time, words, source, return_dict=False)
            got = networks.unet(
                noisy, time, words, down_block_additional_residuals=down, mid_block_additional_residual=middle
            ).sample
        return float((got - source).square().mean() / source.square().mean())

    torch.manual_seed(0)
    networks = build_networks(300, 0)
    assert error(networks, 500) > 0.5
    begin_as_identity(networks, source)
    assert max(error(networks, 999), error(networks, 100)) < 0.03


def test_the_autoencoder_resumes_to_the_same_bits_and_keeps_its_space(tmp_path: Path) -> None:
    """Nine steps at once, or a stop on each side of the settling; after it the encoder never moves."""
    pictures = training_pictures(20, 0, None)

    def run(out: Path, steps: int, resume: bool) -> BlockAutoencoder:
        model = (
            BlockAutoencoder.from_pretrained(out)
            if resume
            else BlockAutoencoder(latent_channels=6, block_out_channels=(4, 4, 8, 8), kernel_size=16)
        )
        if not resume:
            torch.manual_seed(0)
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.05)
            fit_blocks(model, pictures.float() / 127.5 - 1)
        train_autoencoder(
            model,
            pictures,
            argparse.Namespace(out=out, steps=9, stop_at=steps, resume=resume, seed=0, save_every=100, device="cpu"),
        )
        return BlockAutoencoder.from_pretrained(out)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    straight = run(tmp_path / "straight", 9, False)
    run(tmp_path / "stopped", 4, False)
    settled = run(tmp_path / "stopped", 7, True)
    resumed = run(tmp_path / "stopped", 9, True)
    torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))
    assert torch.equal(settled.encoder.weight, resumed.encoder.weight)
    assert torch.equal(resumed.encoder.weight, resumed.encoder.weight.half().float())


def test_colour_directions_hold_even_colours_and_nothing_of_brightness() -> None:
    """Turned into latents, an even picture's colour lies along them, its brightness across."""
    vae = BlockAutoencoder.from_pretrained(WEIGHTS / "vae", torch_dtype=torch.float32)
    colour = colour_directions(vae)
    torch.testing.assert_close(colour @ colour.T, torch.eye(2), atol=1e-5, rtol=0)

    def along(rgb: tuple[float, float, float]) -> float:
        even = torch.tensor(rgb).view(1, 3, 1, 1).expand(1, 3, 64, 64)
        with torch.no_grad():
            found = vae.encode(even).latent_dist.mean - vae.encode(torch.zeros_like(even)).latent_dist.mean
        middle = found[0, :, 4, 4]
        return float((colour @ middle).norm() / middle.norm())

    assert along((0.4, -0.1, -0.3)) > 0.95
    assert along((0.4, 0.4, 0.4)) < 0.2
