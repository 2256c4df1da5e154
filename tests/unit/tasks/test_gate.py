"""The quality gate: what is over a limit is said with figure, value and limit; what was not measured is not."""

from __future__ import annotations

import math
from typing import Any

import pytest

from configs.errors import ConfigError
from configs.gate import GateConfig, sides
from configs.overrides import build_job
from tasks.figures import FIGURES, figures_of
from tasks.gate import checks, reasons

NONE = {f"{side}_{figure}": None for side, figure in sides()}


def asking(**limits: Any) -> GateConfig:
    """A gate that asks this and nothing else."""
    return GateConfig.model_validate({**NONE, **limits})


def measured(**changes: Any) -> dict[str, Any]:
    """Figures of a good result with a control and a known filter."""
    arms = {
        "source": {"pixel_mse": 10.0, "seam_ratio": 1.2},
        "filter": {"pixel_mse": 12.0, "seam_ratio": 1.1},
        "control": {"pixel_mse": 30.0, "fidelity_psnr": 25.0},
    }
    good = {
        "pixel_mse": 9.0,
        "excess_flicker": -0.05,
        "excess_over_style": -0.17,
        "seam_ratio": 1.3,
        "sharpness_ratio": 0.95,
        "sharpness_to_source": 0.2,
        "sharpness_pulsing": 0.02,
        "fidelity_psnr": 24.8,
        "style_accuracy": 1.0,
        "structure_ratio": 0.98,
        "colour_error": 4.0,
        "arms": arms,
    }
    return {**good, **changes}


def test_a_good_result_passes_the_defaults_with_every_figure_asked() -> None:
    assert reasons(measured(), GateConfig()) == ()
    assert all(check.value is not None for check in checks(measured(), GateConfig()))


BAD = {
    "max_flicker_over_source": {"pixel_mse": 90.0},
    "max_flicker_over_steady": {"pixel_mse": 16.0},
    "max_excess_flicker": {"excess_flicker": 0.8},
    "max_excess_over_style": {"excess_over_style": 0.6},
    "max_seam_over_steady": {"seam_ratio": 1.9},
    "min_sharpness_ratio": {"sharpness_ratio": 0.5},
    "min_sharpness_to_source": {"sharpness_to_source": 0.0001},
    "max_sharpness_pulsing": {"sharpness_pulsing": 0.4},
    "min_fidelity_psnr": {"fidelity_psnr": 12.0},
    "max_fidelity_loss": {"fidelity_psnr": 22.0},
    "min_style_accuracy": {"style_accuracy": 0.25},
    "min_structure_ratio": {"structure_ratio": 0.2},
    "max_colour_error": {"colour_error": 20.0},
}


@pytest.mark.parametrize("key", BAD)
def test_each_default_flags_what_is_beyond_it(key: str) -> None:
    said = [reason for reason in reasons(measured(**BAD[key]), GateConfig()) if f"(gate.{key})" in reason]
    assert len(said) == 1
    assert f"{getattr(GateConfig(), key):g}" in said[0]
    off = GateConfig().model_copy(update={key: None})
    assert not any(f"(gate.{key})" in reason for reason in reasons(measured(**BAD[key]), off))


def test_every_limit_that_is_on_by_default_has_a_bad_example_here() -> None:
    assert {f"{side}_{figure}" for side, figure in GateConfig().limits()} == set(BAD)
    assert {figure for _, figure in sides()} <= set(FIGURES)


def test_a_reason_is_a_sentence_with_figure_value_limit_and_key() -> None:
    assert reasons(measured(seam_ratio=1.456), asking(max_seam_ratio=1.4)) == (
        "Seam ratio 1.456 is above 1.4 (gate.max_seam_ratio)",
    )
    assert reasons(measured(fidelity_psnr=15.5), asking(min_fidelity_psnr=17)) == (
        "Fidelity 15.50 dB is below 17 (gate.min_fidelity_psnr)",
    )


def test_the_limit_itself_passes_and_a_hair_beyond_it_is_not_shown_as_equal() -> None:
    gate = asking(max_flicker_over_source=1.25)
    assert reasons(measured(pixel_mse=12.5), gate) == ()
    assert "1.25001 is above 1.25" in reasons(measured(pixel_mse=12.5001), gate)[0]


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, "missing", True])
def test_what_was_not_measured_is_no_reason_unless_required(nothing: Any) -> None:
    metrics = measured(excess_flicker=nothing)
    if nothing == "missing":
        del metrics["excess_flicker"]
    assert reasons(metrics, asking(max_excess_flicker=0.5)) == ()
    (said,) = reasons(metrics, asking(max_excess_flicker=0.5, require=("excess_flicker",)))
    assert said == "Excess flicker (excess_flicker) was not measured (gate.require)"
    assert reasons({}, GateConfig()) == ()


def test_flicker_is_held_against_the_larger_of_source_and_steady_style() -> None:
    found = figures_of(measured(pixel_mse=15.0))
    assert found["flicker_over_source"] == 1.5
    assert found["flicker_over_steady"] == 1.25
    without = measured(pixel_mse=15.0, arms={"source": {"pixel_mse": 10.0}})
    assert "flicker_over_steady" not in figures_of(without), "no known filter: contrast may well have risen"


def test_seams_the_source_has_itself_are_not_the_windows() -> None:
    own = measured(seam_ratio=1.68, arms={"source": {"seam_ratio": 1.46}, "filter": {"seam_ratio": 1.77}})
    assert reasons(own, GateConfig()) == (), "bottle_vfr of docs/benchmarks.md"
    still = measured(seam_ratio=1.68, arms={"source": {"seam_ratio": 0.6}})
    assert figures_of(still)["seam_over_steady"] == 1.68


def test_a_gate_that_is_off_says_nothing() -> None:
    gate = GateConfig(enabled=False, require=("excess_flicker",))
    assert reasons(measured(pixel_mse=999.0, excess_flicker=None), gate) == ()
    assert list(checks(measured(), gate)) == []


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("gate.max_seam_ratio=-1", "gate.max_seam_ratio must be > 0, got -1"),
        ("gate.min_style_accuracy=1.5", "gate.min_style_accuracy must be <= 1, got 1.5"),
        ("gate.require=flicker", "knows no figure 'flicker'; known: pixel_mse"),
        ("gate.max_seams=1", "gate.max_seams"),
    ],
)
def test_a_bad_limit_is_one_sentence_that_names_it(setting: str, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        build_job("pocket", None, [setting], {"style": "oil"})
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_limits_come_from_settings_and_null_takes_one_back() -> None:
    job = build_job("pocket", None, ["gate.max_seam_ratio=1.4", "gate.max_colour_error=null"], {"style": "oil"})
    assert (job.gate.max_seam_ratio, job.gate.max_colour_error) == (1.4, None)
    assert ("max", "colour_error") not in job.gate.limits()


def test_stable_diffusion_is_not_held_against_our_own_filters() -> None:
    """Its watercolour is its own: only what needs no filter is asked."""
    from configs.presets import load_preset

    gate = GateConfig.model_validate(load_preset("sd15")["gate"])
    assert reasons(measured(style_accuracy=0.0, fidelity_psnr=9.0, structure_ratio=0.1, colour_error=40), gate) == ()
    assert reasons(measured(pixel_mse=90.0), gate)
