"""The shipped weights load through diffusers' classes and do what the model card says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from transformers import CLIPTokenizer

from configs.job import ModelConfig
from configs.presets import load_preset
from models.attention import Layout
from models.backbone import load
from models.conditions import soft_edges
from models.judge import Judge, Verdict
from models.metrics import psnr
from models.pocket import sample
from models.pocket.autoencoder import BlockAutoencoder, fit_blocks, settle_latents
from models.pocket.card import model_card
from models.pocket.networks import BASE_CONTROLS, CONTROLS, LATENT_CHANNELS, blocks
from models.pocket.sample import WEIGHTS, Pocket, Settings, predicted, restyle
from models.pocket.scenes import render_clip
from models.pocket.styles import apply_style, style_prompt
from models.pocket.vocabulary import words, write_tokenizer
from models.schedule import kept_steps


@pytest.fixture(scope="module")
def pocket() -> Pocket:
    """Every part, loaded from the repository."""
    return Pocket.load()


def _tensor(frames: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 127.5 - 1


def test_the_folder_is_small_and_holds_safetensors_only() -> None:
    """Text to image with the controls of a clip at most 30 MB, further controls 5 MB each; half precision only."""
    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    more = set(CONTROLS) - set(BASE_CONTROLS)
    assert sum(path.stat().st_size for path in files if path.parent.name not in more) <= 30_000_000
    assert sum(path.stat().st_size for path in files if path.parent.name in more) <= 5_000_000 * len(more)
    assert {path.suffix for path in files} <= {".json", ".txt", ".md", ".safetensors"}
    for path in files:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}
    assert (WEIGHTS / "README.md").read_text().count("CC BY") >= 3


def test_the_parts_fit_together(pocket: Pocket) -> None:
    """Sizes and schedule are the documented ones."""
    assert pocket.vae.config.latent_channels == pocket.unet.config.in_channels == LATENT_CHANNELS
    assert 2 ** (len(pocket.vae.config.block_out_channels) - 1) == 8
    for name, (_kind, channels) in CONTROLS.items():
        assert pocket.controlnets[name].config.conditioning_channels == channels
    assert pocket.scheduler.config.prediction_type == "sample"
    assert pocket.scheduler.config.timestep_spacing == "trailing"
    assert float(pocket.scheduler.final_alpha_cumprod) == 1.0


def test_the_autoencoder_has_the_interface_of_autoencoder_kl(pocket: Pocket) -> None:
    """Deterministic latents, eight times smaller, back within the range, sliced or not."""
    x = _tensor(render_clip(0, 2, 64, 96).frames_FHWC)
    with torch.no_grad():
        posterior = pocket.vae.encode(x).latent_dist
        assert posterior.mean.shape == (2, LATENT_CHANNELS, 8, 12)
        assert torch.equal(posterior.mean, posterior.sample())
        assert torch.equal(posterior.mean, posterior.mode())
        whole = pocket.vae.decode(posterior.mean).sample
        pocket.vae.enable_slicing()
        sliced = pocket.vae.decode(posterior.mean).sample
        pocket.vae.disable_slicing()
    assert whole.shape == x.shape
    torch.testing.assert_close(whole, sliced)


def test_round_trip_of_procedural_frames(pocket: Pocket) -> None:
    """What the code can at best show is close to the picture."""
    frames = np.concatenate([render_clip(seed, 1, 144, 256).frames_FHWC for seed in range(4)])
    with torch.no_grad():
        rebuilt = ((pocket.vae(_tensor(frames)).sample.clamp(-1, 1) + 1) * 127.5).round().byte()
    assert psnr(rebuilt.permute(0, 2, 3, 1).numpy(), frames) > 32.0


@pytest.mark.parametrize("kernel", [8, 16])
def test_fit_blocks_inverts_on_pictures_of_few_components(kernel: int) -> None:
    """Flat blocks lie in the kept space, so the linear part alone rebuilds them."""
    torch.manual_seed(0)
    flat = torch.rand(32, 3, 4, 4).mul(2).sub(1).repeat_interleave(8, 2).repeat_interleave(8, 3)
    model = BlockAutoencoder(kernel_size=kernel)
    share = fit_blocks(model, flat)
    assert float(share[:3].sum()) == pytest.approx(1.0, abs=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(model(flat).sample, flat, atol=2e-2, rtol=0)


def test_settling_turns_the_latents_and_keeps_the_pictures() -> None:
    """Axes uncorrelated, in order of energy, unit variance together; decoding undoes the turn."""
    torch.manual_seed(0)
    pictures = _tensor(np.concatenate([render_clip(seed, 1, 64, 96).frames_FHWC for seed in range(6)]))
    model = BlockAutoencoder(latent_channels=6, block_out_channels=(4, 4, 8, 8), kernel_size=16)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    with torch.no_grad():
        before = model(pictures).sample
        deviations = settle_latents(model, pictures)
        z = model.encode(pictures).latent_dist.mean * model.config.scaling_factor
        flat = z.transpose(0, 1).flatten(1)
        torch.testing.assert_close(torch.cov(flat).diag().sqrt(), deviations, rtol=1e-2, atol=1e-3)
        off = torch.corrcoef(flat).fill_diagonal_(0).abs().max()
        torch.testing.assert_close(model(pictures).sample, before, rtol=0, atol=2e-2)
    assert off < 0.02
    assert torch.equal(deviations, deviations.sort(descending=True).values)
    assert float(deviations.square().mean()) == pytest.approx(1.0, abs=1e-3)


def test_each_control_steers_alone_and_mixed(pocket: Pocket) -> None:
    """Tile alone keeps colour; soft edges alone keep contours; without any the source is not to be seen."""
    frames = render_clip(11, 1, 96, 128).frames_FHWC
    judge = Judge(frames[0])

    def photo(controls: tuple[str, ...]) -> Verdict:
        got = restyle(pocket, frames, "a scene, photo", Settings(steps=4, controls=controls))
        return judge(got[0], "photo")

    tile, edge, none = photo(("controlnet_tile",)), photo(("controlnet_softedge",)), photo(())
    both = photo(BASE_CONTROLS)
    assert min(tile.fidelity_psnr, both.fidelity_psnr) > 22
    assert edge.structure > none.structure + 0.15
    assert tile.colour_error < min(edge.colour_error, none.colour_error)


@pytest.mark.parametrize("style", ["night", "blueprint"])
def test_a_reference_picture_decides_the_look_without_a_word_for_it(pocket: Pocket, style: str) -> None:
    """The picture is of another scene; without it the same words leave the look alone."""
    frames, other = (render_clip(seed, 1, 96, 128).frames_FHWC for seed in (11, 12))
    look = pocket.encode(apply_style(style, other[0])[None])
    judge = Judge(frames[0])
    plain = restyle(pocket, frames, "a scene", Settings(steps=4))
    controls = (*BASE_CONTROLS, "controlnet_reference")
    looked = restyle(pocket, frames, "a scene", Settings(steps=4, controls=controls), {"controlnet_reference": look})
    assert judge(looked[0], style).style == style
    assert judge(plain[0], style).style != style


def test_depth_alone_says_what_is_where(pocket: Pocket) -> None:
    """A picture over its depth map has the scene's contours more than one over nothing."""
    scene = render_clip(11, 1, 96, 128)
    judge = Judge(scene.frames_FHWC[0])
    depth = {"controlnet_depth": blocks(torch.from_numpy(scene.depth_FHW))}

    def structure(controls: tuple[str, ...]) -> float:
        got = restyle(pocket, scene.frames_FHWC, scene.caption, Settings(steps=4, controls=controls), depth)
        return judge(got[0], "photo").structure

    assert structure(("controlnet_depth",)) > structure(()) + 0.1


def test_every_listed_word_is_one_token_and_unknown_words_do_not_crash(tmp_path: Path) -> None:
    """Also: the shipped tokenizer is the one the code writes."""
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer")
    assert [word for word in words() if len(tokenizer(word).input_ids) != 3] == []
    strange = tokenizer("Labradoodle späzt 你好 😀 xqz " * 9, truncation=True, padding="max_length", max_length=32)
    assert len(strange.input_ids) == 32
    assert max(strange.input_ids) < len(tokenizer)
    assert tokenizer("").input_ids == [tokenizer.bos_token_id, tokenizer.eos_token_id]
    assert write_tokenizer(tmp_path) == len(tokenizer)
    assert (tmp_path / "merges.txt").read_text() == (WEIGHTS / "tokenizer" / "merges.txt").read_text()


@pytest.mark.parametrize("name", ["night", "sketch"])
def test_words_choose_the_style(pocket: Pocket, name: str) -> None:
    """A few steps already lie nearer to the wanted filter than to the source or to another filter."""
    frames = render_clip(11, 1, 96, 128).frames_FHWC
    got = restyle(pocket, frames, style_prompt(name, "a scene"), Settings(steps=4))
    wanted = psnr(got, apply_style(name, frames[0])[None])
    assert wanted > psnr(got, frames) + 3
    assert wanted > psnr(got, apply_style("neon", frames[0])[None]) + 3


@pytest.mark.parametrize("guidance_scale", [1.0, 2.5])
def test_one_step_is_the_products(pocket: Pocket, guidance_scale: float) -> None:
    """Also above guidance 1, where the unguided half knows no reference."""
    folders = (*BASE_CONTROLS, "controlnet_reference")
    kinds = [{"kind": CONTROLS[folder][0], "model": folder} for folder in folders]
    preset = load_preset("pocket")["model"]
    backbone = load(ModelConfig.model_validate({**preset, "controls": kinds}), "cpu")
    frames = render_clip(11, 1, 64, 96).frames_FHWC
    latents = pocket.encode(frames)
    edges = blocks(torch.from_numpy(soft_edges(frames)))
    controls = dict(zip(folders, (latents, edges, latents.flip(-1)), strict=True))
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    texts = backbone.embed("a cat, oil painting", "")
    layout = Layout((0,), torch.zeros(1, 1, dtype=torch.int64), slice(0, 1))
    theirs = backbone.predict(noise, 500, texts, list(controls.values()), [1.0] * 3, layout, guidance_scale)
    ours = predicted(pocket, noise, torch.tensor(500), (texts.cond[None], texts.uncond[None]), controls, guidance_scale)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_half_a_step_is_rounded_as_the_product_rounds_it(pocket: Pocket, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of five steps is three, not two."""
    seen: list[int] = []

    def counted(_: Pocket, latents: torch.Tensor, *rest: object) -> torch.Tensor:
        seen.append(len(rest))
        return latents

    monkeypatch.setattr(sample, "predicted", counted)
    restyle(pocket, render_clip(12, 1, 64, 64).frames_FHWC, "a cat", Settings(steps=5, strength=0.5))
    assert len(seen) == kept_steps(5, 0.5) == 3


def test_restyle_is_deterministic(pocket: Pocket) -> None:
    """Same seed, same bytes."""
    frames = render_clip(12, 1, 64, 64).frames_FHWC
    first, second = (restyle(pocket, frames, "a cat, oil painting", Settings(steps=2)) for _ in range(2))
    assert np.array_equal(first, second)


def test_the_shipped_card_is_what_the_export_writes() -> None:
    """Words are mended in the code that writes them; its figures are those of the shipped checkpoint."""
    card = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    lines = [line for line in card.split("## Figures")[1].splitlines() if line.startswith("| ")]
    names, *rows = (line.strip("| ").split(" | ") for line in lines)
    figures = [{"clip": row[0], "psnr_db": dict(zip(names[1:], map(float, row[1:]), strict=True))} for row in rows]
    shipped = {"step": 13_800, "seconds": 161 * 60, "size": 37_500_000, "alone": {"depth": (4000, 38 * 60)}}
    assert model_card(figures=figures, autoencoder=None, **shipped) == card
    known = model_card(figures=figures, autoencoder=(3000, 90.0), **shipped)
    assert "Autoencoder: 3000 steps of 12 crops of 96 px in 2 minutes" in known
