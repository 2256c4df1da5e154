"""DDIM oracles: diffusers' schedulers step for step, and deflicker.md section 5, oracle 13."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from models.inversion import invert_step
from models.sampling import State
from models.schedule import from_config
from models.solver import DDIMSolver, eps_from_x0

SCALED = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
GRIDS = [("leading", 1), ("leading", 0), ("trailing", 0), ("linspace", 0)]


def randn(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def config(spacing: str, offset: int, kind: str, one: bool) -> dict[str, Any]:
    grid = {"timestep_spacing": spacing, "steps_offset": offset}
    return {**SCALED, **grid, "prediction_type": kind, "set_alpha_to_one": one}


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(("spacing", "offset"), GRIDS)
@pytest.mark.parametrize("steps", [7, 20])
def test_ddim_step_is_that_of_diffusers(spacing: str, offset: int, kind: str, one: bool, steps: int) -> None:
    from diffusers import DDIMScheduler

    settings = config(spacing, offset, kind, one)
    theirs = DDIMScheduler.from_config(settings)
    theirs.set_timesteps(steps)
    solver = DDIMSolver(from_config(settings, steps))
    for i, t in enumerate(theirs.timesteps):
        latents, prediction = randn(i), randn(100 + i)
        expected = theirs.step(prediction, t, latents)
        state = solver.clean(State(latents), prediction, i)
        assert state.x0 is not None
        torch.testing.assert_close(state.x0, expected.pred_original_sample, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(solver.step(state, i).latents, expected.prev_sample, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("one", [True, False])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize(("spacing", "offset"), GRIDS[:3])
@pytest.mark.parametrize("steps", [7, 20])
def test_naive_inversion_step_is_that_of_diffusers(spacing: str, offset: int, kind: str, one: bool, steps: int) -> None:
    from diffusers import DDIMInverseScheduler

    settings = config(spacing, offset, kind, one)
    theirs = DDIMInverseScheduler.from_config(settings)
    theirs.set_timesteps(steps)
    schedule = from_config(settings, steps)
    for i, t in enumerate(theirs.timesteps):
        step = steps - 1 - i
        assert schedule.timesteps[step] == int(t)
        latents, prediction = randn(i), randn(100 + i)
        asking = invert_step(latents, schedule, step)
        assert next(asking) is latents
        with pytest.raises(StopIteration) as done:
            asking.send(prediction)
        expected = theirs.step(prediction, t, latents).prev_sample
        torch.testing.assert_close(done.value.value[0], expected, rtol=1e-6, atol=1e-6)


def test_oracle_13_identity_correction_changes_nothing() -> None:
    """F = id, VAE = id: the recomputed eps is eps (1e-4 where 1/sqrt(alpha) is 14.6, 1e-5 later)."""
    schedule = from_config({**config("linspace", 0, "epsilon", True)}, 20)
    solver = DDIMSolver(schedule)
    for i in range(20):
        state = solver.clean(State(randn()), randn(1), i)
        assert state.x0 is not None
        assert state.eps is not None
        eps = eps_from_x0(state.x0, state.latents, schedule.alpha(i))
        tolerance = 1e-4 if i == 0 else 1e-5
        # the last step's level is nearly clean: 1/sqrt(1 - alpha) = 34 amplifies rounding the same way
        torch.testing.assert_close(eps, state.eps, rtol=tolerance, atol=1e-4 if i in (0, 19) else 1e-5)


def test_oracle_13_a_correction_moves_the_next_latent_by_g() -> None:
    """x' - x = g delta, g from the table of deflicker.md 1.1 for timesteps 999, 949, ..., 49; the last is 1."""
    table = [0.023, 0.029, 0.034, 0.041, 0.047, 0.054, 0.061, 0.068, 0.075, 0.082]
    table += [0.090, 0.099, 0.109, 0.120, 0.135, 0.155, 0.185, 0.234, 0.339, 1.000]
    schedule = from_config(config("trailing", 0, "epsilon", True), 20)
    assert schedule.timesteps == tuple(range(999, 0, -50))
    solver, delta = DDIMSolver(schedule), randn(2).double()
    for i, listed in enumerate(table):
        state = solver.clean(State(randn().double()), randn(1).double(), i)
        assert state.x0 is not None
        x0 = state.x0 + delta
        moved = replace(state, x0=x0, eps=eps_from_x0(x0, state.latents, schedule.alpha(i)))
        change = solver.step(moved, i).latents - solver.step(state, i).latents
        a, p = schedule.alpha(i), schedule.alpha_prev(i)
        g = p**0.5 - (a * (1 - p) / (1 - a)) ** 0.5
        torch.testing.assert_close(change, g * delta, rtol=1e-5, atol=1e-9)
        assert g == pytest.approx(listed, abs=6e-4)
    assert torch.equal(solver.step(moved, 19).latents, x0)
