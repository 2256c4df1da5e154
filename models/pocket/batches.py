"""What one training step draws: pictures, their controls, words and noise, decided by a seed alone.

Knows shares and latents; refuses to know about networks and optimisers. Each batch is steered by both ControlNets, by
one of them, or by none, so that each works alone and mixed.

Shape suffixes: N batch, C channels, L tokens, h, w latent height and width, H, W pixels.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from models.pocket.networks import BASE_CONTROLS, blocks
from models.pocket.pairs import STYLE_NAMES, Pairs
from models.pocket.styles import style_prompt

_GENERIC = ("", "a video", "a scene", "a picture")
_PHOTO_SHARE, _TEXT_DROP = 0.10, 0.10
_RESTORED = "{prompt}, clean high quality photo"
_QUIET, _FLOOR = 200, 0.03
OBJECTS = 12.0  # added weight of what the words name, where nothing but the words knows its colour


@dataclass(frozen=True)
class Steering:
    """Which controls a batch gets; how often it is drawn; how much its loss weighs.

    Without the colours of the tile much of the picture cannot be known, and its large error would drown what is to be
    learnt about detail: it weighs less. `scenes`: share of draws that are procedural, whose words name the colours.
    `quiet`: share of draws with little noise, timesteps below 200, where DDIM inversion begins and every error of the
    clean latents is divided by a small sigma.
    """

    controls: tuple[str, ...]
    share: float
    weight: float
    scenes: float
    quiet: float = 0.0

    @property
    def own(self) -> str:
        """The ControlNet that this steering adds to those before it, which may be trained alone."""
        return self.controls[-1]


STEERINGS: Mapping[str, Steering] = MappingProxyType(
    {
        "both": Steering(BASE_CONTROLS, 0.16, 1.0, 0.5, 0.15),
        "tile": Steering(("controlnet_tile",), 0.05, 1.0, 0.5, 0.15),
        "softedge": Steering(("controlnet_softedge",), 0.62, 0.30, 0.90),
        "depth": Steering(("controlnet_depth",), 0.05, 0.35, 1.0),
        "reference": Steering((*BASE_CONTROLS, "controlnet_reference"), 0.05, 1.0, 0.5, 0.1),
        "restore": Steering(("controlnet_tile",), 0.04, 1.0, 0.3),
        "none": Steering((), 0.03, 0.1, 0.7, 0.5),
    }
)


ALONE = tuple(name for name, steering in STEERINGS.items() if steering.controls)
"""Steerings with a ControlNet of their own."""


class Batch:
    """One draw of training pairs, decided by its seed alone (and `steering`, where it is given)."""

    def __init__(
        self,
        pairs: Pairs,
        tokenizer: CLIPTokenizer,
        alphas_cumprod: Tensor,
        seed: int,
        size: int,
        steering: str | None = None,
    ) -> None:
        """Draw `size` crops of 128 px, or (a fifth of the time; without tile, four fifths) half as many pictures."""
        random = torch.Generator().manual_seed(seed)

        def below(limit: int, count: int) -> list[int]:
            values: list[int] = torch.randint(limit, (count,), generator=random).tolist()
            return values

        shares = torch.tensor([s.share for s in STEERINGS.values()])
        drawn = list(STEERINGS)[int(torch.multinomial(shares, 1, generator=random))]
        self.steering = STEERINGS[steering or drawn]
        coloured = "controlnet_tile" in self.steering.controls
        high, wide = pairs.source_NChw.shape[-2:]
        if below(5, 1)[0] < (1 if coloured else 4):
            size, side = max(1, size // 2), (high, wide)
        else:
            side = (16, 16)
        rows = below(high - side[0] + 1, size)
        columns = below(wide - side[1] + 1, size)
        luck = torch.rand(size, 4, generator=random)
        kinds = [pairs.procedural_N.nonzero()[:, 0].tolist(), (~pairs.procedural_N).nonzero()[:, 0].tolist()]
        styled = [name for name in STYLE_NAMES if name != "photo"]
        looks = "controlnet_reference" in self.steering.controls
        restores = self.steering is STEERINGS["restore"]
        source, target, edges, depth, looked, weights, prompts = [], [], [], [], [], [], []
        for i in range(size):
            kind = kinds[0 if luck[i, 3] < self.steering.scenes else 1] or kinds[0] or kinds[1]
            item = kind[below(len(kind), 1)[0]]
            y, x = slice(rows[i], rows[i] + side[0]), slice(columns[i], columns[i] + side[1])
            name = "photo" if luck[i, 0] < (_PHOTO_SHARE if coloured else 0.5) else styled[below(len(styled), 1)[0]]
            said = below(10, 1)[0] < (6 if coloured else 9)
            words = pairs.words[item] if said else _GENERIC[below(len(_GENERIC), 1)[0]]
            # Where a picture shows the look, the words keep silent about it.
            phrase = words if looks else style_prompt(name, words, below(4, 1)[0] % 3)
            if restores:
                name, phrase = "photo", _RESTORED.format(prompt=words)
            prompts.append("" if luck[i, 1] < _TEXT_DROP and not restores else phrase)
            source.append(pairs.source_NChw[item, :, y, x])
            target.append(pairs.targets_NSChw[item, STYLE_NAMES.index(name), :, y, x])
            pixels = slice(8 * y.start, 8 * y.stop), slice(8 * x.start, 8 * x.stop)
            edges.append(pairs.edges_NHW[item, *pixels])
            depth.append(pairs.depth_NHW[item, *pixels])
            another = below(len(pairs.words), 1)[0] if looks else item
            looked.append(pairs.targets_NSChw[another, STYLE_NAMES.index(name), :, y, x])
            weights.append(pairs.objects_Nhw[item, y, x])
        tile = torch.stack(source).float()
        self.controls = {
            "controlnet_tile": degraded(tile, random) if restores else tile,
            "controlnet_softedge": blocks(torch.stack(edges).float() / 255),
            "controlnet_depth": blocks(torch.stack(depth).float() / 255),
            "controlnet_reference": torch.stack(looked).float(),
        }
        self.weights_N1hw = 1 + (0.0 if coloured else OBJECTS) * torch.stack(weights)[:, None].float() / 255
        self.ids_NL = tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids
        x0 = torch.stack(target).float()
        eps = torch.randn(x0.shape, generator=random)
        # More often noisy than not: what limits the picture is how well the control is read, and the last
        # steps of ten end at timestep 99 anyway.
        share = torch.rand(size, generator=random) ** 0.7
        self.timesteps_N = (share * len(alphas_cumprod)).long()
        # Sampling starts from pure noise, which the schedule never quite reaches: its last timestep still
        # leaks brightness (Lin et al. 2023). A share of draws is therefore what sampling will show.
        pure = torch.rand(size, generator=random) < (0.2 if coloured else 0.4)
        self.timesteps_N[pure] = len(alphas_cumprod) - 1
        quiet = torch.rand(size, generator=random) < self.steering.quiet
        pure &= ~quiet
        low = torch.randint(_QUIET, (size,), generator=random)
        self.timesteps_N[quiet] = low[quiet]
        alpha = alphas_cumprod[self.timesteps_N].sqrt()[:, None, None, None]
        sigma = (1 - alpha**2).sqrt()
        # Of those, the error weighs as it will count in the noise it stands for: about 1 / sigma^2, bounded.
        self.scales_N111 = torch.where(quiet[:, None, None, None], 1 / (sigma**2 + _FLOOR), 1.0)
        self.noisy_NChw = torch.where(pure[:, None, None, None], eps, alpha * x0 + sigma * eps)
        self.x0_NChw = x0

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(moved, name, value.to(device))
        moved.controls = {name: control.to(device) for name, control in self.controls.items()}
        return moved


def degraded(latents_NChw: Tensor, random: torch.Generator) -> Tensor:
    """Latents of a blurred and noisy picture, made from those of a good one, each with its own blur and noise.

    The latents are a linear transform with channels ordered by energy, and so roughly by frequency: a blur takes from
    the later ones, white noise adds alike to all (0.15 is about 20 levels of 255).
    """
    luck = torch.rand(2, len(latents_NChw), 1, 1, 1, generator=random)
    channel = torch.arange(latents_NChw.shape[1]).view(1, -1, 1, 1)
    kept = torch.sigmoid((6 + 60 * luck[0] - channel) / 3)
    return latents_NChw * kept + 0.15 * luck[1] * torch.randn(latents_NChw.shape, generator=random)
