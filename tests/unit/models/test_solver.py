"""The solver's conversions are mutual inverses, and its rounding is where we say."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from models.sampling import State
from models.schedule import PredictionType, from_config
from models.solver import DDIMSolver, add_noise, eps_from_x0, to_x0_eps

CLEAN = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "timestep_spacing": "trailing"}


def randn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", get_args(PredictionType))
@pytest.mark.parametrize("alpha", [0.0058, 0.3, 0.99])
def test_conversions_are_mutual_inverses(kind: PredictionType, alpha: float) -> None:
    """Oracle 5 of edit.md: eps, v and x0 say the same thing."""
    x0, eps = randn(2, 4, 8, 8).double(), randn(2, 4, 8, 8, seed=1).double()
    x_t = add_noise(x0, eps, alpha)
    prediction = {
        "epsilon": eps,
        "v_prediction": alpha**0.5 * eps - (1 - alpha) ** 0.5 * x0,
        "sample": x0,
    }[kind]
    got_x0, got_eps = to_x0_eps(prediction, x_t, alpha, kind)
    torch.testing.assert_close(got_x0, x0, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(got_eps, eps, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(eps_from_x0(x0, x_t, alpha), eps, rtol=1e-6, atol=1e-6)


def test_last_step_is_exactly_x0() -> None:
    schedule = from_config(CLEAN, 10)
    solver = DDIMSolver(schedule)
    state = solver.clean(State(randn(2, 4, 8, 8)), randn(2, 4, 8, 8, seed=1), 9)
    assert state.x0 is not None
    assert torch.equal(solver.step(state, 9).latents, state.x0)
    assert not torch.equal(solver.step(state, 8).latents, state.x0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_latents_are_computed_in_single_and_rounded_once(dtype: torch.dtype) -> None:
    solver = DDIMSolver(from_config(CLEAN, 10))
    latents, prediction = randn(2, 4, 8, 8).to(dtype), randn(2, 4, 8, 8, seed=1).to(dtype)
    half = solver.step(solver.clean(State(latents), prediction, 0), 0)
    single = solver.step(solver.clean(State(latents.float()), prediction.float(), 0), 0)
    assert half.latents.dtype == dtype
    assert torch.equal(half.latents, single.latents.to(dtype))


def test_a_step_without_x0_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="x0 and eps"):
        DDIMSolver(from_config(CLEAN, 10)).step(State(randn(1, 4, 2, 2)), 0)


def test_extras_travel_along() -> None:
    solver = DDIMSolver(from_config(CLEAN, 10))
    extras = {"memory": randn(1)}
    state = solver.step(solver.clean(State(randn(1, 4, 2, 2), extras=extras), randn(1, 4, 2, 2), 0), 0)
    assert state.extras is extras
