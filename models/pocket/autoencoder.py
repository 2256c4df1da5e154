"""A small, deterministic autoencoder with the interface of diffusers' `AutoencoderKL`.

The encoder is one strided convolution: a linear transform of 8x8 RGB blocks onto their principal components,
as in JPEG but fitted (`fit_blocks`). The decoder adds its transpose and a small convolutional correction
against blockiness. Refuses to know about data, training and text.

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
        sample_size: int = 256,
        force_upcast: bool = False,
    ) -> None:
        """Build the module; the sizes of the correction network are read from `block_out_channels`."""
        super().__init__()
        factor = 2 ** (len(block_out_channels) - 1)
        if factor != 8:
            raise ValueError(f"BlockAutoencoder needs 4 block_out_channels (factor 8), got {block_out_channels}")
        self.use_slicing = False
        self.encoder = nn.Conv2d(in_channels, latent_channels, factor, stride=factor)
        self.decoder = nn.ConvTranspose2d(latent_channels, out_channels, factor, stride=factor)
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
        posterior = PointDistribution(torch.cat([self.encoder(part) for part in parts]))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def _decode(self, z: Tensor) -> Tensor:
        deep = self.trunk(self.trunk_in(z * self.config.scaling_factor))
        half = self.fine(functional.pixel_shuffle(self.to_half(functional.silu(deep)), 4))
        full = functional.pixel_shuffle(self.to_full(functional.silu(half)), 2)
        picture: Tensor = self.decoder(z) + self.to_rgb(functional.silu(full))
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
def fit_blocks(model: BlockAutoencoder, pictures_NCHW: Tensor, spread: float = 0.75) -> Tensor:
    """Set encoder, linear decoder and `scaling_factor` from the principal components of 8x8x3 blocks.

    A component of standard deviation s is stored with deviation s ** spread (1 keeps the transform
    orthonormal, 0 whitens). Signs are fixed (largest weight positive) so that a refit gives the same space.
    Shapes: pictures (N, 3, H, W) in [-1, 1] -> (192,) share of the variance per component.
    """
    kernel = model.encoder.kernel_size[0]
    channels = int(model.config.latent_channels)
    blocks = functional.unfold(pictures_NCHW, kernel, stride=kernel)
    flat = blocks.transpose(1, 2).reshape(-1, blocks.shape[1]).double()
    mean = flat.mean(dim=0)
    values, vectors = torch.linalg.eigh(torch.cov(flat.T))
    values, vectors = values.flip(0).clamp_min(1e-12), vectors.flip(1)
    basis_KD = vectors.T[:channels]
    largest = basis_KD.gather(1, basis_KD.abs().argmax(dim=1, keepdim=True))
    basis_KD = basis_KD * largest.sign()
    gain_K1 = values[:channels].sqrt()[:, None] ** (spread - 1.0)
    shape = model.encoder.weight.shape
    # Rounded to half precision at once: the shipped weights are fp16 and the space must not move.
    model.encoder.weight.copy_((basis_KD * gain_K1).reshape(shape).half())
    model.decoder.weight.copy_((basis_KD / gain_K1).reshape(shape))
    if model.encoder.bias is not None:
        model.encoder.bias.copy_((-(basis_KD * gain_K1) @ mean).half())
    if model.decoder.bias is not None:
        # One bias per colour, not per position: the mean block is constant to a fraction of a grey level.
        model.decoder.bias.copy_(mean.reshape(3, -1).mean(dim=1))
    variance = (values[:channels] * gain_K1[:, 0] ** 2).mean()
    model.register_to_config(scaling_factor=float(variance.rsqrt()))
    return (values / values.sum()).float()
