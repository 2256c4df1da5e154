"""DDIM inversion: from clean latents to the noise that denoises back to them, by the same engine and
attention.

Naive (each step asks the network at the level it goes *to*, on the latents it has) or by fixed point (the
exact root of the denoising step). The trajectory is whatever states the engine keeps. It knows no model:
`predict` comes in.

Legend: F frames, C channels, H W latent size, S steps; alpha as in `models.schedule`. Inversion step i = 0 ..
S-1 goes from clean to noisy and undoes step S-1-i of the schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from models.sampling import Context, Exchange, Gathered, Predict, Publish, State, StepDone, Window
from models.schedule import PredictionType, Schedule
from models.solver import add_noise, to_x0_eps

Network = Callable[[Tensor, int], Tensor]
StepAsking = Generator[Tensor, Tensor, tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class InversionProgram:
    """Inversion of a shot as a `models.sampling.Program`.

    `predict` is that of a denoising loop over the same `schedule`: it is called with the step *of the
    schedule*, S-1-i. Invert at guidance scale 1 always: with guidance the fixed point does not converge.
    `fixed_point`: extra predictions per step; 0 is naive, 3 is enough at 50 steps. The state carries
    `extras["residual"]` float32 [F, S], the relative error left at each step (nan if unknown).
    """

    predict: Predict
    around: Exchange
    schedule: Schedule
    fixed_point: int = 0
    notes: tuple[str, ...] = ()

    @property
    def num_steps(self) -> int:
        """S."""
        return len(self.schedule)

    def phases(self, step: int) -> tuple[Exchange, ...]:
        """The latents around the window, once per prediction; nothing at `finish`."""
        return (self.around,) * (1 + self.fixed_point) if step < self.num_steps else ()

    def initial(self, window: Window, ctx: Context) -> State:
        """The source's latents, condition `latents`."""
        latents = ctx.condition("latents", window.frames)
        residual = torch.full((len(latents), self.num_steps), torch.nan)
        return State(latents, extras={"residual": residual})

    def steps(
        self, window: Window, state: State, start: int, ctx: Context
    ) -> Generator[Publish | StepDone, Gathered | None, None]:
        """Steps `start` .. S-1; every window publishes 1 + fixed_point times per step, whatever converges."""
        for i in range(start, self.num_steps):
            step = self.num_steps - 1 - i
            asking = invert_step(state.latents, self.schedule, step, self.fixed_point)
            wish = next(asking)
            while True:
                around = yield Publish(self.around, wish)
                assert around is not None
                try:
                    wish = asking.send(self.predict(around, step, window, ctx))
                except StopIteration as done:
                    latents, error = done.value
                    break
            residual = state.extras["residual"].clone()
            residual[:, i] = error.to(residual)
            state = replace(state, latents=latents, extras={**state.extras, "residual": residual})
            yield StepDone(i + 1, state)

    def finish(self, window: Window, state: State, ctx: Context) -> Generator[Publish, Gathered | None, dict[str, Any]]:
        """`{"residual": float32 [F, S]}`; the latents themselves are the state."""
        yield from ()
        return {"residual": state.extras["residual"]}


def invert_step(latents: Tensor, schedule: Schedule, step: int, fixed_point: int = 0) -> StepAsking:
    """Undo denoising step `step` of `latents` [F, ...]; yields what to predict on at that step's timestep.

    Returns (noisier latents, error [F]). The root sought is z = (z_prev - c eps(z)) / A, i.e. the z whose
    denoising step gives `latents`; the iterates are z <- right-hand side. The first prediction is on
    `latents` themselves (naive, arXiv 2105.05233 app. F), and there a v- or x0-prediction is read at the
    level of `latents`, as in diffusers' `DDIMInverseScheduler`. A later one is on an iterate, at the level it
    stands for.

    An iterate's error ||rhs(z) - z|| / ||latents|| is known only after the next prediction. So each frame
    keeps the checked iterate with the least error; if that is the last one checked, the iteration still
    contracts and its successor is kept. Coarse grids break the contraction: then an earlier one stays, at
    worst the naive one.
    """
    low, high = schedule.alpha_prev(step), schedule.alpha(step)
    kind, dtype = schedule.prediction_type, latents.dtype
    clean = latents.to(torch.promote_types(dtype, torch.float32))

    def from_eps(eps: Tensor) -> Tensor:
        x0, _ = to_x0_eps(eps, clean, low, "epsilon")
        return add_noise(x0, eps, high)

    prediction = yield latents
    z = best = from_eps(_eps(prediction, clean, low, kind))
    per_frame = (-1, *(1,) * (clean.ndim - 1))
    least = torch.full((len(clean),), torch.inf, dtype=clean.dtype, device=clean.device)
    newest_is_best = torch.zeros_like(least, dtype=torch.bool)
    # Relative to what is fixed: against the iterate itself, one that runs away geometrically looks steady.
    size = _norm(clean).clamp_min(1e-12)
    for _ in range(fixed_point):
        prediction = yield z.to(dtype)
        following = from_eps(_eps(prediction, z, high, kind))
        error = _norm(following - z) / size
        newest_is_best = error < least
        best = torch.where(newest_is_best.view(per_frame), z, best)
        least = torch.where(newest_is_best, error, least)
        z = following
    best = torch.where(newest_is_best.view(per_frame), z, best)
    return best.to(dtype), torch.where(least.isinf(), torch.nan, least).float()


def invert(
    latents: Tensor, network: Network, schedule: Schedule, fixed_point: int = 0
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Invert one tensor [F, ...] with `network(latents, timestep)`.

    Returns (trajectory of S+1 latents, clean first; error [F, S]).
    """
    trajectory, errors = [latents], []
    for step in reversed(range(len(schedule))):
        asking = invert_step(trajectory[-1], schedule, step, fixed_point)
        wish = next(asking)
        while True:
            try:
                wish = asking.send(network(wish, schedule.timesteps[step]))
            except StopIteration as done:
                result, error = done.value
                break
        trajectory.append(result)
        errors.append(error)
    return tuple(trajectory), torch.stack(errors, dim=1)


def _eps(prediction: Tensor, latents: Tensor, alpha: float, kind: PredictionType) -> Tensor:
    if kind == "sample" and alpha == 1.0:
        # (x - x0) / 0: clean latents hold no noise that a prediction of x0 could point out.
        return torch.zeros_like(latents)
    return to_x0_eps(prediction, latents, alpha, kind)[1]


def _norm(x: Tensor) -> Tensor:
    return x.flatten(1).norm(dim=1)
