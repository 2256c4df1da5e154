"""The network behind the loop: predict noise, encode and decode, embed text; an adapter over diffusers'
classes.

Every call runs in exactly the shape it is given (bits depend on it), so nothing is split or merged here.
Knows no window, step order, store or worker; files are found by `models.loading`.

Legend: F rows of a call (`models.attention.Layout`), C latent channels, H W latent size, c h w those of a
control.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from configs.errors import WeightsError
from configs.job import ModelConfig
from configs.presets import PLAIN
from models.attention import Layout, install
from models.dry import DryBackbone
from models.loading import Parts, open_device, open_parts
from models.prompts import PromptEmbeds, embed_prompt
from models.weights import ModelFiles, find_model, vae_factor


class Backbone(Protocol):
    """What the loop needs of a model. `factor`: pixels per latent; frame sides are multiples of
    `size_multiple`.
    """

    @property
    def latent_channels(self) -> int: ...  # noqa: D102
    @property
    def factor(self) -> int: ...  # noqa: D102
    @property
    def size_multiple(self) -> int: ...  # noqa: D102
    @property
    def dtype(self) -> torch.dtype: ...  # noqa: D102
    @property
    def device(self) -> torch.device: ...  # noqa: D102
    @property
    def digest(self) -> str: ...  # noqa: D102
    @property
    def scheduler_config(self) -> Mapping[str, Any]: ...  # noqa: D102

    def embed(self, prompt: str, negative_prompt: str, template: str = PLAIN) -> PromptEmbeds:
        """Embeddings of the prompt in its template and of the negative prompt, once per job; see `embed_prompt`."""

    def predict(
        self,
        latents_FCHW: Tensor,
        timestep: int,
        prompt: PromptEmbeds,
        controls: Sequence[Tensor],
        control_scales: Sequence[float],
        layout: Layout,
        guidance_scale: float,
    ) -> Tensor:
        """The network's output [F, C, H, W] (kind: `scheduler_config`) for all rows, context included,
        float32.

        Guidance scale 1 is one pass; any other runs [negative; positive] as one batch (arXiv 2207.12598).
        Controls [F, c, h, w], one per ControlNet of the model, in [0, 1] if pictures.
        """

    def encode(self, frames_F3HW: Tensor) -> Tensor:
        """Scaled latents (posterior mean) of frames [F, 3, H, W] in [0, 1], in the compute dtype."""

    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """Frames float32 [F, 3, H, W] in [0, 1] of scaled latents."""


@dataclass(frozen=True)
class BackboneFacts:
    """What a plan and a key need to know of a model, without loading its weights."""

    latent_channels: int
    factor: int
    size_multiple: int
    digest: str
    scheduler_config: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class DiffusersBackbone:
    """A Stable-Diffusion-type model: UNet2D, ControlNets, an autoencoder and CLIP text, frozen, in eval mode.

    Several threads may call it at once: nothing is written after loading.
    """

    facts: BackboneFacts
    parts: Parts
    dtype: torch.dtype
    device: torch.device

    @property
    def latent_channels(self) -> int:
        """C."""
        return self.facts.latent_channels

    @property
    def factor(self) -> int:
        """Pixels per latent along one side."""
        return self.facts.factor

    @property
    def size_multiple(self) -> int:
        """Frame sides must be multiples of this, or the UNet's levels do not line up."""
        return self.facts.size_multiple

    @property
    def digest(self) -> str:
        """Sha256 over the model's files."""
        return self.facts.digest

    @property
    def scheduler_config(self) -> Mapping[str, Any]:
        """For `models.schedule.from_config`."""
        return self.facts.scheduler_config

    def embed(self, prompt: str, negative_prompt: str, template: str = PLAIN) -> PromptEmbeds:
        """See `Backbone.embed`."""
        tokenizer, text_encoder = self.parts.tokenizer, self.parts.text_encoder
        return embed_prompt(tokenizer, text_encoder, prompt, negative_prompt, self.device, template)

    @torch.no_grad()
    def predict(
        self,
        latents_FCHW: Tensor,
        timestep: int,
        prompt: PromptEmbeds,
        controls: Sequence[Tensor],
        control_scales: Sequence[float],
        layout: Layout,
        guidance_scale: float,
    ) -> Tensor:
        """See `Backbone.predict`."""
        rows = layout.rows
        if len(latents_FCHW) != rows or any(len(control) != rows for control in controls):
            shapes = [tuple(x.shape) for x in (latents_FCHW, *controls)]
            raise ValueError(f"a call of {rows} rows needs latents and controls of as many, got {shapes}")
        guided = guidance_scale != 1.0
        texts = (prompt.uncond, prompt.cond) if guided else (prompt.cond,)
        text = torch.cat([self._here(t).expand(rows, -1, -1) for t in texts])
        sample = torch.cat([self._here(latents_FCHW)] * len(texts))
        attend = {"layout": layout.to(self.device)}
        down: list[Tensor] | None = None
        middle: Tensor | None = None
        for network, control, scale in zip(self.parts.controlnets, controls, control_scales, strict=True):
            if scale == 0.0:
                continue
            more_down, more_middle = network(
                sample,
                timestep,
                encoder_hidden_states=text,
                controlnet_cond=torch.cat([self._here(control)] * len(texts)),
                conditioning_scale=scale,
                cross_attention_kwargs=attend,
                return_dict=False,
            )
            if guided and network.config.get("global_pool_conditions"):
                # A look is a wish, as words are: the unguided half must not know it, or guidance cancels it.
                keep = sample.new_tensor([0.0, 1.0]).repeat_interleave(rows).view(-1, 1, 1, 1)
                more_down, more_middle = [x * keep for x in more_down], more_middle * keep
            if down is None or middle is None:
                down, middle = list(more_down), more_middle
            else:
                down = [a + b for a, b in zip(down, more_down, strict=True)]
                middle = middle + more_middle
        out: Tensor = self.parts.unet(
            sample,
            timestep,
            encoder_hidden_states=text,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
            cross_attention_kwargs=attend,
            return_dict=False,
        )[0].float()
        if not guided:
            return out
        negative, positive = out.chunk(2)
        return negative + guidance_scale * (positive - negative)

    @torch.no_grad()
    def encode(self, frames_F3HW: Tensor) -> Tensor:
        """See `Backbone.encode`."""
        encoded = self.parts.vae.encode(frames_F3HW.to(self.device, self.parts.vae.dtype) * 2.0 - 1.0)
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        shift, scale = self._latent_units(latents)
        return ((latents - shift) * scale).to(self.dtype)

    @torch.no_grad()
    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """See `Backbone.decode`."""
        latents = latents_FCHW.to(self.device, self.parts.vae.dtype)
        shift, scale = self._latent_units(latents)
        frames: Tensor = self.parts.vae.decode(latents / scale + shift).sample
        return (frames.float() / 2.0 + 0.5).clamp(0.0, 1.0)

    def _here(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)

    def _latent_units(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """(shift, scale) with scaled = (latents - shift) * scale, per channel where the model says so."""
        config = self.parts.vae.config
        mean, std = config.get("latents_mean"), config.get("latents_std")
        shift = latents.new_tensor(config.get("shift_factor") or 0.0)
        scale = latents.new_tensor(float(config.get("scaling_factor", 1.0)))
        if mean is not None and std is not None:
            shift = latents.new_tensor(mean).view(1, -1, 1, 1)
            scale = scale / latents.new_tensor(std).view(1, -1, 1, 1)
        return shift, scale


def describe(model: ModelConfig) -> BackboneFacts:
    """Facts of a model from its files alone (weights are hashed, not loaded). Errors: WeightsError."""
    if model.path == "dry":
        dry = DryBackbone()
        return BackboneFacts(dry.latent_channels, dry.factor, dry.size_multiple, dry.digest, dry.scheduler_config)
    return _facts(find_model(model))


def load(model: ModelConfig, device: str) -> Backbone:
    """Load a model onto a device ('cpu', 'cuda', 'cuda:1').

    `path`: 'dry', 'pocket', a folder in diffusers' format, or a hub id with a pinned revision.
    Errors: WeightsError (missing file, pickle, parts that do not fit), DeviceError (no such device).
    """
    if model.path == "dry" and device.startswith("cuda") and not torch.cuda.is_available():
        device = "cpu"  # it has no arithmetic worth a GPU: on logical ones it shows how work is placed
    place = open_device(device)
    if model.path == "dry":
        return DryBackbone(delay=model.dry_delay, dtype=getattr(torch, model.dtype), device=place)
    files = find_model(model)
    facts = _facts(files)
    parts = open_parts(files, model, place)
    for network in (parts.unet, *parts.controlnets):
        install(network)
    return DiffusersBackbone(facts, parts, getattr(torch, model.dtype), place)


def _facts(files: ModelFiles) -> BackboneFacts:
    unet, vae, text = files.config("unet"), files.config("vae"), files.config("text_encoder")
    channels, factor = int(vae.get("latent_channels", 4)), vae_factor(vae)
    if unet.get("addition_embed_type") or unet.get("class_embed_type"):
        raise WeightsError(f"{files.root} wants more than text (SDXL or unCLIP); use a Stable Diffusion 1 or 2 type")
    if unet.get("in_channels", 4) != channels:
        raise WeightsError(
            f"unet takes {unet.get('in_channels', 4)} channels, the vae has {channels}: "
            "these parts do not fit together (inpainting UNets are not supported)"
        )
    text = text.get("text_config", text)
    widths = unet.get("cross_attention_dim", 1280), text.get("hidden_size", 512)
    if widths[0] != widths[1]:
        raise WeightsError(f"unet attends to text of width {widths[0]}, the text encoder gives {widths[1]}")
    levels = len(unet.get("block_out_channels", (320, 640, 1280, 1280))) - 1
    return BackboneFacts(channels, factor, factor * 2**levels, files.digest(), files.config("scheduler"))
