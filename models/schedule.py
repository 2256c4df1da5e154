"""The noise schedule of DDIM: which timesteps are visited, and how much signal is left at each.

Reproduces diffusers' `DDIMScheduler` from the `scheduler_config.json` of a model folder. It knows numbers
only: no tensor of a picture, no network, no step rule (that is `models.solver`).

Legend: alpha is the cumulative product (alpha-bar of the papers, `alphas_cumprod`): x_t = sqrt(alpha) x0 +
sqrt(1-alpha) eps.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from configs.errors import ConfigError, WeightsError

PredictionType = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """Noise levels of a run, step 0 the noisiest.

    `timesteps`: what the network is told at each step. `alphas_cumprod`: float32 [num_train_timesteps].
    `stride`: distance to the level a step ends on, in training timesteps; diffusers takes `1000 // steps`
    whatever the grid, so with linspace (and trailing, if steps do not divide 1000) a step ends a little off
    the next timestep. We keep that, because a model's published results were made with it. `final_alpha`:
    level behind the last step, 1.0 (clean) or alphas_cumprod[0].
    """

    timesteps: tuple[int, ...]
    alphas_cumprod: Tensor
    stride: int
    final_alpha: float
    prediction_type: PredictionType

    def __len__(self) -> int:
        return len(self.timesteps)

    def alpha(self, step: int) -> float:
        """Share of signal (power) in the latents that step `step` reads, in [0, 1)."""
        return float(self.alphas_cumprod[self.timesteps[step]])

    def alpha_prev(self, step: int) -> float:
        """Share of signal in the latents that step `step` makes, in (0, 1]."""
        previous = self.timesteps[step] - self.stride
        return float(self.alphas_cumprod[previous]) if previous >= 0 else self.final_alpha

    def truncate(self, strength: float) -> Schedule:
        """Keep the last round(steps * strength) steps, at least one: image-to-image of a given strength.

        Errors: ConfigError outside (0, 1].
        """
        return replace(self, timesteps=self.timesteps[len(self) - kept_steps(len(self), strength) :])

    def invertible(self) -> Schedule:
        """The same, such that DDIM inversion can be walked back: for the inversion and what starts from its end.

        To a network that predicts x0, latents without any noise say nothing of eps, (x - x0) / 0. Its last step
        gives x0 whatever the latents were, so what it cannot draw would be lost at the first step of the
        inversion. Clean latents then stand for the least noisy level it knows, alphas_cumprod[0], as Stable
        Diffusion's `set_alpha_to_one: false` has it for all runs; eps carries the rest.
        """
        if self.prediction_type != "sample":
            return self
        return replace(self, final_alpha=min(self.final_alpha, float(self.alphas_cumprod[0])))


def kept_steps(num_steps: int, strength: float) -> int:
    """How many steps `Schedule.truncate` keeps, without a schedule; for plans.

    Rounded half up, not cut off: int(100 * 0.29) is 28. Errors: ConfigError outside (0, 1].
    """
    if not 0.0 < strength <= 1.0:
        raise ConfigError(f"strength must be in (0, 1], got {strength}")
    return min(num_steps, max(1, _round(num_steps * strength)))


def from_config(scheduler_config: Mapping[str, Any], num_inference_steps: int) -> Schedule:
    """The schedule a diffusers scheduler config describes, at `num_inference_steps` steps.

    Read like `DDIMScheduler.from_config` does: a key that is missing has that class's default, so the config
    of another scheduler class (PNDM of Stable Diffusion 1.5) works. Spacing: arXiv 2305.08891, table 2; zero
    terminal SNR: the same, algorithm 1. Errors: ConfigError for a bad number of steps, WeightsError for a
    config we cannot do.
    """
    train = int(scheduler_config.get("num_train_timesteps", 1000))
    if not 1 <= num_inference_steps <= train:
        raise ConfigError(f"num_inference_steps must be between 1 and {train}, got {num_inference_steps}")
    kind = scheduler_config.get("prediction_type", "epsilon")
    if kind not in ("epsilon", "v_prediction", "sample"):
        raise WeightsError(f"scheduler prediction_type {kind!r} is not epsilon, v_prediction or sample")
    if scheduler_config.get("thresholding", False):
        raise WeightsError("scheduler thresholding is for pixel models, not for latents: set it to false")
    alphas_cumprod = torch.cumprod(1.0 - _betas(scheduler_config, train), dim=0)
    if kind == "epsilon" and float(alphas_cumprod[-1]) == 0.0:
        # x0 = (x - eps) / 0: such a model must predict v or x0.
        raise WeightsError("rescale_betas_zero_snr needs prediction_type v_prediction or sample, not epsilon")
    clean = bool(scheduler_config.get("set_alpha_to_one", True))
    return Schedule(
        timesteps=_timesteps(scheduler_config, train, num_inference_steps),
        alphas_cumprod=alphas_cumprod,
        stride=train // num_inference_steps,
        final_alpha=1.0 if clean else float(alphas_cumprod[0]),
        prediction_type=cast(PredictionType, kind),
    )


def fractions_to_steps(fractions: Iterable[float], num_steps: int) -> tuple[int, ...]:
    """Step indices at the given fractions of a run: f is the round(f * n)-th step, so 1.0 is the last, n - 1.

    Sorted and unique. (0.25, 0.5, 0.75, 1.0) of 20 gives 4, 9, 14, 19, the list DiffSynth-Studio ships.
    Errors: ConfigError outside (0, 1].
    """
    steps = set()
    for fraction in fractions:
        if not 0.0 < fraction <= 1.0:
            raise ConfigError(f"a fraction of the schedule must be in (0, 1], got {fraction}")
        steps.add(min(num_steps, max(1, _round(fraction * num_steps))) - 1)
    return tuple(sorted(steps))


def _round(value: float) -> int:
    """Half up (Python's own rounds 2.5 to 2), deaf to the last bits of a float product."""
    return math.floor(value + 0.5 + 1e-9)


def _betas(config: Mapping[str, Any], train: int) -> Tensor:
    start, end = float(config.get("beta_start", 0.0001)), float(config.get("beta_end", 0.02))
    shape = config.get("beta_schedule", "linear")
    trained = config.get("trained_betas")
    if trained is not None:
        betas = torch.tensor(trained, dtype=torch.float32)
    elif shape == "linear":
        betas = torch.linspace(start, end, train, dtype=torch.float32)
    elif shape == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, train, dtype=torch.float32) ** 2
    else:
        raise WeightsError(f"scheduler beta_schedule {shape!r} is not supported; use linear or scaled_linear")
    return _zero_terminal_snr(betas) if config.get("rescale_betas_zero_snr", False) else betas


def _zero_terminal_snr(betas: Tensor) -> Tensor:
    """Shift and stretch sqrt(alpha): the first stays, the last becomes 0 (arXiv 2305.08891, algorithm 1)."""
    root = torch.cumprod(1.0 - betas, dim=0).sqrt()
    first, last = root[0].clone(), root[-1].clone()
    cumulative = ((root - last) * (first / (first - last))) ** 2
    return 1.0 - torch.cat([cumulative[:1], cumulative[1:] / cumulative[:-1]])


def _timesteps(config: Mapping[str, Any], train: int, steps: int) -> tuple[int, ...]:
    spacing = config.get("timestep_spacing", "leading")
    grid: NDArray[Any]
    if spacing == "leading":
        grid = np.arange(steps)[::-1] * (train // steps) + int(config.get("steps_offset", 0))
    elif spacing == "trailing":
        grid = np.round(np.arange(train, 0, -train / steps)) - 1
    elif spacing == "linspace":
        grid = np.linspace(0, train - 1, steps).round()[::-1]
    else:
        raise WeightsError(f"scheduler timestep_spacing {spacing!r} is not leading, trailing or linspace")
    timesteps = tuple(int(t) for t in grid)
    if timesteps[0] >= train:
        raise WeightsError(
            f"steps_offset {config.get('steps_offset')} with {steps} steps runs past timestep {train - 1}"
        )
    return timesteps
