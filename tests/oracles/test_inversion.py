"""Inversion oracles of edit.md section 3: round trips with constant noise and with an analytic score.

The data is a mixture of Gaussians in two dimensions, whose noise prediction is known exactly at every level.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.inversion import invert, invert_step
from models.sampling import State
from models.schedule import Schedule, from_config
from models.solver import DDIMSolver
from tests.plain_ddim import denoise

SD = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "set_alpha_to_one": False}
LEADING = {**SD, "timestep_spacing": "leading", "steps_offset": 1}
MEANS = torch.tensor([[1.5, 0.0], [-1.0, 1.2], [0.0, -1.6]], dtype=torch.float64)
SPREAD = 0.5
Network = Callable[[Tensor, int], Tensor]


def mixture(schedule: Schedule, kind: str = "epsilon") -> Network:
    """E[eps | x_t] for the mixture (or the v that says the same)."""

    def network(x: Tensor, timestep: int) -> Tensor:
        alpha = float(schedule.alphas_cumprod[timestep])
        variance = alpha * SPREAD**2 + 1 - alpha
        away = x[:, None] - alpha**0.5 * MEANS.to(x)
        weight = torch.softmax(-(away**2).sum(-1) / (2 * variance), dim=1)
        eps = (1 - alpha) ** 0.5 / variance * (weight[..., None] * away).sum(1)
        if kind == "epsilon":
            return eps
        x0 = (x - (1 - alpha) ** 0.5 * eps) / alpha**0.5
        return alpha**0.5 * eps - (1 - alpha) ** 0.5 * x0

    return network


def samples(number: int = 256) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    which = torch.randint(3, (number,), generator=generator)
    return MEANS[which] + SPREAD * torch.randn(number, 2, generator=generator, dtype=torch.float64)


def round_trip(steps: int, fixed_point: int = 0, kind: str = "epsilon") -> float:
    """Relative L2 error of invert, then denoise."""
    schedule = from_config({**LEADING, "prediction_type": kind}, steps)
    x0, network = samples(), mixture(schedule, kind)
    trajectory, _ = invert(x0, network, schedule, fixed_point)
    return float((denoise(trajectory[-1], network, schedule) - x0).norm() / x0.norm())


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("extra", [LEADING, {**SD, "timestep_spacing": "trailing", "set_alpha_to_one": True}])
@pytest.mark.parametrize("steps", [7, 50])
def test_a_constant_noise_round_trip_is_exact(steps: int, extra: dict[str, object], kind: str) -> None:
    """Row (a): 5e-5 in float32."""
    schedule = from_config({**extra, "prediction_type": kind}, steps)
    solver = DDIMSolver(schedule)
    x0, eps = (torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(s)) for s in (0, 1))
    level: dict[str, float] = {}

    def network(x: Tensor, timestep: int) -> Tensor:
        """Constant eps; as v at the level the latents are at."""
        if kind == "epsilon":
            return eps
        a = level["alpha"]
        return (eps - (1 - a) ** 0.5 * x) / a**0.5

    z = x0
    for step in reversed(range(steps)):
        level["alpha"] = schedule.alpha_prev(step)
        asking = invert_step(z, schedule, step)
        with pytest.raises(StopIteration) as done:
            asking.send(network(next(asking), schedule.timesteps[step]))
        z = done.value.value[0]
    state = State(z)
    for step in range(steps):
        level["alpha"] = schedule.alpha(step)
        state = solver.step(solver.clean(state, network(state.latents, 0), step), step)
    assert (state.latents - x0).abs().max() <= 5e-5


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_naive_error_falls_as_one_over_steps(kind: str) -> None:
    """Row (b): slope of log error over log steps -1 +- .2."""
    grid = [20, 50, 100, 250]
    x = [math.log(s) for s in grid]
    y = [math.log(round_trip(s, kind=kind)) for s in grid]
    mean_x, mean_y = sum(x) / 4, sum(y) / 4
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / sum((a - mean_x) ** 2 for a in x)
    assert -1.2 <= slope <= -0.8


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_ten_extra_passes_are_exact_at_fifty_steps(kind: str) -> None:
    """Row (c)."""
    assert round_trip(50, 10, kind) <= 1e-4
    assert round_trip(50, 3, kind) < 0.1 * round_trip(50, 0, kind)


def test_every_extra_pass_helps_at_fifty_steps() -> None:
    errors = [round_trip(50, k) for k in (0, 1, 2, 3, 5)]
    assert errors == sorted(errors, reverse=True)


def test_coarse_grids_never_do_worse_than_naive() -> None:
    """At 10 steps the contraction breaks; keeping the checked best iterate does not blow up."""
    naive = round_trip(10)
    for passes in (2, 3, 5, 10, 20):
        assert round_trip(10, passes) <= 1.2 * naive


def test_where_the_iteration_diverges_the_best_checked_iterate_stays() -> None:
    """A network too steep for its step, beside a tame one: per frame, the first falls back, the second converges."""
    schedule, step = from_config(LEADING, 10), 5
    clean = torch.ones(2, 3, dtype=torch.float64)
    a, p = schedule.alpha(step), schedule.alpha_prev(step)
    ratio, lean = (p / a) ** 0.5, (1 - p) ** 0.5 - (p * (1 - a) / a) ** 0.5
    contraction = torch.tensor([[2.0], [0.05]], dtype=torch.float64)
    slope = contraction * abs(ratio / lean)

    asking = invert_step(clean, schedule, step, 8)
    asked = [next(asking)]
    asked.extend(asking.send(slope * asked[-1]) for _ in range(8))
    with pytest.raises(StopIteration) as done:
        asking.send(slope * asked[-1])
    kept, error = done.value.value
    naive, root = asked[1], clean / (ratio + lean * slope)
    torch.testing.assert_close(kept[0], naive[0], rtol=0, atol=0)
    torch.testing.assert_close(kept[1], root[1], rtol=1e-9, atol=0)
    assert error[0] > 0.1
    assert error[1] < 1e-6


def test_the_noise_found_has_unit_spread() -> None:
    """Row (e): std of z_T within [.8, 1.2]."""
    schedule = from_config(LEADING, 50)
    trajectory, errors = invert(samples(), mixture(schedule), schedule, 3)
    assert 0.8 <= float(trajectory[-1].std()) <= 1.2
    assert len(trajectory) == 51
    assert errors.shape == (256, 50)


def test_what_an_x0_network_cannot_draw_survives_an_invertible_schedule() -> None:
    """A network that answers with half of the picture, whatever it is shown: without the least noisy level at the
    clean end the other half is lost at the first step.
    """
    config = {**SD, "timestep_spacing": "trailing", "set_alpha_to_one": True, "prediction_type": "sample"}
    plain = from_config(config, 50)
    x0 = samples()

    def error(schedule: Schedule) -> float:
        trajectory, _ = invert(x0, lambda x, t: 0.5 * x0, schedule, 1)
        return float((denoise(trajectory[-1], lambda x, t: 0.5 * x0, schedule) - x0).norm() / x0.norm())

    assert error(plain.invertible()) <= 1e-4
    assert error(plain) > 0.4
    assert plain.invertible().alpha_prev(49) == pytest.approx(float(plain.alphas_cumprod[0]))


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_other_predictions_need_no_other_schedule_to_be_inverted(kind: str) -> None:
    schedule = from_config({**SD, "set_alpha_to_one": True, "prediction_type": kind}, 20)
    assert schedule.invertible() is schedule
