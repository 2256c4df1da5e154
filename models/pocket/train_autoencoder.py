"""Train the lapped autoencoder: `python -m models.pocket.train_autoencoder --out DIR --clips DIR`.

Knows pictures and the autoencoder; refuses to know about diffusion and text. Three parts: the closed-form block
transform; encoder and decoder together; then, the latent space settled for good (`settle_latents`), the decoder
alone against latents with a little noise, as sampled ones have. Seeded per step and resumable; the fixed probe is
sixteen pictures never trained on.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.metrics import psnr
from models.pocket.autoencoder import BlockAutoencoder, fit_blocks, settle_latents
from models.pocket.checkpoint import STATE_FILE, Average, load_state, save_state
from models.pocket.device import add_device, training_device
from models.pocket.pictures import draw_picture, real_pictures
from models.pocket.styles import PROMPT_TEMPLATES, apply_style

_PROBE, _CROP, _BATCH = 16, 96, 12
_LINEAR = ("encoder.", "decoder.")


def training_pictures(count: int, seed: int, clips: Path | None) -> Tensor:
    """Return (count, 3, 144, 256) uint8: photographs and scenes, half of them styled."""
    rng = np.random.default_rng(seed)
    real = real_pictures(clips) if clips is not None else []
    names = list(PROMPT_TEMPLATES)
    pictures = []
    for _ in range(count):
        drawn = draw_picture(rng, real)
        name = "photo" if rng.uniform() < 0.5 else names[int(rng.integers(len(names)))]
        pictures.append(apply_style(name, drawn.picture_HWC))
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()


def _likeness(a_NCHW: Tensor, b_NCHW: Tensor) -> float:
    """PSNR in dB of pictures in [-1, 1], mean over the batch."""
    mine, theirs = (((x.clamp(-1, 1) + 1) * 127.5).cpu().numpy() for x in (a_NCHW, b_NCHW))
    return float(np.mean([psnr(a, b) for a, b in zip(mine, theirs, strict=True)]))


def _crops(pictures_NCHW: Tensor, random: torch.Generator) -> Tensor:
    """Draw a batch of crops anywhere, half of them mirrored."""
    high, wide = pictures_NCHW.shape[-2:]
    chosen = torch.randint(_PROBE, len(pictures_NCHW), (_BATCH,), generator=random)
    top = int(torch.randint(0, high - _CROP + 1, (1,), generator=random))
    left = int(torch.randint(0, wide - _CROP + 1, (1,), generator=random))
    crops = pictures_NCHW[chosen, :, top : top + _CROP, left : left + _CROP].float() / 127.5 - 1
    return crops.flip(-1) if int(torch.randint(0, 2, (1,), generator=random)) else crops


def _optimiser(named: dict[str, Tensor]) -> torch.optim.AdamW:
    """The transforms start nearly right and take small steps; the correction starts from nothing."""
    linear = [p for n, p in named.items() if n.startswith(_LINEAR) and p.requires_grad]
    rest = [p for n, p in named.items() if not n.startswith(_LINEAR)]
    groups = [{"params": linear, "base": 4e-4, "weight_decay": 0.0}, {"params": rest, "base": 2e-3}]
    return torch.optim.AdamW(groups, lr=2e-3, weight_decay=1e-3)


def train(model: BlockAutoencoder, pictures_NCHW: Tensor, args: argparse.Namespace) -> None:
    """Train until `--steps`; the last third with the encoder fixed. Leaves the averaged weights in `--out`."""
    joint, device = round(args.steps * 2 / 3), training_device(args.device)
    model.to(device)
    named = dict(model.named_parameters())
    optimiser, average = _optimiser(named), Average(named, 0.995)
    step, seconds = 0, 0.0
    if args.resume:
        step, seconds = load_state(args.out, named, optimiser, average)
    settled = step > joint
    model.encoder.requires_grad_(not settled)
    probe = pictures_NCHW[:_PROBE].to(device).float() / 127.5 - 1
    started = time.monotonic()
    last_step = min(args.steps, args.stop_at or args.steps)
    while step < last_step:
        if step == joint and not settled:
            with average.swapped(named):
                best = {name: value.detach().clone() for name, value in named.items()}
            model.load_state_dict(best)
            settle_latents(model, pictures_NCHW[_PROBE:].to(device).float() / 127.5 - 1)
            model.encoder.requires_grad_(False)
            optimiser, average, settled = _optimiser(named), Average(named, 0.995), True
        first, last = (joint, args.steps) if settled else (0, joint)
        share = (step - first) / (last - first)
        rate = min(1.0, (step - first + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * rate
        random = torch.Generator().manual_seed(args.seed * 10**7 + step)
        x = _crops(pictures_NCHW, random).to(device)
        z = model.encode(x).latent_dist.mean
        if settled:
            # Sampled latents are never exact: the correction must not read meaning into their last digits.
            z = z + 0.02 / model.config.scaling_factor * torch.randn(z.shape, generator=random).to(device)
        error = model.decode(z).sample - x
        loss = error.square().mean() + 0.02 * error.abs().mean()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        step += 1
        average.update(named, step - first)
        if step % args.save_every == 0 or step == last_step:
            spent = seconds + time.monotonic() - started
            save_state(args.out, named, optimiser, average, step, spent)
            with torch.no_grad(), average.swapped(named):
                value = _likeness(model(probe).sample, probe)
                print(f"step {step} probe {value:.2f} dB seconds {spent:.0f}", flush=True)
                model.save_pretrained(args.out, safe_serialization=True)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the vae; outside the repository")
    parser.add_argument("--clips", type=Path, default=None, help="folder of the CC BY clips; none: scenes only")
    parser.add_argument("--resume", action="store_true", help="go on from the state found in --out, if there is one")
    parser.add_argument("--channels", type=int, default=40, help="latent channels")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--stop-at", type=int, default=0, help="stop at this step of the schedule")
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--pictures", type=int, default=600)
    add_device(parser)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    pictures_NCHW = training_pictures(args.pictures, args.seed, args.clips)
    if args.resume and (args.out / STATE_FILE).exists():
        model = BlockAutoencoder.from_pretrained(args.out)
    else:
        args.resume = False
        model = BlockAutoencoder(latent_channels=args.channels, kernel_size=16)
        share = fit_blocks(model, pictures_NCHW.float() / 127.5 - 1)
        print("variance kept", f"{share[: args.channels].sum():.4f}", flush=True)
    train(model, pictures_NCHW, args)


if __name__ == "__main__":
    main()
