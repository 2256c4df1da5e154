"""The diffusers backbone: what it computes, on tiny random models."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest
import torch

from configs.errors import DeviceError, WeightsError
from configs.job import ControlConfig, ModelConfig
from models.attention import Layout, call_layout
from models.backbone import Backbone, DiffusersBackbone, describe, load
from models.sampling import windows_of

WINDOW = windows_of(6, 2)[1]
LAYOUT = call_layout(WINDOW, 2, ("first", "-1", "0"))
CONTROLS = (ControlConfig(model="controlnet"), ControlConfig(model="controlnet_1"))


@pytest.fixture(scope="module")
def backbone(tiny_sd: Path) -> DiffusersBackbone:
    loaded = load(ModelConfig(path=str(tiny_sd), controls=CONTROLS), "cpu")
    assert isinstance(loaded, DiffusersBackbone)
    return loaded


def call(
    backbone: Backbone,
    scales: tuple[float, ...] = (1.0, 0.5),
    guidance: float = 3.0,
    layout: Layout = LAYOUT,
    prompt: str = "a cat",
    seed: int = 0,
) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(layout.rows, backbone.latent_channels, 8, 8, generator=generator)
    controls = [torch.rand(layout.rows, 3, 16, 16, generator=generator) for _ in scales]
    embeds = backbone.embed(prompt, "bad")
    return backbone.predict(latents, 501, embeds, controls, scales, layout, guidance)


def test_facts_come_from_the_files(backbone: DiffusersBackbone, tiny_sd: Path) -> None:
    facts = describe(ModelConfig(path=str(tiny_sd), controls=CONTROLS))
    assert (facts.latent_channels, facts.factor, facts.size_multiple) == (4, 2, 4)
    assert facts.digest == backbone.digest
    assert backbone.scheduler_config["beta_schedule"] == "scaled_linear"
    assert not any(p.requires_grad for p in backbone.parts.unet.parameters())
    assert not backbone.parts.unet.training


def test_guidance_is_negative_plus_scale_times_difference(backbone: DiffusersBackbone) -> None:
    positive = call(backbone, guidance=1.0)
    zero = call(backbone, guidance=0.0)
    torch.testing.assert_close(call(backbone, guidance=3.0), zero + 3.0 * (positive - zero), rtol=1e-4, atol=1e-5)
    assert (positive - zero).abs().max() > 1e-4


def test_residuals_of_two_controlnets_are_summed(backbone: DiffusersBackbone, tiny_sd: Path) -> None:
    """Against diffusers' own MultiControlNetModel."""
    from diffusers.models.controlnets.multicontrolnet import MultiControlNetModel

    generator = torch.Generator().manual_seed(0)
    layout = call_layout(windows_of(2, 2)[0], 2, ("0",))
    latents = torch.randn(2, 4, 8, 8, generator=generator)
    controls = [torch.rand(2, 3, 16, 16, generator=generator) for _ in range(2)]
    embeds = backbone.embed("a cat", "")
    ours = backbone.predict(latents, 501, embeds, controls, (1.0, 0.5), layout, 1.0)
    text = embeds.cond.expand(2, -1, -1)
    with torch.no_grad():
        down, middle = MultiControlNetModel(list(backbone.parts.controlnets))(
            latents, 501, text, controls, [1.0, 0.5], return_dict=False
        )
        theirs = backbone.parts.unet(
            latents,
            501,
            text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_scale_zero_is_no_controlnet(backbone: DiffusersBackbone, tiny_sd: Path) -> None:
    bare = load(ModelConfig(path=str(tiny_sd)), "cpu")
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(LAYOUT.rows, 4, 8, 8, generator=generator)
    expected = bare.predict(latents, 501, bare.embed("a cat", "bad"), (), (), LAYOUT, 3.0)
    assert torch.equal(call(backbone, scales=(0.0, 0.0)), expected)
    assert not torch.equal(call(backbone), expected)


def test_prompts_matter_and_the_negative_one_too(backbone: DiffusersBackbone) -> None:
    cat, dog = backbone.embed("cat", ""), backbone.embed("dog", "")
    assert cat.cond.shape == (8, 16)
    assert not torch.equal(cat.cond, dog.cond)
    assert torch.equal(cat.uncond, dog.uncond)
    assert not torch.equal(call(backbone, prompt="cat"), call(backbone, prompt="dog"))


def test_a_longer_prompt_is_cut(backbone: DiffusersBackbone) -> None:
    assert torch.equal(backbone.embed("abcdefghijkl", "").cond, backbone.embed("abcdefghijzz", "").cond)


def test_a_wrong_number_of_rows_is_refused(backbone: DiffusersBackbone) -> None:
    embeds = backbone.embed("a", "")
    with pytest.raises(ValueError, match="4 rows"):
        backbone.predict(torch.zeros(3, 4, 8, 8), 1, embeds, (), (), LAYOUT, 1.0)


def test_threads_with_different_layouts_do_not_disturb_each_other(backbone: DiffusersBackbone) -> None:
    layouts = [call_layout(w, 2, ("first", "-1", "0", "+1")) for w in windows_of(6, 2)]
    alone = [call(backbone, layout=layout) for layout in layouts]
    together: dict[int, list[torch.Tensor]] = {k: [] for k in range(3)}

    def lane(k: int) -> None:
        together[k] = [call(backbone, layout=layouts[k]) for _ in range(5)]

    lanes = [threading.Thread(target=lane, args=(k,)) for k in range(3)]
    for thread in lanes:
        thread.start()
    for thread in lanes:
        thread.join()
    for k in range(3):
        assert len(together[k]) == 5
        assert all(torch.equal(result, alone[k]) for result in together[k])


def test_autoencoder_gives_the_scaled_posterior_mean(backbone: DiffusersBackbone) -> None:
    frames = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    latents = backbone.encode(frames)
    vae = backbone.parts.vae
    with torch.no_grad():
        mean = vae.encode(frames * 2 - 1).latent_dist.mean
        picture = vae.decode(mean).sample
    torch.testing.assert_close(latents, 0.5 * mean)
    assert torch.equal(latents, backbone.encode(frames))
    torch.testing.assert_close(backbone.decode(latents), (picture / 2 + 0.5).clamp(0, 1), rtol=1e-4, atol=1e-5)


def test_shift_mean_and_std_of_latents_are_undone(tiny_sd: Path) -> None:
    backbone = load(ModelConfig(path=str(tiny_sd)), "cpu")
    assert isinstance(backbone, DiffusersBackbone)
    frames = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    picture, plain = backbone.decode(backbone.encode(frames)), backbone.encode(frames)
    for changes in (
        {"shift_factor": 0.3},
        {"latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1.0, 2.0, 3.0, 4.0]},
    ):
        backbone.parts.vae.register_to_config(**changes)
        moved = backbone.encode(frames)
        assert not torch.allclose(moved, plain, atol=1e-3)
        torch.testing.assert_close(backbone.decode(moved), picture, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        moved * torch.tensor([1.0, 2.0, 3.0, 4.0]).view(1, 4, 1, 1),
        plain - 0.5 * torch.tensor([0.1, 0.2, 0.3, 0.4]).view(1, 4, 1, 1),
        rtol=1e-4,
        atol=1e-5,
    )


def test_tiny_autoencoder_and_memory_options_work(tiny_sd: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_sd, tmp_path / "m")
    shutil.rmtree(root / "vae")
    shutil.copytree(root / "vae_tiny", root / "vae")
    backbone = load(ModelConfig(path=str(root), vae_slicing=True, vae_tiling=True), "cpu")
    assert backbone.factor == 8
    frames = torch.rand(2, 3, 32, 48)
    assert backbone.encode(frames).shape == (2, 4, 4, 6)
    assert backbone.decode(backbone.encode(frames)).shape == frames.shape


def test_our_block_autoencoder_is_opened_by_its_class_name(tiny_sd: Path, tmp_path: Path) -> None:
    from models.pocket.autoencoder import BlockAutoencoder

    root = shutil.copytree(tiny_sd, tmp_path / "m")
    shutil.rmtree(root / "vae")
    vae = BlockAutoencoder(latent_channels=4, block_out_channels=(4, 4, 8, 8), scaling_factor=0.7)
    vae.save_pretrained(root / "vae")
    backbone = load(ModelConfig(path=str(root)), "cpu")
    assert (backbone.factor, backbone.size_multiple) == (8, 16)
    frames = torch.rand(1, 3, 32, 48)
    latents = backbone.encode(frames)
    assert latents.shape == (1, 4, 4, 6)
    with torch.no_grad():
        torch.testing.assert_close(latents, 0.7 * vae.encode(frames * 2 - 1).latent_dist.mean)
    assert backbone.decode(latents).shape == frames.shape


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_stays_near_single(tiny_sd: Path, backbone: DiffusersBackbone, dtype: str) -> None:
    half = load(ModelConfig(path=str(tiny_sd), controls=CONTROLS, dtype=dtype), "cpu")  # type: ignore[arg-type]
    out, exact = call(half, guidance=1.0), call(backbone, guidance=1.0)
    assert out.dtype == torch.float32
    assert (out - exact).norm() / exact.norm() < 0.05
    latents = half.encode(torch.rand(1, 3, 16, 16))
    assert latents.dtype == getattr(torch, dtype)
    assert half.decode(latents).dtype == torch.float32


def test_lora_changes_the_weights_and_leaves_no_adapter(
    tiny_sd: Path, backbone: DiffusersBackbone, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    weight = dict(backbone.parts.unet.named_parameters())[name + ".weight"]
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 16, generator=generator), torch.randn(16, 2, generator=generator)
    file = tmp_path / "style.safetensors"
    save_file({f"unet.{name}.lora_A.weight": a, f"unet.{name}.lora_B.weight": b}, file)
    styled = load(ModelConfig(path=str(tiny_sd), controls=CONTROLS, loras=(str(file),)), "cpu")
    assert isinstance(styled, DiffusersBackbone)
    parameters = dict(styled.parts.unet.named_parameters())
    torch.testing.assert_close(parameters[name + ".weight"], weight + b @ a)
    assert not [k for k in parameters if "lora" in k]
    assert styled.digest != backbone.digest
    assert not torch.allclose(call(styled), call(backbone), atol=1e-4)


def test_parts_that_do_not_fit_are_refused(tiny_sd: Path, tmp_path: Path) -> None:
    root = shutil.copytree(tiny_sd, tmp_path / "m")
    config = root / "unet" / "config.json"
    config.write_text(config.read_text().replace('"cross_attention_dim": 16', '"cross_attention_dim": 24'))
    with pytest.raises(WeightsError, match="width 24, the text encoder gives 16"):
        load(ModelConfig(path=str(root)), "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_gpu_that_is_not_there_is_named(tiny_sd: Path) -> None:
    with pytest.raises(DeviceError, match="'cuda' asked for, but this machine has 0"):
        load(ModelConfig(path=str(tiny_sd)), "cuda")
    with pytest.raises(DeviceError, match="use cpu"):
        load(ModelConfig(path="dry"), "teapot")
