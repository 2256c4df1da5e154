"""Deflicker by patch blending, inside the sampling loop and once more on decoded frames.

Legend: F frames of a window, C latent channels, h w latent size, H W picture. Inside the loop (DiffSynth,
arXiv 2308.03463, section 3): decode x0, blend the pictures with their neighbours along source correspondence,
encode, and recompute eps so that x_t stays. It asks for frames around its window by publishing; it knows no
worker and no file.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from configs.errors import ConfigError
from configs.job import DeflickerConfig
from models.blending import blend, check
from models.sampling import Asking, Context, Exchange, Gathered, Publish, State, Window
from models.schedule import Schedule
from models.solver import eps_from_x0
from models.style_match import StyleFields


class Autoencoder(Protocol):
    """What the correction needs of a backbone; both calls are given a whole window of frames."""

    def decode(self, latents: Tensor) -> Tensor:
        """Scaled latents [F,C,h,w] to pictures float [F,3,H,W] in [0, 1]."""

    def encode(self, frames: Tensor) -> Tensor:
        """Pictures float [F,3,H,W] in [0, 1] to the posterior mean, scaled, [F,C,h,w]."""


@dataclass(frozen=True, eq=False)
class Deflicker:
    """Correction of (x0, eps) at the chosen `steps` (indices); `size` is the job's window size in frames.

    Every VAE call has `size` frames: a short last window repeats its last frame, since batch shape changes
    bits. With `vae_residual` what the VAE loses on the way (decode, encode) is added back: x0 + E(blend) -
    E(D(x0)).
    """

    backbone: Autoencoder
    steps: frozenset[int]
    schedule: Schedule
    config: DeflickerConfig
    size: int

    def __post_init__(self) -> None:
        check(self.config.window, self.config.operator, mode=self.config.mode, detail=self.config.detail)

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """Decoded x0 of `config.window` frames either side."""
        return (Exchange("decoded", "correct", before=self.config.window, after=self.config.window),)

    def active(self, step: int) -> bool:
        """Whether `step` is one of the chosen ones, unless switched off."""
        return self.config.enabled and step in self.steps

    def __call__(self, state: State, step: int, window: Window, ctx: Context) -> Asking:
        """Blend the pictures of x0; latents untouched, x0 and eps replaced (float32)."""
        if state.x0 is None or state.eps is None:
            raise ValueError("Deflicker needs the x0 and eps that the solver's clean fills in")
        pictures = travelling(self._decode(state.x0))
        gathered = yield Publish(self.exchanges[0], pictures)
        blended = blend_gathered(gathered, window, ctx, self.config)
        x0 = self._encode(blended, state.x0.device)
        if self.config.vae_residual:
            x0 = state.x0.float() + (x0 - self._encode(pictures.float(), state.x0.device))
        eps = eps_from_x0(x0, state.latents, self.schedule.alpha(step))
        return replace(state, x0=x0.to(state.x0.dtype), eps=eps.to(state.eps.dtype))

    def _decode(self, latents: Tensor) -> Tensor:
        return self.backbone.decode(fill(latents, self.size))[: len(latents)].float().clamp(0.0, 1.0)

    def _encode(self, pictures: Tensor, device: torch.device) -> Tensor:
        latents = self.backbone.encode(fill(pictures, self.size))[: len(pictures)]
        return latents.to(device, torch.float32)


def post_filter_exchange(config: DeflickerConfig) -> Exchange:
    """What `post_filter` asks for, for the plan of the engine."""
    return Exchange("rgb", "finish", before=config.window, after=config.window)


def post_filter(
    window: Window, decoded: Tensor, ctx: Context, config: DeflickerConfig
) -> Generator[Publish, Gathered, Tensor]:
    """The same blend on final pictures: float [F,3,H,W] in [0, 1] to float32; no model call is made."""
    check(config.window, config.operator, mode=config.mode, detail=config.detail)
    gathered = yield Publish(post_filter_exchange(config), travelling(decoded.float().clamp(0.0, 1.0)))
    return blend_gathered(gathered, window, ctx, config)


def blend_gathered(gathered: Gathered, window: Window, ctx: Context, config: DeflickerConfig) -> Tensor:
    """Pictures [F,3,H,W] of the window, blended with the gathered ones around it by source correspondence.

    With `match` other than "guide" the pictures have a say in it; then the condition "guide" is asked for.
    """
    rows = gathered.value.float().cpu().permute(0, 2, 3, 1).contiguous().numpy()
    images = dict(zip(gathered.frames, rows, strict=True))
    out = blend(
        window,
        images,
        ctx.correspond,
        config.window,
        config.operator,
        config.patch,
        mode=config.mode,
        detail=config.detail,
        fields=_fields(gathered.frames, ctx, config),
    )
    blended = torch.from_numpy(np.ascontiguousarray(out.transpose(0, 3, 1, 2)))
    return blended.clamp_(0.0, 1.0).to(gathered.value.device)


def _fields(frames: Sequence[int], ctx: Context, config: DeflickerConfig) -> StyleFields | None:
    """Who matches guide and style together; None where cached correspondence is all that is wanted."""
    if config.match == "guide":
        return None
    guides = dict(zip(frames, ctx.condition("guide", frames).cpu().numpy(), strict=True))
    return StyleFields(guides, ctx.correspond, config.match, config.patch, config.seed)


def travelling(pictures: Tensor) -> Tensor:
    """Round to float16, also what stays in place: so travelling between workers changes no bit."""
    return pictures.half()


def fill(rows: Tensor, size: int) -> Tensor:
    """`rows` [F,...] with the last one repeated up to `size` rows."""
    if len(rows) > size:
        raise ConfigError(f"a window of {len(rows)} frames does not fit calls of {size}")
    return torch.cat([rows, rows[-1:].expand(size - len(rows), *rows.shape[1:])]) if len(rows) < size else rows
