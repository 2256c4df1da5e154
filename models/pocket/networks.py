"""The sizes of pocket's networks, its noise schedule, and the two controls it is steered by.

Knows diffusers' classes; refuses to know about data and training. Control kinds, both at latent resolution so that
nothing is downsampled: `tile-latents`, the source frame's own scaled latents, colours and all; `softedge-blocks`, its
soft edges with each 8x8 block laid out as 64 channels. Each ControlNet works alone or beside the other. They have no
attention: what a control says about a place it says there, and the words belong to the UNet.

Shape suffixes: N frames, C channels, H height, W width (lower case: at latent resolution).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from configs.job import ControlKind
from models.pocket.vocabulary import MAX_LENGTH

LATENT_CHANNELS = 40
FACTOR = 8
# Folder of each ControlNet -> (control kind, channels of its input)
CONTROLS: Mapping[str, tuple[ControlKind, int]] = MappingProxyType(
    {
        "controlnet_tile": ("tile-latents", LATENT_CHANNELS),
        "controlnet_softedge": ("softedge-blocks", FACTOR * FACTOR),
    }
)
TEXT_WIDTH = 64
CHANNELS = (128, 160)


@dataclass(frozen=True)
class Networks:
    """The networks that are trained together; `controlnets` by folder name, in the order of `CONTROLS`."""

    unet: UNet2DConditionModel
    controlnets: Mapping[str, ControlNetModel]
    text_encoder: CLIPTextModel

    def modules(self) -> dict[str, nn.Module]:
        """Return the networks by their folder names."""
        return {"unet": self.unet, "text_encoder": self.text_encoder, **self.controlnets}


def soft_edge_blocks(edges_NHW: Tensor) -> Tensor:
    """Lay out each 8x8 block of soft edges as channels: (N, 8h, 8w) in [0, 1] -> (N, 64, h, w)."""
    return functional.pixel_unshuffle(edges_NHW[:, None], FACTOR)


@torch.no_grad()
def balance_control(controlnet: ControlNetModel, control_NChw: Tensor, floor: float = 1.0) -> None:
    """Raise the first weights of faint control channels until each one can be heard.

    The last latent channels carry fine detail at a tenth of the first one's size. Left as they are, the
    detail is found only after a thousand steps (weights grow by the learning rate per step): measured on
    v0, where at step 700 the error in those channels was still their whole variance.
    """
    weight = controlnet.controlnet_cond_embedding.conv_in.weight
    size = control_NChw.std(dim=(0, 2, 3))
    heard = weight.square().sum(dim=(0, 2, 3)).sqrt() * size
    weight.mul_((floor / heard.clamp_min(1e-6)).clamp(1.0, 20.0)[:, None, None])


def build_scheduler() -> DDIMScheduler:
    """Return the sampler the weights are meant for (its noise schedule is also the training's).

    The network predicts the clean latents. Their channels are ordered by energy, and the last carry a hundredth of
    the first one's: the error of a noise or v-prediction is alike in all channels and drowns those (seen on v0 as
    blocky noise), the error of an x0-prediction is in proportion to what there is to predict.
    """
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
        prediction_type="sample",
        timestep_spacing="trailing",
    )


def build_networks(vocabulary_size: int, seed: int) -> Networks:
    """Build the networks with seeded random weights."""
    torch.manual_seed(seed)
    shared = {
        "in_channels": LATENT_CHANNELS,
        "block_out_channels": CHANNELS,
        "layers_per_block": 1,
        "cross_attention_dim": TEXT_WIDTH,
        "attention_head_dim": 4,  # diffusers' name for the number of heads
        "norm_num_groups": 32,
    }
    unet = UNet2DConditionModel(
        sample_size=32,
        out_channels=LATENT_CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        **shared,
    )
    controlnets = {
        folder: ControlNetModel(
            conditioning_channels=channels,
            # One entry: the control is already at latent resolution, nothing is downsampled.
            conditioning_embedding_out_channels=(CHANNELS[0],),
            down_block_types=("DownBlock2D", "DownBlock2D"),
            mid_block_type="UNetMidBlock2D",
            **shared,
        )
        for folder, (_kind, channels) in CONTROLS.items()
    }
    # ControlNet's zero convolutions protect a trained UNet from a new control (Zhang et al. 2023,
    # section 3.1). Here all start from nothing, and zeros would only delay the first gradients.
    for controlnet in controlnets.values():
        for layer in [*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block]:
            nn.init.kaiming_uniform_(layer.weight, a=2.0)
        nn.init.kaiming_uniform_(controlnet.controlnet_cond_embedding.conv_out.weight, a=2.0)
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary_size,
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_LENGTH,
            bos_token_id=vocabulary_size - 2,
            eos_token_id=vocabulary_size - 1,
            pad_token_id=vocabulary_size - 1,
        )
    )
    return Networks(unet, controlnets, text_encoder)
