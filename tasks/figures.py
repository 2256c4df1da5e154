"""The figures of a result by name: what each is called, in what unit, which way is better; and those worked out from
others.

One place for every page and table that shows them. It measures nothing (`tasks.evaluate` does) and judges nothing
(`tasks.gate` does).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Figure:
    """`label` heads a column, `about` is the sentence below it; `worse` says which way a clip gets worse."""

    label: str
    about: str
    worse: Literal["high", "low"]
    digits: int = 3
    unit: str = ""


FIGURES: Mapping[str, Figure] = {
    "pixel_mse": Figure("Flicker", "Pixel-MSE along the source's motion, 0-255 scale", "high", 2),
    "no_warp": Figure("Difference", "of consecutive frames, motion not taken out", "high", 1),
    "flicker_over_source": Figure("Flicker over source", "times the source's own", "high", 2),
    "flicker_over_steady": Figure("Flicker over steady", "times the source's or steady style's", "high", 2),
    "excess_flicker": Figure("Excess flicker", "share left of the control's, over the source", "high"),
    "excess_over_style": Figure("Excess over style", "share left of the control's, over the steady style", "high"),
    "fidelity_psnr": Figure("Fidelity", "PSNR to the steady style filter", "low", 2, "dB"),
    "fidelity_loss": Figure("Fidelity lost", "below the control's", "high", 2, "dB"),
    "sharpness_ratio": Figure("Sharpness", "detail over the control's", "low"),
    "sharpness_to_source": Figure("Sharpness to source", "detail over the source's", "low"),
    "sharpness_pulsing": Figure("Pulsing", "unsteadiness of that sharpness from frame to frame", "high"),
    "seam_ratio": Figure("Seam ratio", "flicker across window borders over flicker inside", "high"),
    "seam_over_steady": Figure("Seams over steady", "times the source's or style's own seam ratio", "high"),
    "style_accuracy": Figure("Style seen", "share of judged frames that show the style", "low", 2),
    "structure": Figure("Structure", "agreement of contours with the source's", "low", 2),
    "structure_ratio": Figure("Structure over filter", "contours kept, over the filter's own", "low", 2),
    "colour_error": Figure("Colour error", "ΔE to the style filter", "high", 1),
}


def with_arms(figures: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the figures by arm that `evaluate` leaves as `VideoOutput.metrics`: the result's own, others in `arms`."""
    return {**figures.get("result", {}), "arms": {name: dict(row) for name, row in figures.items() if name != "result"}}


def figures_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return every known figure of `VideoOutput.metrics` and those worked out from it; what was not measured is absent.

    `flicker_over_source`: Pixel-MSE over the source's own; `flicker_over_steady`: over the larger of that and the
    steady style's. `seam_over_steady`: seam ratio over the largest of 1, the source's and the steady style's, for a
    clip whose own motion beats with the window grid has seams without any window. `fidelity_loss`: dB below the
    control, 0 where it is not below.
    """
    arms = metrics.get("arms") or {}
    arm = {name: _known(arms.get(name)) for name in ("source", "filter", "control")}
    found = _known(metrics)
    steady = [row["pixel_mse"] for row in (arm["source"], arm["filter"]) if row.get("pixel_mse")]
    if "pixel_mse" in found and arm["source"].get("pixel_mse"):
        found["flicker_over_source"] = found["pixel_mse"] / arm["source"]["pixel_mse"]
    if "pixel_mse" in found and arm["filter"].get("pixel_mse"):
        found["flicker_over_steady"] = found["pixel_mse"] / max(steady)
    if "seam_ratio" in found and "seam_ratio" in arm["source"]:
        own = [row["seam_ratio"] for row in (arm["source"], arm["filter"]) if "seam_ratio" in row]
        found["seam_over_steady"] = found["seam_ratio"] / max(1.0, *own)
    if "fidelity_psnr" in found and "fidelity_psnr" in arm["control"]:
        found["fidelity_loss"] = max(0.0, arm["control"]["fidelity_psnr"] - found["fidelity_psnr"])
    return {name: found[name] for name in FIGURES if name in found}


def _known(row: object) -> dict[str, float]:
    """The finite numbers among the figures of one arm."""
    if not isinstance(row, Mapping):
        return {}
    numbers = {n: v for n, v in row.items() if n in FIGURES and isinstance(v, (int, float)) and not isinstance(v, bool)}
    return {name: float(value) for name, value in numbers.items() if math.isfinite(value)}
