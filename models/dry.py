"""`dry`, a backbone without weights: the same calls and shapes, deterministic arithmetic, a delay you choose.

For tests of engines, chaos and scale. Its pictures mean nothing, but everything that enters a call changes
what comes out (frames attended to, prompt, controls, timestep), so that a wrong halo or control row shows in
the digests.

Legend: F rows of a call, C=4 channels, H W latent size, factor 8.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from configs.presets import PLAIN, filled
from models.attention import Layout
from models.prompts import PromptEmbeds

DRY_SCHEDULER: Mapping[str, Any] = MappingProxyType(
    {
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",  # keeps x0 bounded where eps would blow up at the noisy end
        "timestep_spacing": "trailing",
        "set_alpha_to_one": True,
    }
)


@dataclass(frozen=True, eq=False)
class DryBackbone:
    """See `models.backbone.Backbone`. `delay` is seconds of sleep per `predict`."""

    delay: float = 0.0
    dtype: torch.dtype = torch.float32
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    digest: str = "dry-1"
    latent_channels: int = 4
    factor: int = 8
    size_multiple: int = 8
    scheduler_config: Mapping[str, Any] = field(default_factory=lambda: DRY_SCHEDULER)

    def embed(self, prompt: str, negative_prompt: str, template: str = PLAIN) -> PromptEmbeds:
        """Noise keyed by the text, [4, 8]."""
        texts = filled(template, prompt), negative_prompt
        cond, uncond = (_noise(f"text:{text}", (4, 8)).to(self.dtype) for text in texts)
        return PromptEmbeds(cond.to(self.device), uncond.to(self.device))

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
        """A smooth mix of the rows attended to, noise keyed by (timestep, frame), prompt and controls."""
        if self.delay > 0:
            time.sleep(self.delay)
        seen = latents_FCHW.float()[layout.attend.to(latents_FCHW.device)].mean(dim=1)
        # A row of pattern 0 alone still depends on itself more than on its neighbours.
        v = 0.3 * torch.tanh(latents_FCHW.float()) + 0.3 * torch.tanh(seen)
        keys = [f"frame:{timestep}:{frame}" for frame in layout.frames]
        v = v + 0.05 * torch.stack([_noise(key, tuple(v.shape[1:])) for key in keys]).to(v.device)
        for control, scale in zip(controls, control_scales, strict=True):
            pooled = functional.adaptive_avg_pool2d(
                control.float().mean(dim=1, keepdim=True), (v.shape[-2], v.shape[-1])
            )
            v = v + 0.1 * scale * pooled.to(v.device)
        text = prompt.cond.float().mean()
        if guidance_scale != 1.0:
            null = prompt.uncond.float().mean()
            text = null + guidance_scale * (text - null)
        return (v + 0.1 * text).to(self.dtype)

    def encode(self, frames_F3HW: Tensor) -> Tensor:
        """8x8 averages of R, G, B and of their mean, scaled to [-1, 1]."""
        pooled = functional.avg_pool2d(frames_F3HW.to(self.device).float() * 2.0 - 1.0, self.factor)
        return torch.cat([pooled, pooled.mean(dim=1, keepdim=True)], dim=1).to(self.dtype)

    def decode(self, latents_FCHW: Tensor) -> Tensor:
        """The first three channels, each value a block of 8x8 pixels, float32 in [0, 1]."""
        rgb = latents_FCHW[:, :3].float() / 2.0 + 0.5
        return functional.interpolate(rgb, scale_factor=float(self.factor), mode="nearest").clamp(0.0, 1.0)


def _noise(key: str, shape: tuple[int, ...]) -> Tensor:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little") >> 1
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
