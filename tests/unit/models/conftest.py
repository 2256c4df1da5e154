"""Tiny random models in diffusers' folder format, made once per test session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors: a second thread only spins, and on a busy machine costs a hundredfold."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


BLOCKS = {"block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
UNET = {
    **BLOCKS,
    "in_channels": 4,
    "cross_attention_dim": 16,
    "attention_head_dim": 2,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
}


def make_tokenizer(folder: Path) -> None:
    """A character-level CLIP tokenizer of 8 tokens per prompt."""
    from transformers import CLIPTokenizer

    letters = "abcdefghijklmnopqrstuvwxyz,"
    entries = [*letters, *(c + "</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {entry: number for number, entry in enumerate(entries)}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(folder, model_max_length=8)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="session")
def tiny_sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-to-image model with two ControlNets and, in `vae_tiny`, an AutoencoderTiny (factor 8)."""
    from diffusers import AutoencoderKL, AutoencoderTiny, ControlNetModel, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    root = tmp_path_factory.mktemp("tiny_sd")
    torch.manual_seed(7)
    ups = ("UpBlock2D", "CrossAttnUpBlock2D")
    UNet2DConditionModel(sample_size=8, out_channels=4, up_block_types=ups, **UNET).save_pretrained(root / "unet")
    for name in ("controlnet", "controlnet_1"):
        control = ControlNetModel(conditioning_embedding_out_channels=(8, 8), **UNET)
        # fresh ControlNets end in zeros: a wrong control would not show
        for layer in [*control.controlnet_down_blocks, control.controlnet_mid_block]:
            torch.nn.init.normal_(layer.weight, std=0.2)
        torch.nn.init.normal_(control.controlnet_cond_embedding.conv_out.weight, std=0.5)
        control.save_pretrained(root / name)
    AutoencoderKL(
        **BLOCKS,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        scaling_factor=0.5,
    ).save_pretrained(root / "vae")
    AutoencoderTiny(
        encoder_block_out_channels=(4,) * 4,
        decoder_block_out_channels=(4,) * 4,
        num_encoder_blocks=(1,) * 4,
        num_decoder_blocks=(1,) * 4,
    ).save_pretrained(root / "vae_tiny")
    text = CLIPTextConfig(
        vocab_size=56,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=8,
        bos_token_id=54,
        eos_token_id=55,
        pad_token_id=55,
    )
    CLIPTextModel(text).save_pretrained(root / "text_encoder")
    make_tokenizer(root / "tokenizer")
    DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    ).save_pretrained(root / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
    }
    (root / "model_index.json").write_text(json.dumps(index))
    return root
