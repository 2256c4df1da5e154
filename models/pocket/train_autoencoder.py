"""Fit and train the block autoencoder: `python -m models.pocket.train_autoencoder --out DIR --clips DIR`.

Knows pictures and the autoencoder; refuses to know about diffusion and text. First the closed-form block
transform, saved at once (the diffusion training needs only the encoder, which never changes after that), then
minutes of training of the decoder's correction.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.pocket.autoencoder import BlockAutoencoder, fit_blocks
from models.pocket.pictures import draw_picture, real_pictures
from models.pocket.styles import PROMPT_TEMPLATES, apply_style


def training_pictures(count: int, seed: int, clips: Path | None) -> Tensor:
    """Return (count, 3, 144, 256) uint8: photographs and scenes, half of them styled."""
    rng = np.random.default_rng(seed)
    real = real_pictures(clips) if clips is not None else []
    names = list(PROMPT_TEMPLATES)
    pictures = []
    for _ in range(count):
        picture, _words = draw_picture(rng, real)
        name = "photo" if rng.uniform() < 0.5 else names[int(rng.integers(len(names)))]
        pictures.append(apply_style(name, picture))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each picture of a batch (N, C, H, W) in [-1, 1]."""
    error = (a.clamp(-1, 1) - b).square().mean(dim=(1, 2, 3))
    return 10 * torch.log10(4.0 / error.clamp_min(1e-12))


def train_decoder(model: BlockAutoencoder, pictures_NCHW: Tensor, args: argparse.Namespace) -> None:
    """Train the decoder (the encoder stays fixed) for `--steps` or `--minutes`, whichever ends first."""
    model.encoder.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=2e-3, weight_decay=1e-3)
    random = torch.Generator().manual_seed(args.seed)
    probe = pictures_NCHW[:16].float() / 127.5 - 1
    started = time.monotonic()
    for step in range(args.steps):
        done = max(step / args.steps, (time.monotonic() - started) / (60 * args.minutes))
        if done >= 1 or step % 100 == 0:
            with torch.no_grad():
                print(f"step {step} probe {psnr(model(probe).sample, probe).mean():.2f} dB", flush=True)
            model.save_pretrained(args.out, safe_serialization=True)
        if done >= 1:
            break
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * (1 - done)
        chosen = torch.randint(16, len(pictures_NCHW), (12,), generator=random)
        top = 8 * int(torch.randint(0, 7, (1,), generator=random))
        left = 8 * int(torch.randint(0, 21, (1,), generator=random))
        x = pictures_NCHW[chosen, :, top : top + 96, left : left + 96].float() / 127.5 - 1
        with torch.no_grad():
            z = model.encode(x).latent_dist.mean
            # Sampled latents are never exact: the correction must not read meaning into their last digits.
            z = z + 0.03 / model.config.scaling_factor * torch.randn(z.shape, generator=random)
        error = model.decode(z).sample - x
        loss = error.square().mean() + 0.05 * error.abs().mean()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
    model.save_pretrained(args.out, safe_serialization=True)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the vae; outside the repository")
    parser.add_argument("--clips", type=Path, default=None, help="folder of the CC BY clips; none: scenes only")
    parser.add_argument("--resume", action="store_true", help="keep the fitted encoder found in --out")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(args.seed)
    pictures_NCHW = training_pictures(args.pictures, args.seed, args.clips)
    if args.resume:
        model = BlockAutoencoder.from_pretrained(args.out)
    else:
        model = BlockAutoencoder()
        share = fit_blocks(model, pictures_NCHW.float() / 127.5 - 1)
        print("variance kept", f"{share[:16].sum():.4f}", "per component", [f"{s:.5f}" for s in share[:16]])
    model.save_pretrained(args.out, safe_serialization=True)
    train_decoder(model, pictures_NCHW, args)


if __name__ == "__main__":
    main()
