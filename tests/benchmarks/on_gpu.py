"""What a GPU makes of the two heavy parts: `python -m tests.benchmarks.on_gpu`. Without one it says so and ends.

Fields: milliseconds per pair of 512x512 in a batch of 8, by Triton and by torch, beside one CPU thread. A restyle step:
the shapes of Stable Diffusion 1.5 with a soft-edge ControlNet, weights random, half precision, a window of 8 frames of
512x512 with guidance, without and with the deflicker (its decode, blend and encode).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from configs.job import RestyleJob
from models.attention import install
from models.backbone import BackboneFacts, DiffusersBackbone
from models.dry import DRY_SCHEDULER
from models.loading import Parts, open_device
from models.methods.restyle import restyle_program
from models.patchmatch import Method, identity, nnf_batch
from models.prompts import PromptEmbeds
from models.sampling import Context, Gathered, Publish, State, StepDone, Window

PAIRS, FRAMES, REPEATS, TOKENS = 8, 8, 3, 77
NO_GPU = "SKIPPED: this machine has no CUDA device; nothing here says anything about GPUs"


@dataclass(frozen=True)
class Shapes:
    """Channels of the levels of the UNet (and its ControlNet) and of the autoencoder; width of the text; frame side."""

    unet: tuple[int, ...] = (320, 640, 1280, 1280)
    vae: tuple[int, ...] = (128, 256, 512, 512)
    text: int = 768
    side: int = 512


SD15, TINY = Shapes(), Shapes((32, 32, 64, 64), (32, 32, 32, 32), 32, 64)


def milliseconds(work: Callable[[], object], device: torch.device) -> float:
    """Median of a few calls, after one that compiles."""
    taken = []
    for _ in range(1 + REPEATS):
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        taken.append(1000 * (time.perf_counter() - began))
    return round(statistics.median(taken[1:]), 2)


def fields(methods: Sequence[Method], device: str, side: int) -> dict[str, float]:
    """Milliseconds per pair in a batch of 8, by method; "jumps" is the twin of the GPU's on one CPU thread."""
    coarse = np.random.default_rng(0).integers(0, 256, (PAIRS, side // 8 + 1, side // 8 + 1, 3), dtype=np.uint8)
    big = coarse.repeat(8, 1).repeat(8, 2)
    targets, sources = (np.ascontiguousarray(big[:, k : k + side, k : k + side]) for k in (0, 5))

    def per_pair(method: Method) -> float:
        at = "cpu" if method == "jumps" else device
        taken = milliseconds(lambda: nnf_batch(targets, sources, method=method, device=at), torch.device(at))
        return round(taken / PAIRS, 3)

    return {method: per_pair(method) for method in methods}


class RandomModel(DiffusersBackbone):
    """Text is not what is measured: any numbers of the right shape."""

    def embed(self, *texts: str) -> PromptEmbeds:
        """Noise [77, width]."""
        width = self.parts.unet.config.cross_attention_dim
        return PromptEmbeds(torch.randn(TOKENS, width), torch.randn(TOKENS, width))


def random_model(shapes: Shapes, device: str) -> RandomModel:
    """A UNet, a ControlNet and an autoencoder of Stable Diffusion 1.5's kind, never trained."""
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel

    place = open_device(device)
    dtype = torch.float16 if place.type == "cuda" else torch.float32
    down = (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D")
    common: dict[str, Any] = {"block_out_channels": shapes.unet, "cross_attention_dim": shapes.text}
    unet = UNet2DConditionModel(up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * 3), **common)
    controlnet = ControlNetModel(down_block_types=down, **common)
    blocks: dict[str, Any] = {
        "block_out_channels": shapes.vae,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    vae = AutoencoderKL(layers_per_block=2, **blocks)
    for network in (unet, controlnet, vae):
        # the autoencoder stays in float32, as `models.loading` has it in half precision
        network.to(place, torch.float32 if network is vae else dtype).eval().requires_grad_(False)
    for network in (unet, controlnet):
        install(network)
    facts = BackboneFacts(4, 8, 64, "random", DRY_SCHEDULER)
    return RandomModel(facts, Parts(unet, vae, None, None, (controlnet,)), dtype, place)


def restyle_step(shapes: Shapes, device: str) -> dict[str, float]:
    """Milliseconds of one step of one window, all its frames together, without and with the deflicker."""
    model, side = random_model(shapes, device), shapes.side
    control = torch.rand(3, side, side)
    context = Context(
        lambda name, frames: control.expand(len(frames), -1, -1, -1), lambda target, source: identity(side, side)
    )
    window = Window(0, 0, FRAMES, FRAMES)

    def step(enabled: bool) -> float:
        asked = {"path": "dry", "controls": [{"kind": "softedge", "model": "softedge"}]}
        changes = {"guidance_scale": 7.5, "window": {"size": FRAMES}, "deflicker": {"enabled": enabled, "steps": [1.0]}}
        job = RestyleJob.model_validate({"prompt": "x", "num_inference_steps": 1, "model": asked, **changes})
        program = restyle_program(job, "x", model, (4, side // 8, side // 8))
        return milliseconds(lambda: _one_step(program.steps(window, state, 0, context), window), model.device)

    state = State(torch.randn(FRAMES, 4, side // 8, side // 8).to(model.device, model.dtype))
    return {"plain_ms": step(False), "with_deflicker_ms": step(True)}


def _one_step(running: Any, window: Window) -> None:
    wish = next(running)
    while not isinstance(wish, StepDone):
        assert isinstance(wish, Publish)
        wish = running.send(Gathered(tuple(window.frames), wish.value))


def measure(device: str, shapes: Shapes = SD15) -> dict[str, Any]:
    """All figures; on a CPU, which is for seeing that this runs, Triton is left out."""
    on_gpu = device.startswith("cuda")
    methods: tuple[Literal["triton", "torch", "jumps"], ...] = ("triton", "torch", "jumps") if on_gpu else ("jumps",)
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else device,
        "side": shapes.side,
        "field_ms_per_pair_at_batch_8": fields(methods, device, shapes.side),
        "restyle_step_of_8_frames": restyle_step(shapes, device),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to see that it runs: also with --device cpu")
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit(NO_GPU)
    print(json.dumps(measure(given.device, TINY if given.tiny else SD15), indent=1))
