"""Train UNet, ControlNets and text encoder together: `python -m models.pocket.train_diffusion --help`.

Knows networks and their loss; what a step draws is `models.pocket.batches`. The network predicts the clean latents (ADR
0003). Seeded per step, so a resumed run draws the same batches as long as the pool is the same; state is saved as
safetensors outside the repository. Probe: batches of shard 0, never trained on, the same at every look.

Shape suffixes: N batch, C channels, L tokens, D width of a token, h, w latent height and width.
"""

from __future__ import annotations

import argparse
import copy
import math
import time
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file
from torch import Tensor
from transformers import CLIPTokenizer

from models.pocket.batches import ALONE, OBJECTS, STEERINGS, Batch
from models.pocket.checkpoint import STATE_FILE, Average, load_state, save_state
from models.pocket.device import add_device, training_device
from models.pocket.networks import Networks, begin_as_identity, build_networks, build_scheduler, steered
from models.pocket.pairs import COLOUR_FILE, read_shards
from models.pocket.vocabulary import write_tokenizer

_HUE = 60.0  # added weight of the error along hue where only words know a colour


def predict_x0(networks: Networks, batch: Batch) -> Tensor:
    """Run text encoder, the batch's ControlNets and UNet: the clean latents (N, C, h, w)."""
    kind = networks.unet.dtype
    noisy_NChw = batch.noisy_NChw.to(kind)
    hidden_NLD = networks.text_encoder(batch.ids_NL).last_hidden_state
    controls = {name: batch.controls[name].to(kind) for name in batch.steering.controls}
    return steered(networks.unet, networks.controlnets, noisy_NChw, batch.timesteps_N, hidden_NLD, controls)


def loss_of(networks: Networks, batch: Batch, colour_2C: Tensor) -> Tensor:
    """Weighted mean square error of the predicted clean latents, in the networks' arithmetic up to the last step.

    Hue has a small share of a picture's energy and would be learnt last: where only words know the colour of an
    object, its error along `colour_2C` (see `pairs.colour_directions`) counts once more, `_HUE` times.
    """
    error_NChw = predict_x0(networks, batch).float() - batch.x0_NChw
    loss = (batch.scales_N111 * batch.weights_N1hw * error_NChw.square()).mean()
    hue_N2hw = torch.einsum("kc,nchw->nkhw", colour_2C, error_NChw)
    extra = _HUE * batch.scales_N111 * (batch.weights_N1hw - 1) / OBJECTS * hue_N2hw.square().sum(1, keepdim=True)
    return loss + extra.mean() / error_NChw.shape[1]


class HalfCopy:
    """The networks in bfloat16 for the forward and backward pass; the float32 ones keep the truth.

    Where a CPU multiplies bfloat16 matrices (AMX) a step takes half as long. Autocast would convert the weights anew
    at every use, which eats most of the gain.
    """

    def __init__(self, networks: Networks) -> None:
        """Copy `networks`; `pull` and `push` keep the copies together."""
        self.networks = copy.deepcopy(networks)
        for module in self.networks.modules().values():
            module.to(torch.bfloat16)
        self.truth, self.copies = trained(networks), trained(self.networks)

    @torch.no_grad()
    def pull(self) -> None:
        """Take over the weights."""
        torch._foreach_copy_(self.copies, self.truth)

    def push(self) -> None:
        """Hand the gradients over and forget them here."""
        for own, half in zip(self.truth, self.copies, strict=True):
            own.grad = None if half.grad is None else half.grad.float()
            half.grad = None


def trained(networks: Networks) -> list[Tensor]:
    """The parameters that are not frozen."""
    return [p for m in networks.modules().values() for p in m.parameters() if p.requires_grad]


def freeze_all_but(networks: Networks, name: str) -> None:
    """Train one network only; the others stay as they are to the bit."""
    for other, module in networks.modules().items():
        module.requires_grad_(other == name)


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.safetensors"))


def train(args: argparse.Namespace) -> None:
    """Train until `--steps`, `--stop-at` or `--minutes`; save every `--save-every` steps and at the end."""
    torch.set_num_threads(args.threads)
    device, resumes = training_device(args.device), args.resume and (args.out / STATE_FILE).exists()
    vocabulary_size = write_tokenizer(args.out / "tokenizer")
    tokenizer = CLIPTokenizer.from_pretrained(args.out / "tokenizer")
    networks = build_networks(vocabulary_size, args.seed)
    if args.alone is not None:
        freeze_all_but(networks, STEERINGS[args.alone].own)
    named = {f"{n}.{p}": v for n, m in networks.modules().items() for p, v in m.named_parameters()}
    optimiser = torch.optim.AdamW(trained(networks), lr=args.lr, weight_decay=0.01, betas=(0.9, 0.99), fused=True)
    average = Average(named, 0.999)
    if args.start_from is not None and not resumes:
        for name, module in networks.modules().items():
            opened: Any = type(module)
            if (args.start_from / name).exists():  # a ControlNet may be new
                module.load_state_dict(opened.from_pretrained(args.start_from / name).state_dict())
        average = Average(named, 0.999)
    alphas_cumprod = build_scheduler().alphas_cumprod
    colour_2C = load_file(args.pool / COLOUR_FILE)["colour"].to(device)
    held = read_shards(_shards(args.pool)[:1])
    if not resumes and args.start_from is None:
        begin_as_identity(networks, held.source_NChw[:32].float())
    for moved in networks.modules().values():
        moved.to(device)
    average.to(device)
    step, seconds = load_state(args.out, named, optimiser, average) if resumes else (0, 0.0)
    # Plain softmax attention: its backward pass is several times faster in bfloat16 than the fused one (torch 2.13).
    networks.unet.set_attn_processor(AttnProcessor())
    half = HalfCopy(networks) if args.bfloat16 else None
    probe = {
        name: [Batch(held, tokenizer, alphas_cumprod, -1 - i, args.batch, name).to(device) for i in range(3)]
        for name in STEERINGS
        if args.alone in (None, name)
    }
    pool, pairs = [], None
    started, running, first = time.monotonic(), 0.0, step
    last = min(args.steps, args.stop_at or args.steps)
    while step < last and time.monotonic() - started < 60 * args.minutes:
        # The pool may still be growing; look again now and then.
        if pairs is None or (step % 200 == 0 and _shards(args.pool) != pool):
            pool = _shards(args.pool)
            pairs = read_shards(pool[1:])
        rate = min(1.0, (step + 1) / args.warmup) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * step / args.steps)))
        for group in optimiser.param_groups:
            group["lr"] = args.lr * rate
        batch = Batch(pairs, tokenizer, alphas_cumprod, args.seed * 10**7 + step, args.batch, args.alone).to(device)
        optimiser.zero_grad(set_to_none=True)
        if half is not None:
            half.pull()
        loss = batch.steering.weight * loss_of(half.networks if half is not None else networks, batch, colour_2C)
        torch.autograd.backward(loss)
        if half is not None:
            half.push()
        torch.nn.utils.clip_grad_norm_(trained(networks), 1.0)
        optimiser.step()
        step += 1
        average.update(named, step)
        running += (loss.item() - running) / min(50, step - first)
        if step % 20 == 0:
            spent = seconds + time.monotonic() - started
            print(f"step {step} loss {running:.4f} seconds {spent:.0f} pictures {len(pairs.words)}", flush=True)
        if step % args.save_every == 0 or step == last:
            save_state(args.out, named, optimiser, average, step, seconds + time.monotonic() - started)
            with torch.no_grad(), average.swapped(named):
                losses = {n: [loss_of(networks, b, colour_2C).item() for b in some] for n, some in probe.items()}
            means = {n: sum(some) / len(some) for n, some in losses.items()}
            shown = " ".join(f"{name} {value:.4f}" for name, value in means.items())
            print(f"step {step} probe of averaged weights: {shown}", flush=True)
    save_state(args.out, named, optimiser, average, step, seconds + time.monotonic() - started)


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="run folder, outside the repository")
    parser.add_argument("--pool", type=Path, required=True, help="folder of shards (models.pocket.pairs)")
    parser.add_argument("--resume", action="store_true", help="go on from the state found in --out, if there is one")
    parser.add_argument("--start-from", type=Path, default=None, help="begin with these exported weights")
    parser.add_argument("--alone", choices=ALONE, help="train just this steering's own ControlNet")
    parser.add_argument("--minutes", type=float, default=600.0)
    parser.add_argument("--steps", type=int, default=8000, help="length of the learning-rate schedule")
    parser.add_argument("--stop-at", type=int, default=0, help="stop at this step of the schedule")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--warmup", type=int, default=150, help="steps of linear warm-up")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bfloat16", action="store_true", help="twice as fast where the CPU has AMX")
    add_device(parser)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--save-every", type=int, default=200)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
