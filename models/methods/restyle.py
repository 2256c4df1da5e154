"""DiffSynth restyle (arXiv 2308.03463) as a program: start, loop with in-iteration deflicker, decode, post filter.

Source frames enter only through the context: `latents` (posterior mean), `control0..` (ControlNet inputs),
`inverted` (end of the inversion trajectory) and their correspondence. Knows no store, worker or file.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from configs.job import RestyleJob
from configs.presets import template_of
from models.attention import around_exchange, call_layout
from models.backbone import Backbone
from models.corrections import Deflicker, fill, post_filter, post_filter_exchange
from models.noise import initial_noise
from models.sampling import Context, Correction, Exchange, Gathered, Loop, Publish, State, StepDone, Window, sample
from models.schedule import Schedule, fractions_to_steps, from_config, kept_steps
from models.solver import DDIMSolver, add_noise


def run_length(job: RestyleJob) -> int:
    """Steps that this job really runs: all, or the last `strength` of them from a noised source."""
    steps = job.num_inference_steps
    return kept_steps(steps, job.strength) if job.start == "noised" else steps


def deflicker_steps(job: RestyleJob) -> tuple[int, ...]:
    """Step indices at which the deflicker acts; empty when it is off, or its window is 0."""
    if not job.deflicker.enabled or not job.deflicker.window:
        return ()
    return fractions_to_steps(job.deflicker.steps, run_length(job))


@dataclass(frozen=True)
class RestyleProgram:
    """A restyle of one shot; build with `restyle_program`."""

    job: RestyleJob
    backbone: Backbone
    schedule: Schedule
    loop: Loop
    latent_shape: tuple[int, int, int]
    notes: tuple[str, ...] = ()

    @property
    def num_steps(self) -> int:
        """Steps really run."""
        return self.loop.num_steps

    def phases(self, step: int) -> tuple[Exchange, ...]:
        """Exchanges of a step; the last, `num_steps`, is the post filter's if there is one."""
        if step < self.num_steps:
            return self.loop.phases(step)
        return (post_filter_exchange(self.job.deflicker),) if self.job.deflicker.filters_after else ()

    def initial(self, window: Window, ctx: Context) -> State:
        """Pure noise, the source noised to the first timestep, or the inverted source."""
        if self.job.start == "inverted":
            return State(ctx.condition("inverted", window.frames).to(self.backbone.dtype))
        clip_frames = range(window.first_frame + window.start, window.first_frame + window.stop)
        latents = initial_noise(self.job.noise, self.job.seed, clip_frames, self.latent_shape)
        if self.job.start == "noised":
            source = ctx.condition("latents", window.frames).float().cpu()
            latents = add_noise(source, latents, self.schedule.alpha(0))
        return State(latents.to(self.backbone.device, self.backbone.dtype))

    def steps(
        self, window: Window, state: State, start: int, ctx: Context
    ) -> Generator[Publish | StepDone, Gathered | None, None]:
        """The sampling loop on one window."""
        return sample(self.loop, window, state, ctx, start)

    def finish(self, window: Window, state: State, ctx: Context) -> Generator[Publish, Gathered | None, dict[str, Any]]:
        """Decode, filter once more if asked, round to 8 bit: `frames` uint8 [F,H,W,3]."""
        rgb = self.backbone.decode(fill(state.latents, self.job.window.size))[: len(window.frames)]
        if self.job.deflicker.filters_after:
            rgb = yield from post_filter(window, rgb, ctx, self.job.deflicker)
        frames = (rgb.float().clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)
        return {"frames": frames.cpu().contiguous()}


def restyle_program(
    job: RestyleJob, prompt: str, backbone: Backbone, latent_shape: tuple[int, int, int]
) -> RestyleProgram:
    """Assemble the loop: windowed prediction with cross-frame attention, DDIM, deflicker at its steps.

    `prompt` is put into the template of the job's style; `latent_shape` is (C, h, w) of the working size.
    """
    full = from_config(backbone.scheduler_config, job.num_inference_steps)
    schedule = {"noise": full, "noised": full.truncate(job.strength), "inverted": full.invertible()}[job.start]
    text = backbone.embed(prompt, job.negative_prompt, template_of(job.style))
    scales = [c.scale for c in job.model.controls]
    pattern, size = job.attention.pattern, job.window.size

    def predict(around: Gathered, step: int, window: Window, ctx: Context) -> Tensor:
        layout = call_layout(window, size, pattern)
        controls = [ctx.condition(f"control{n}", layout.frames) for n in range(len(scales))]
        out = backbone.predict(
            around.take(layout.frames),
            schedule.timesteps[step],
            text,
            controls,
            scales,
            layout,
            job.guidance_scale,
        )
        return out[layout.own]

    steps = deflicker_steps(job)
    corrections: tuple[Correction, ...] = ()
    if steps:
        corrections = (Deflicker(backbone, frozenset(steps), schedule, job.deflicker, size),)
    loop = Loop(len(schedule.timesteps), around_exchange(pattern), predict, DDIMSolver(schedule), corrections)
    return RestyleProgram(job, backbone, schedule, loop, latent_shape, text.notes)
