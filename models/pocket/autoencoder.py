"""A small, deterministic autoencoder with the interface of diffusers' `AutoencoderKL`.

The encoder is one strided convolution: a linear transform, begun as the principal components of 8x8 RGB blocks
(as in JPEG but fitted: `fit_blocks`) and then trained with a 16x16 kernel, so that blocks overlap their neighbours
by half (a lapped transform, Malvar 1990: no hard block edges, better compaction). The decoder adds its transpose and
a small convolutional correction. Refuses to know about data, training and text.

Principal components are kept in order of energy, with their spread compressed only mildly: a fully whitened
latent gives noise-like components the same weight as brightness, and a small UNet learns it far more slowly.

Shape suffixes: N pictures, C channels, H height, W width (lower case: at latent resolution), K components.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional


class PointDistribution:
    """A distribution with all its mass on the mean: what a deterministic encoder returns."""

    def __init__(self, mean: Tensor) -> None:
        """Wrap the latents `mean` (N, C, h, w), not yet scaled."""
        self.mean = mean
        self.std = torch.zeros_like(mean)
        self.logvar = torch.full_like(mean, -30.0)

    def mode(self) -> Tensor:
        """Return the mean."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Return the mean; `generator` is accepted for AutoencoderKL's sake."""
        return self.mean


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.second(functional.silu(self.first(functional.silu(h))))
        return out


class BlockAutoencoder(ModelMixin, ConfigMixin):
    """Block-transform autoencoder, spatial factor `2 ** (len(block_out_channels) - 1)`.

    x: (N, 3, H, W) in [-1, 1] with H and W multiples of the factor. Latents: (N, latent_channels, H/f, W/f);
    multiply by `config.scaling_factor` for unit variance over all channels together.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        latent_channels: int = 16,
        block_out_channels: tuple[int, ...] = (16, 32, 128, 128),
        scaling_factor: float = 1.0,
        shift_factor: float | None = None,
        kernel_size: int = 8,
        sample_size: int = 256,
        force_upcast: bool = False,
    ) -> None:
        """Build the module; the sizes of the correction network are read from `block_out_channels`."""
        super().__init__()
        factor = 2 ** (len(block_out_channels) - 1)
        if factor != 8:
            raise ValueError(f"BlockAutoencoder needs 4 block_out_channels (factor 8), got {block_out_channels}")
        if kernel_size not in (factor, 2 * factor):
            raise ValueError(f"kernel_size must be {factor} (blocks) or {2 * factor} (lapped), got {kernel_size}")
        self.use_slicing = False
        self.lap = (kernel_size - factor) // 2
        self.encoder = nn.Conv2d(in_channels, latent_channels, kernel_size, stride=factor)
        # One ring of repeated latents lies around the picture (`_decode`) when kernels overlap; it is cut off here.
        self.decoder = nn.ConvTranspose2d(
            latent_channels, out_channels, kernel_size, stride=factor, padding=self.lap + factor * (self.lap > 0)
        )
        fine, half, _, deep = block_out_channels
        self.trunk_in = nn.Conv2d(latent_channels, deep, 3, padding=1)
        self.trunk = nn.Sequential(_Residual(deep), _Residual(deep))
        self.to_half = nn.Conv2d(deep, half * 16, 1)
        self.fine = _Residual(half)
        self.to_full = nn.Conv2d(half, fine * 4, 3, padding=1)
        self.to_rgb = nn.Conv2d(fine, out_channels, 3, padding=1)
        nn.init.zeros_(self.to_rgb.weight)
        if self.to_rgb.bias is not None:
            nn.init.zeros_(self.to_rgb.bias)

    def enable_slicing(self) -> None:
        """Encode and decode one picture at a time."""
        self.use_slicing = True

    def disable_slicing(self) -> None:
        """Encode and decode whole batches."""
        self.use_slicing = False

    def encode(self, x: Tensor, return_dict: bool = True) -> Any:
        """Encode pictures (N, 3, H, W) in [-1, 1]; `.latent_dist.mean` is (N, C, h, w)."""
        parts = torch.split(x, 1) if self.use_slicing else (x,)
        posterior = PointDistribution(torch.cat([self._encode(part) for part in parts]))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def _encode(self, x: Tensor) -> Tensor:
        latents: Tensor = self.encoder(functional.pad(x, (self.lap,) * 4, mode="replicate") if self.lap else x)
        return latents

    def _decode(self, z: Tensor) -> Tensor:
        deep = self.trunk(self.trunk_in(z * self.config.scaling_factor))
        half = self.fine(functional.pixel_shuffle(self.to_half(functional.silu(deep)), 4))
        full = functional.pixel_shuffle(self.to_full(functional.silu(half)), 2)
        ringed = functional.pad(z, (1, 1, 1, 1), mode="replicate") if self.lap else z
        picture: Tensor = self.decoder(ringed) + self.to_rgb(functional.silu(full))
        return picture

    def decode(self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None) -> Any:
        """Decode unscaled latents (N, C, h, w); `.sample` is (N, 3, H, W), about [-1, 1], not clamped."""
        parts = torch.split(z, 1) if self.use_slicing else (z,)
        picture = torch.cat([self._decode(part) for part in parts])
        return DecoderOutput(sample=picture) if return_dict else (picture,)

    def forward(self, sample: Tensor, return_dict: bool = True) -> Any:
        """Encode and decode."""
        return self.decode(self.encode(sample).latent_dist.mean, return_dict=return_dict)


@torch.no_grad()
def fit_blocks(model: BlockAutoencoder, pictures_NCHW: Tensor) -> Tensor:
    """Set encoder and linear decoder to the principal components of 8x8x3 blocks, in the middle of the kernel.

    Orthonormal: latents are pixels turned round. Shapes: pictures (N, 3, H, W) in [-1, 1] -> (192,) share of the
    variance per component.
    """
    factor, lap = model.encoder.stride[0], model.lap
    channels = int(model.config.latent_channels)
    blocks = functional.unfold(pictures_NCHW, factor, stride=factor)
    flat = blocks.transpose(1, 2).reshape(-1, blocks.shape[1]).double()
    mean = flat.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    values, vectors = values.flip(0).clamp_min(1e-12), vectors.flip(1)
    basis_KD = vectors.T[:channels]
    inner = slice(lap, lap + factor)
    for layer in (model.encoder, model.decoder):
        layer.weight.zero_()
        layer.weight[:, :, inner, inner] = basis_KD.reshape(channels, -1, factor, factor).to(layer.weight)
    if model.encoder.bias is not None:
        model.encoder.bias.copy_(-basis_KD @ mean)
    if model.decoder.bias is not None:
        # One bias per colour, not per position: the mean block is constant to a fraction of a grey level.
        model.decoder.bias.copy_(mean.reshape(3, -1).mean(dim=1))
    return (values / values.sum()).float()


@torch.no_grad()
def settle_latents(model: BlockAutoencoder, pictures_NCHW: Tensor, spread: float = 0.75) -> Tensor:
    """Turn and scale the latent space to its principal axes, and fold the inverse into the decoder.

    What is decoded stays the same, but for rounding. An axis of standard deviation s is stored with deviation
    s ** spread (1 keeps it, 0 whitens), in order of energy; signs are fixed (largest weight positive), and
    `scaling_factor` brings all channels together to unit variance. The encoder is rounded to half precision at
    once: shipped weights are fp16 and the space must not move. Returns the (C,) deviations, scaled.
    """
    z = model._encode(pictures_NCHW).double()
    values, vectors = torch.linalg.eigh(torch.cov(z.transpose(0, 1).reshape(z.shape[1], -1)))
    values, turn_KC = values.flip(0).clamp_min(1e-12), vectors.flip(1).T
    turned = torch.einsum("kc,cdij->kdij", turn_KC, model.encoder.weight.double()).flatten(1)
    sign_K1 = turned.gather(1, turned.abs().argmax(dim=1, keepdim=True)).sign()
    gain_K1 = values.sqrt()[:, None] ** (spread - 1.0)
    there_KC, back_KC = sign_K1 * gain_K1 * turn_KC, sign_K1 / gain_K1 * turn_KC
    scaling = float((values * gain_K1[:, 0] ** 2).mean().rsqrt())
    old_scaling = float(model.config.scaling_factor)
    model.encoder.weight.copy_(torch.einsum("kc,cdij->kdij", there_KC, model.encoder.weight.double()).half())
    if model.encoder.bias is not None:
        model.encoder.bias.copy_((there_KC @ model.encoder.bias.double()).half())
    model.decoder.weight.copy_(torch.einsum("kc,cdij->kdij", back_KC, model.decoder.weight.double()))
    trunk = model.trunk_in.weight
    trunk.copy_(old_scaling / scaling * torch.einsum("kc,ocij->okij", back_KC, trunk.double()))
    model.register_to_config(scaling_factor=scaling)
    return (values.sqrt() * gain_K1[:, 0] * scaling).float()
