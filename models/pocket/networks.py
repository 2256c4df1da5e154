"""The sizes of pocket's networks, its noise schedule, and the two controls it is steered by.

Knows diffusers' classes; refuses to know about data and training. Control kinds, both at latent resolution so that
nothing is downsampled: `tile-latents`, the source frame's own scaled latents, colours and all; `softedge-blocks`, its
soft edges with each 8x8 block laid out as 64 channels; `depth-blocks`, the same of a depth map; `reference-latents`,
the scaled latents of a picture whose look is wanted, pooled over the picture so that only its look remains. Each
ControlNet works alone or beside others. They have no attention: what a control says about a place it says there, and
the words belong to the UNet.

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
        "controlnet_depth": ("depth-blocks", FACTOR * FACTOR),
        "controlnet_reference": ("reference-latents", LATENT_CHANNELS),
    }
)
BASE_CONTROLS = ("controlnet_tile", "controlnet_softedge")  # what a clip by itself can be steered by
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


def blocks(map_NHW: Tensor) -> Tensor:
    """Lay out each 8x8 block of a map as channels: (N, 8h, 8w) in [0, 1] -> (N, 64, h, w)."""
    return functional.pixel_unshuffle(map_NHW[:, None], FACTOR)


def steered(
    unet: UNet2DConditionModel,
    controlnets: Mapping[str, ControlNetModel],
    noisy_NChw: Tensor,
    timesteps: Tensor,
    hidden_NLD: Tensor,
    controls: Mapping[str, Tensor],
) -> Tensor:
    """One call of the UNet under the ControlNets that `controls` names, summed: the clean latents (N, C, h, w)."""
    down: list[Tensor] | None = None
    middle: Tensor | None = None
    for name, control in controls.items():
        more, deep = controlnets[name](noisy_NChw, timesteps, hidden_NLD, control, return_dict=False)
        down = list(more) if down is None else [a + b for a, b in zip(down, more, strict=True)]
        middle = deep if middle is None else middle + deep
    x0: Tensor = unet(
        noisy_NChw,
        timesteps,
        hidden_NLD,
        down_block_additional_residuals=down,
        mid_block_additional_residual=middle,
    ).sample
    return x0


@torch.no_grad()
def begin_as_identity(networks: Networks, tile_NChw: Tensor) -> None:
    """Set the first weights so that a network steered by the tile alone answers with the tile: an unstyled picture.

    Learning to carry forty channels of detail from control to output took most of the steps otherwise (measured: an
    unstyled picture still lacked 8 dB after 1 600). The way leads over the first skip connection. SiLU is crossed in
    pairs of opposite signs, silu(x) - silu(-x) = x; each channel travels at unit size, so that faint ones are heard.
    Everything off this way keeps its random start, scaled down where it joins. Shapes: scaled latents (N, C, h, w)
    of sources, a few dozen.
    """
    unet, tile = networks.unet, networks.controlnets["controlnet_tile"]
    size_C = tile_NChw.std(dim=(0, 2, 3)).clamp_min(1e-3)
    plus, minus = torch.arange(LATENT_CHANNELS), torch.arange(LATENT_CHANNELS, 2 * LATENT_CHANNELS)
    middle = (1, 1)
    entry, leave = tile.controlnet_cond_embedding.conv_in, tile.controlnet_cond_embedding.conv_out
    for layer, rows in ((entry, 2 * LATENT_CHANNELS), (leave, LATENT_CHANNELS)):
        layer.weight[:rows] = 0
        layer.bias[:rows] = 0
    entry.weight[plus, plus, *middle] = 1 / size_C
    entry.weight[minus, plus, *middle] = -1 / size_C
    leave.weight[plus, plus, *middle] = 1
    leave.weight[plus, minus, *middle] = -1
    for noisy in (unet.conv_in, tile.conv_in):  # the way is kept free of noise
        noisy.weight[:LATENT_CHANNELS] = 0
        noisy.bias[:LATENT_CHANNELS] = 0
    skip = tile.controlnet_down_blocks[0]
    skip.weight[:LATENT_CHANNELS] = 0
    skip.bias[:LATENT_CHANNELS] = 0
    skip.weight[plus, plus] = 1
    last, attention = unet.up_blocks[-1].resnets[-1], unet.up_blocks[-1].attentions[-1]
    last.conv2.weight.mul_(0.1)
    attention.proj_out.weight.mul_(0.1)
    last.conv_shortcut.weight[: 2 * LATENT_CHANNELS] = 0
    last.conv_shortcut.bias[: 2 * LATENT_CHANNELS] = 0
    offset = last.conv_shortcut.in_channels - CHANNELS[0]  # the skip connection comes second
    last.conv_shortcut.weight[plus, offset + plus] = 1
    last.conv_shortcut.weight[minus, offset + plus] = -1
    # Eight constant channels steady what the last normalisation divides by: a pale picture must stay pale.
    last.conv_shortcut.weight[-8:] = 0
    last.conv_shortcut.bias[-8:] = torch.tensor([8.0, -8.0]).repeat(4)
    unet.conv_out.weight.mul_(0.1)
    unet.conv_out.weight[:, -8:] = 0
    unet.conv_out.weight[:, : 2 * LATENT_CHANNELS] = 0
    unet.conv_out.bias.zero_()
    unet.conv_out.weight[plus, plus, *middle] = size_C
    unet.conv_out.weight[plus, minus, *middle] = -size_C
    # What the last normalisation divides by is measured, and undone on average.
    noise = torch.randn(tile_NChw.shape, generator=torch.Generator().manual_seed(0))
    hidden_NLD = torch.zeros(len(noise), 1, TEXT_WIDTH)
    time = torch.full((len(noise),), 500)
    got = steered(unet, networks.controlnets, noise, time, hidden_NLD, {"controlnet_tile": tile_NChw})
    unet.conv_out.weight.mul_((got * tile_NChw).sum() / got.square().sum())


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
        # One group: with many, each would lose its mean, and with it the picture's colour, which a network that
        # predicts clean latents (and not noise) must hand through its last normalisation.
        "norm_num_groups": 1,
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
            global_pool_conditions=folder == "controlnet_reference",
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
