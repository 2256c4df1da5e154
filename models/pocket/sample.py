"""Restyle single frames with the exported weights, to look at and to measure.

`python -m models.pocket.sample --weights DIR --clip FILE --frames 10 40 --grid OUT.png` paints, for each
style, the filter's own output above the model's, and prints PSNR figures as JSON. A plain reference loop: it
knows nothing of windows, workers and corrections (that is `models/sampling.py`).

Shape suffixes: N frames, C channels, H height, W width (lower case: at latent resolution).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import cv2
import numpy as np
import torch
from diffusers import ControlNetModel, DDIMScheduler, UNet2DConditionModel
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from models.conditions import soft_edges
from models.metrics import psnr
from models.pocket.autoencoder import BlockAutoencoder
from models.pocket.networks import BASE_CONTROLS, CONTROLS, blocks, steered
from models.pocket.styles import STYLES, apply_style, style_prompt
from models.schedule import kept_steps

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class Pocket:
    """The loaded parts, in float32 on the CPU."""

    vae: BlockAutoencoder
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    unet: UNet2DConditionModel
    controlnets: Mapping[str, ControlNetModel]
    scheduler: DDIMScheduler

    @classmethod
    def load(cls, folder: Path = WEIGHTS) -> Pocket:
        """Load a diffusers folder; stored half precision becomes float32."""
        kind = torch.float32
        return cls(
            BlockAutoencoder.from_pretrained(folder / "vae", torch_dtype=kind),
            CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=kind),
            CLIPTokenizer.from_pretrained(folder / "tokenizer"),
            UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=kind),
            {name: ControlNetModel.from_pretrained(folder / name, torch_dtype=kind) for name in CONTROLS},
            DDIMScheduler.from_pretrained(folder / "scheduler"),
        )

    def encode(self, frames_NHWC: NDArray[np.uint8]) -> Tensor:
        """Return the scaled latents (N, C, h, w) of uint8 RGB frames (N, H, W, 3)."""
        x = torch.from_numpy(frames_NHWC).permute(0, 3, 1, 2).float() / 127.5 - 1
        scaled: Tensor = self.vae.encode(x).latent_dist.mean * self.vae.config.scaling_factor
        return scaled

    def decode(self, latents_NChw: Tensor) -> NDArray[np.uint8]:
        """Return the frames (N, H, W, 3) uint8 RGB of scaled latents."""
        pictures = self.vae.decode(latents_NChw / self.vae.config.scaling_factor).sample
        pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1)
        return np.asarray(pixels.numpy(), dtype=np.uint8)

    def encode_text(self, prompts: list[str]) -> Tensor:
        """Return (N, 32, 64) hidden states."""
        ids = self.tokenizer(
            prompts,
            padding="max_length",
            truncation=True,
            max_length=self.tokenizer.model_max_length,
            return_tensors="pt",
        ).input_ids
        hidden: Tensor = self.text_encoder(ids).last_hidden_state
        return hidden


@dataclass(frozen=True)
class Settings:
    """How to sample. strength 1 starts from pure noise, less from the noised source (SDEdit).

    controls: which ControlNets steer; what `BASE_CONTROLS` lacks must be given its input.
    """

    steps: int = 10
    guidance_scale: float = 1.0
    strength: float = 1.0
    seed: int = 0
    controls: tuple[str, ...] = BASE_CONTROLS


@torch.no_grad()
def restyle(
    pocket: Pocket,
    frames_NHWC: NDArray[np.uint8],
    prompts: str | Sequence[str],
    settings: Settings,
    given: Mapping[str, Tensor] = MappingProxyType({}),
) -> NDArray[np.uint8]:
    """Restyle frames independently, all from the same noise; one prompt for all or one for each.

    given: inputs (N, C, h, w) of ControlNets that a clip by itself cannot feed, by folder name. Shapes: (N, H, W, 3)
    uint8 RGB, H and W multiples of 16 -> the same.
    """
    source, count = pocket.encode(frames_NHWC), len(frames_NHWC)
    known = {
        **given,
        "controlnet_tile": source,
        "controlnet_softedge": blocks(torch.from_numpy(soft_edges(frames_NHWC))),
    }
    controls = {name: known[name] for name in settings.controls}
    hidden = pocket.encode_text([prompts] * count if isinstance(prompts, str) else list(prompts))
    plain = pocket.encode_text([""] * count)
    random = torch.Generator().manual_seed(settings.seed)
    noise = torch.randn(source[:1].shape, generator=random).expand_as(source)
    scheduler = pocket.scheduler
    scheduler.set_timesteps(settings.steps)
    first = settings.steps - kept_steps(settings.steps, settings.strength)
    timesteps = scheduler.timesteps[first:]
    latents = noise if first == 0 else scheduler.add_noise(source, noise, timesteps[:1].expand(count))
    for t in timesteps:
        x0 = predicted(pocket, latents, t, (hidden, plain), controls, settings.guidance_scale)
        latents = scheduler.step(x0, t, latents).prev_sample
    return pocket.decode(latents)


@torch.no_grad()
def predicted(
    pocket: Pocket,
    latents_NChw: Tensor,
    timestep: Tensor,
    texts: tuple[Tensor, Tensor],
    controls: Mapping[str, Tensor],
    guidance_scale: float,
) -> Tensor:
    """The clean latents (N, C, h, w), guided as `Backbone.predict` does it; texts: wanted and empty, (N, L, D)."""
    wanted, plain = texts
    x0 = steered(pocket.unet, pocket.controlnets, latents_NChw, timestep, wanted, controls)
    if guidance_scale == 1.0:
        return x0
    # A look is a wish, as words are: the unguided half must not know it.
    known = {n: c for n, c in controls.items() if not pocket.controlnets[n].config.get("global_pool_conditions")}
    free = steered(pocket.unet, pocket.controlnets, latents_NChw, timestep, plain, known)
    return free + guidance_scale * (x0 - free)


def read_frames(clip: Path, indices: list[int], long_side: int = 256) -> NDArray[np.uint8]:
    """Read frames of a clip, scaled to `long_side` px and both sides to multiples of 16: (N, H, W, 3) RGB."""
    reader = cv2.VideoCapture(str(clip))
    chosen = []
    for index in range(max(indices) + 1):
        good, frame = reader.read()
        if not good:
            raise ValueError(f"{clip} has only {index} frames, wanted {max(indices)}")
        if index in indices:
            scale = long_side / max(frame.shape[:2])
            size = (16 * round(frame.shape[1] * scale / 16), 16 * round(frame.shape[0] * scale / 16))
            chosen.append(cv2.cvtColor(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB))
    reader.release()
    return np.asarray(np.stack(chosen), dtype=np.uint8)


def main() -> None:
    """Restyle frames of a clip in every style, paint the grid, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--clip", type=Path, required=True)
    parser.add_argument("--frames", type=int, nargs="+", default=[30])
    parser.add_argument("--words", default="a scene")
    parser.add_argument("--grid", type=Path, default=None)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--controls", nargs="*", default=list(BASE_CONTROLS), choices=BASE_CONTROLS)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    pocket = Pocket.load(args.weights)
    frames = read_frames(args.clip, args.frames)
    with torch.no_grad():
        rebuilt = pocket.decode(pocket.encode(frames))
    figures = {"vae": round(psnr(rebuilt, frames), 2)}
    columns = [np.vstack([frames[0], rebuilt[0]])]
    for name in [*STYLES, "photo"]:
        wanted = np.stack([apply_style(name, frame) for frame in frames])
        settings = Settings(args.steps, args.guidance, args.strength, controls=tuple(args.controls))
        got = restyle(pocket, frames, style_prompt(name, args.words), settings)
        figures[name] = round(psnr(got, wanted), 2)
        columns.append(np.vstack([wanted[0], got[0]]))
    print(json.dumps({"clip": args.clip.name, "psnr_db": figures}))
    if args.grid is not None:
        half = -(-len(columns) // 2)
        rows = [np.hstack(columns[:half]), np.hstack(columns[half:])]
        cv2.imwrite(str(args.grid), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main()
