"""DDIM without added noise: from a prediction to (x0, eps), and from (x0, eps) to the next noise level.

Pure maths on tensors of any shape, in float32 whatever the latents' dtype. It knows no network and no
correction: a correction changes x0 between `clean` and `step`, and calls `eps_from_x0` so that x_t stays
where it is.

Legend: F frames, C channels, H W latent size; alpha is the cumulative product of `models.schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from models.sampling import State
from models.schedule import PredictionType, Schedule


def to_x0_eps(prediction: Tensor, latents: Tensor, alpha: float, kind: PredictionType) -> tuple[Tensor, Tensor]:
    """What the network says the clean latents and the noise are, at level `alpha` of `latents`.

    Shapes: all alike, returned in float32 (float64 stays). eps: arXiv 2010.02502 eq. 9; v: arXiv 2202.00512
    app. D.
    """
    x_t, out = _wide(latents), _wide(prediction)
    signal, noise = alpha**0.5, (1.0 - alpha) ** 0.5
    if kind == "epsilon":
        return (x_t - noise * out) / signal, out
    if kind == "v_prediction":
        return signal * x_t - noise * out, signal * out + noise * x_t
    return out, (x_t - signal * out) / noise


def eps_from_x0(x0: Tensor, latents: Tensor, alpha: float) -> Tensor:
    """The noise that, with a (corrected) `x0`, gives back the same `latents` at level `alpha` < 1.

    DiffSynth, arXiv 2308.03463, section 3: x_t is never changed, only its split into x0 and eps.
    """
    return (_wide(latents) - alpha**0.5 * _wide(x0)) / (1.0 - alpha) ** 0.5


def add_noise(x0: Tensor, noise: Tensor, alpha: float) -> Tensor:
    """Latents at level `alpha` made of `x0` and `noise`, in x0's dtype (arXiv 2006.11239 eq. 4)."""
    return (alpha**0.5 * _wide(x0) + (1.0 - alpha) ** 0.5 * _wide(noise)).to(x0.dtype)


@dataclass(frozen=True, eq=False)
class DDIMSolver:
    """`models.sampling.Solver` over a schedule, eta = 0 (arXiv 2010.02502 eq. 12).

    x0 and eps of a step are float32; latents come back in the dtype they had, which is the compute dtype.
    """

    schedule: Schedule

    def clean(self, state: State, prediction: Tensor, step: int) -> State:
        """Fill `x0` and `eps` from the network's output at `step`."""
        x0, eps = to_x0_eps(prediction, state.latents, self.schedule.alpha(step), self.schedule.prediction_type)
        return replace(state, x0=x0, eps=eps)

    def step(self, state: State, step: int) -> State:
        """Latents at the next level; behind a last step with final alpha 1 they are exactly x0."""
        if state.x0 is None or state.eps is None:
            raise ValueError("DDIMSolver.step needs the x0 and eps that clean fills in")
        alpha = self.schedule.alpha_prev(step)
        if alpha == 1.0:
            return replace(state, latents=state.x0.to(state.latents.dtype))
        return replace(state, latents=add_noise(state.x0, state.eps, alpha).to(state.latents.dtype))


def _wide(tensor: Tensor) -> Tensor:
    """At least float32: at the noisy end x0 is 15 times the difference of two near-equal numbers."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
