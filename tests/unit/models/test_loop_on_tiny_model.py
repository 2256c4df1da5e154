"""The loop, a tiny model and the programs together: against diffusers, and against other window sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from configs.job import ControlConfig, ModelConfig
from models.attention import around_exchange, call_layout
from models.backbone import DiffusersBackbone, load
from models.inversion import InversionProgram, invert
from models.sampling import Context, Gathered, Loop, State, Window, run_whole, sample, windows_of
from models.schedule import Schedule, from_config
from models.solver import DDIMSolver

FRAMES, STEPS = 5, 4


@pytest.fixture(scope="module")
def backbone(tiny_sd: Path) -> DiffusersBackbone:
    loaded = load(ModelConfig(path=str(tiny_sd), controls=(ControlConfig(model="controlnet"),)), "cpu")
    assert isinstance(loaded, DiffusersBackbone)
    return loaded


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


NOISE = randn(1, 4, 8, 8).expand(FRAMES, -1, -1, -1)
SOURCE = randn(FRAMES, 4, 8, 8, seed=1)
CONTROL = torch.rand(FRAMES, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def context() -> Context:
    tensors = {"latents": SOURCE, "control": CONTROL}

    def condition(name: str, frames: Sequence[int]) -> Tensor:
        return tensors[name][list(frames)]

    def correspond(target: int, source: int) -> tuple[Any, Any]:
        raise AssertionError("not asked for here")

    return Context(condition, correspond)


@dataclass(frozen=True)
class Denoise:
    """The smallest program: a loop from shared noise."""

    loop: Loop

    @property
    def num_steps(self) -> int:
        return self.loop.num_steps

    def phases(self, step: int) -> Any:
        return self.loop.phases(step)

    def initial(self, window: Window, ctx: Context) -> State:
        return State(NOISE[list(window.frames)])

    def steps(self, window: Window, state: State, start: int, ctx: Context) -> Any:
        return sample(self.loop, window, state, ctx, start)

    def finish(self, window: Window, state: State, ctx: Context) -> Any:
        yield from ()
        return {"latents": state.latents}


def predictor(
    backbone: DiffusersBackbone, schedule: Schedule, size: int, pattern: tuple[str, ...], guidance: float
) -> Any:
    embeds = backbone.embed("a cat", "bad")

    def predict(around: Gathered, step: int, window: Window, ctx: Context) -> Tensor:
        layout = call_layout(window, size, pattern)
        control = ctx.condition("control", layout.frames)
        out = backbone.predict(
            around.take(layout.frames), schedule.timesteps[step], embeds, [control], [0.8], layout, guidance
        )
        return out[layout.own]

    return predict


def restyle(backbone: DiffusersBackbone, size: int, pattern: tuple[str, ...]) -> Tensor:
    schedule = from_config(backbone.scheduler_config, STEPS)
    predict = predictor(backbone, schedule, size, pattern, 4.0)
    loop = Loop(STEPS, around_exchange(pattern), predict, DDIMSolver(schedule))
    results = run_whole(Denoise(loop), windows_of(FRAMES, size), context())
    return torch.cat([result["latents"] for result in results])


def test_frames_alone_are_what_diffusers_pipeline_makes(backbone: DiffusersBackbone, tiny_sd: Path) -> None:
    """`StableDiffusionControlNetPipeline` with DDIM, frame by frame: latents equal to 1e-4."""
    from diffusers import (
        AutoencoderKL,
        ControlNetModel,
        DDIMScheduler,
        StableDiffusionControlNetPipeline,
        UNet2DConditionModel,
    )
    from transformers import CLIPTextModel, CLIPTokenizer

    pipeline = StableDiffusionControlNetPipeline(
        vae=AutoencoderKL.from_pretrained(tiny_sd / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(tiny_sd / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(tiny_sd / "tokenizer"),
        unet=UNet2DConditionModel.from_pretrained(tiny_sd / "unet"),
        controlnet=ControlNetModel.from_pretrained(tiny_sd / "controlnet"),
        scheduler=DDIMScheduler.from_pretrained(tiny_sd / "scheduler"),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    theirs = [
        pipeline(
            prompt="a cat",
            negative_prompt="bad",
            image=CONTROL[frame : frame + 1],
            num_inference_steps=STEPS,
            guidance_scale=4.0,
            controlnet_conditioning_scale=0.8,
            latents=NOISE[frame : frame + 1].clone(),
            output_type="latent",
        ).images
        for frame in range(FRAMES)
    ]
    torch.testing.assert_close(restyle(backbone, 1, ("0",)), torch.cat(theirs), rtol=1e-4, atol=1e-4)


def test_without_context_the_window_size_only_moves_rounding(backbone: DiffusersBackbone) -> None:
    alone = restyle(backbone, 1, ("0",))
    for size in (2, 5):
        torch.testing.assert_close(restyle(backbone, size, ("0",)), alone, rtol=1e-4, atol=1e-4)


def test_attention_across_frames_is_at_work_and_repeats_bit_for_bit(backbone: DiffusersBackbone) -> None:
    shared = restyle(backbone, 2, ("first", "-1", "0"))
    assert torch.equal(shared, restyle(backbone, 2, ("first", "-1", "0")))
    assert (shared - restyle(backbone, 2, ("0",))).abs().max() > 1e-3


def test_inversion_by_the_engine_is_inversion_of_the_whole(backbone: DiffusersBackbone) -> None:
    """With pattern 0, windows change nothing: same noise as `invert` on all frames at once."""
    schedule = from_config(backbone.scheduler_config, STEPS)
    predict = predictor(backbone, schedule, FRAMES, ("0",), 1.0)
    (window,) = windows_of(FRAMES, FRAMES)

    def network(latents: Tensor, timestep: int) -> Tensor:
        step = schedule.timesteps.index(timestep)
        return predict(Gathered(tuple(range(FRAMES)), latents), step, window, context())

    trajectory, errors = invert(SOURCE, network, schedule, 2)
    small = predictor(backbone, schedule, 2, ("0",), 1.0)
    program = InversionProgram(small, around_exchange(("0",)), schedule, 2)
    assert [len(program.phases(step)) for step in range(STEPS + 1)] == [3] * STEPS + [0]
    results = run_whole(Keeping(program), windows_of(FRAMES, 2), context())
    noise = torch.cat([result["latents"] for result in results])
    torch.testing.assert_close(noise, trajectory[-1], rtol=1e-4, atol=1e-4)
    residual = torch.cat([result["residual"] for result in results])
    torch.testing.assert_close(residual, errors, rtol=1e-2, atol=1e-5)


@dataclass(frozen=True)
class Keeping:
    """An inversion program that also hands back its noise."""

    program: InversionProgram

    num_steps = property(lambda self: self.program.num_steps)

    def phases(self, step: int) -> Any:
        return self.program.phases(step)

    def initial(self, window: Window, ctx: Context) -> State:
        return self.program.initial(window, ctx)

    def steps(self, window: Window, state: State, start: int, ctx: Context) -> Any:
        return self.program.steps(window, state, start, ctx)

    def finish(self, window: Window, state: State, ctx: Context) -> Any:
        result = yield from self.program.finish(window, state, ctx)
        return {**result, "latents": state.latents}


def test_an_inversion_resumed_halfway_is_the_same(backbone: DiffusersBackbone) -> None:
    schedule = from_config(backbone.scheduler_config, STEPS)
    pattern = ("first", "-1", "0")
    program = InversionProgram(
        predictor(backbone, schedule, FRAMES, pattern, 1.0), around_exchange(pattern), schedule, 1
    )
    (window,) = windows_of(FRAMES, FRAMES)

    def run(state: State, start: int) -> list[State]:
        states, steps = [], program.steps(window, state, start, context())
        reply = None
        while True:
            try:
                wish = steps.send(reply)
            except StopIteration:
                return states
            reply = None
            if hasattr(wish, "state"):
                states.append(wish.state)
            else:
                reply = Gathered(tuple(range(FRAMES)), wish.value)

    states = run(program.initial(window, context()), 0)
    assert len(states) == STEPS
    resumed = run(states[1], 2)
    assert torch.equal(resumed[-1].latents, states[-1].latents)
    assert torch.equal(resumed[-1].extras["residual"], states[-1].extras["residual"])


def test_inversion_undoes_the_sampler_on_the_network(backbone: DiffusersBackbone) -> None:
    """Fixed point on the tiny network: the round trip is far closer than the naive one."""
    schedule = from_config(backbone.scheduler_config, 20)
    predict = predictor(backbone, schedule, FRAMES, ("first", "0"), 1.0)
    (window,) = windows_of(FRAMES, FRAMES)
    solver = DDIMSolver(schedule)

    def network(latents: Tensor, timestep: int) -> Tensor:
        step = schedule.timesteps.index(timestep)
        return predict(Gathered(tuple(range(FRAMES)), latents), step, window, context())

    def back(noise: Tensor) -> float:
        state = State(noise)
        for i, t in enumerate(schedule.timesteps):
            state = solver.step(solver.clean(state, network(state.latents, t), i), i)
        return float((state.latents - SOURCE).norm() / SOURCE.norm())

    naive, exact = (back(invert(SOURCE, network, schedule, k)[0][-1]) for k in (0, 5))
    assert exact < 0.1 * naive
