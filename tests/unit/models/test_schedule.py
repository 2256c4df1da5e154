"""The schedule is diffusers' own, number for number, and truncates and divides by rounding."""

from __future__ import annotations

import pytest
import torch

from configs.errors import ConfigError, WeightsError
from models.schedule import fractions_to_steps, from_config

SD15 = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "skip_prk_steps": True,
}


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 30, 50, 999])
@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize(
    "extra",
    [{}, {"set_alpha_to_one": False}, {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, SD15],
)
def test_levels_are_those_of_diffusers(steps: int, spacing: str, extra: dict[str, object]) -> None:
    from diffusers import DDIMScheduler

    config = {**extra, "timestep_spacing": spacing}
    theirs = DDIMScheduler.from_config(config)
    theirs.set_timesteps(steps)
    ours = from_config(config, steps)
    assert list(ours.timesteps) == theirs.timesteps.tolist()
    assert torch.equal(ours.alphas_cumprod, theirs.alphas_cumprod)
    for i, t in enumerate(ours.timesteps):
        assert ours.alpha(i) == float(theirs.alphas_cumprod[t])
        previous = t - 1000 // steps
        expected = theirs.alphas_cumprod[previous] if previous >= 0 else theirs.final_alpha_cumprod
        assert ours.alpha_prev(i) == float(expected)


@pytest.mark.parametrize(
    ("steps", "strength", "kept"), [(10, 0.3, 3), (100, 0.29, 29), (10, 0.25, 3), (20, 1.0, 20), (5, 0.01, 1)]
)
def test_strength_keeps_the_last_steps_rounded(steps: int, strength: float, kept: int) -> None:
    """Oracle 14 of deflicker.md: int(100 * .29) is 28."""
    whole = from_config(SD15, steps)
    part = whole.truncate(strength)
    assert part.timesteps == whole.timesteps[-kept:]
    assert [part.alpha_prev(i) for i in range(kept)] == [whole.alpha_prev(steps - kept + i) for i in range(kept)]


def test_fractions_name_steps() -> None:
    assert fractions_to_steps((0.25, 0.5, 0.75, 1.0), 20) == (4, 9, 14, 19)
    assert fractions_to_steps((1.0, 0.5, 0.75), 10) == (4, 7, 9)
    assert fractions_to_steps((0.01, 0.02, 1.0), 3) == (0, 2)
    assert fractions_to_steps((), 3) == ()
    assert fractions_to_steps((0.5, 1.0), 1) == (0,)


@pytest.mark.parametrize("fraction", [0.0, -0.5, 1.1])
def test_fractions_and_strengths_outside_the_run_are_refused(fraction: float) -> None:
    with pytest.raises(ConfigError, match=f"{fraction}"):
        fractions_to_steps((fraction,), 10)
    with pytest.raises(ConfigError, match=f"{fraction}"):
        from_config({}, 10).truncate(fraction)


@pytest.mark.parametrize(
    ("config", "word"),
    [
        ({"beta_schedule": "sigmoid"}, "sigmoid"),
        ({"timestep_spacing": "random"}, "random"),
        ({"prediction_type": "flow"}, "flow"),
        ({"rescale_betas_zero_snr": True}, "epsilon"),
        ({"steps_offset": 1}, "steps_offset"),
    ],
)
def test_configs_we_cannot_do_are_named(config: dict[str, object], word: str) -> None:
    with pytest.raises(WeightsError, match=word):
        from_config(config, 1000)


@pytest.mark.parametrize("steps", [0, 1001])
def test_a_bad_number_of_steps_is_refused(steps: int) -> None:
    with pytest.raises(ConfigError, match=f"num_inference_steps .* got {steps}"):
        from_config({}, steps)
