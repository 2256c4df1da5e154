"""The dry backbone: deterministic, and sensitive to everything that enters a call."""

from __future__ import annotations

from dataclasses import replace

import torch

from configs.job import ModelConfig
from models.attention import Layout, call_layout
from models.backbone import Backbone, describe, load
from models.prompts import PromptEmbeds
from models.sampling import windows_of

LAYOUT = call_layout(windows_of(9, 4)[1], 4, ("first", "-1", "0"))


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def call(
    latents: torch.Tensor | None = None,
    timestep: int = 5,
    prompt: PromptEmbeds | None = None,
    control: torch.Tensor | None = None,
    layout: Layout = LAYOUT,
    guidance: float = 2.0,
) -> torch.Tensor:
    backbone: Backbone = load(ModelConfig(path="dry"), "cpu")
    latents = randn(6, 4, 4, 4) if latents is None else latents
    control = randn(6, 3, 32, 32, seed=1) if control is None else control
    prompt = prompt or backbone.embed("a", "b")
    return backbone.predict(latents, timestep, prompt, [control], [1.0], layout, guidance)


def test_same_call_same_bits() -> None:
    assert torch.equal(call(), call())


def test_everything_that_enters_matters() -> None:
    base, embed = call(), load(ModelConfig(path="dry"), "cpu").embed
    others = [
        call(timestep=6),
        call(prompt=embed("c", "b")),
        call(prompt=embed("a", "c")),
        call(control=randn(6, 3, 32, 32, seed=2)),
        call(guidance=3.0),
    ]
    assert all(not torch.equal(base, other) for other in others)


def test_a_wrong_halo_row_is_visible_in_the_rows_that_see_it() -> None:
    base, latents = call(), randn(6, 4, 4, 4)
    latents[1] += 0.5  # the halo, frame 3
    changed = [row for row in range(6) if not torch.equal(base[row], call(latents)[row])]
    assert changed == [1, 2]


def test_a_frame_in_the_wrong_place_is_visible() -> None:
    wrong = replace(LAYOUT, frames=(0, 2, *LAYOUT.frames[2:]))
    assert not torch.equal(call(), call(layout=wrong))


def test_pictures_survive_encoding_at_block_size() -> None:
    backbone = load(ModelConfig(path="dry"), "cpu")
    frames = torch.rand(2, 3, 4, 6).repeat_interleave(8, 2).repeat_interleave(8, 3)
    latents = backbone.encode(frames)
    assert latents.shape == (2, 4, 4, 6)
    torch.testing.assert_close(backbone.decode(latents), frames)


def test_facts_and_dtype() -> None:
    assert describe(ModelConfig(path="dry")).digest == "dry-1"
    half = load(ModelConfig(path="dry", dtype="bfloat16", dry_delay=0.001), "cpu")
    assert half.encode(torch.rand(1, 3, 8, 8)).dtype == torch.bfloat16
    assert isinstance(half.factor, int)
