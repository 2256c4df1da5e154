"""A plain DDIM loop over independent pictures, with the product's own networks, schedule and solver.

No windows, no attention between pictures, no corrections: what is left when a bar is about the model alone.
Legend: N pictures, C latent channels, H W pixels, h w latent size.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.job import ModelConfig
from models.attention import call_layout
from models.backbone import Backbone
from models.conditions import prepare_control
from models.inversion import Network
from models.prompts import PromptEmbeds
from models.sampling import Window


def encode(backbone: Backbone, frames_NHWC: NDArray[np.uint8]) -> Tensor:
    """Scaled latents (N, C, h, w) of uint8 RGB pictures."""
    return backbone.encode(torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2).to(backbone.device).float() / 255)


def decode(backbone: Backbone, latents_NChw: Tensor) -> NDArray[np.uint8]:
    """Pictures (N, H, W, 3) uint8 RGB of scaled latents, rounded as the product rounds."""
    pixels = (backbone.decode(latents_NChw) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
    return np.asarray(pixels.cpu().numpy(), dtype=np.uint8)


def controls_of(model: ModelConfig, factor: int, frames_NHWC: NDArray[np.uint8], latents_NChw: Tensor) -> list[Tensor]:
    """What each ControlNet of the model is fed for these source pictures."""
    return [prepare_control(c.kind, frames_NHWC, latents_NChw, factor, path=c.path) for c in model.controls]


def network(
    backbone: Backbone, text: PromptEmbeds, controls: Sequence[Tensor], scales: Sequence[float], guidance: float = 1.0
) -> Network:
    """Predictions for N pictures that do not see each other; `text.cond` may be (N, tokens, width), one for each."""

    def predict(latents_NChw: Tensor, timestep: int) -> Tensor:
        count = len(latents_NChw)
        layout = call_layout(Window(0, 0, count, count), count, ("0",))
        return backbone.predict(latents_NChw, timestep, text, controls, scales, layout, guidance)

    return predict
