"""A plain DDIM loop with the product's own solver: what tests and benchmarks hold the windowed loop against."""

from __future__ import annotations

from torch import Tensor

from models.inversion import Network
from models.sampling import State
from models.schedule import Schedule
from models.solver import DDIMSolver


def denoise(latents: Tensor, predict: Network, schedule: Schedule) -> Tensor:
    """All steps of the schedule, without noise added."""
    solver, state = DDIMSolver(schedule), State(latents)
    for i, timestep in enumerate(schedule.timesteps):
        state = solver.step(solver.clean(state, predict(state.latents, timestep), i), i)
    return state.latents
