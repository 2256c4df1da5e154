"""The four figures that head a report (architecture.md section 8), each beside the bar the project holds itself to.

The bars are means over many clips; whether one clip wants a look is for the quality gate (`tasks.gate`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Card:
    """One of the four figures: what it is, its value, the bar it is held against; `good` is None where it cannot be."""

    name: str
    about: str
    value: float | None
    bar: str
    good: bool | None
    unit: str = ""
    digits: int = 3
    beside: str = ""


def cards(figures: Mapping[str, Mapping[str, Any]]) -> list[Card]:
    """The four figures of architecture.md section 8, for the result, with the bars of the project."""
    result, control = figures.get("result", {}), figures.get("control", {})
    excess, steady, sharp = result.get("excess_flicker"), "source", result.get("sharpness_ratio")
    if excess is None and result.get("excess_over_style") is not None:
        # The style smooths: even the control flickers less than the source, so the source is no measure of steadiness.
        excess, steady = result["excess_over_style"], "steady style"
    psnr, control_psnr = result.get("fidelity_psnr"), control.get("fidelity_psnr")
    seam = result.get("seam_ratio")
    better = None if psnr is None or control_psnr is None else psnr >= control_psnr
    return [
        Card(
            name="Excess flicker",
            about=f"share left of the flicker the model adds to the {steady}",
            value=excess,
            bar="at most 0.5",
            good=None if excess is None else excess <= 0.5,
            beside=_beside("Pixel-MSE", result.get("pixel_mse"), figures.get("source", {}).get("pixel_mse")),
        ),
        Card(
            name="Fidelity",
            about="PSNR to the steady style filter",
            value=psnr,
            unit="dB",
            digits=2,
            bar="not below the control",
            good=better,
            beside="" if control_psnr is None else f"control {control_psnr:.2f} dB",
        ),
        Card(
            name="Sharpness",
            about="detail beside the control; flicker alone would reward blur",
            value=sharp,
            bar="at least 0.9",
            good=None if sharp is None else sharp >= 0.9,
        ),
        Card(
            name="Seam ratio",
            about="flicker across window borders over flicker inside",
            value=seam,
            bar="at most 1.15",
            good=None if seam is None else seam <= 1.15,
        ),
    ]


def _beside(name: str, result: float | None, source: float | None) -> str:
    return f"{name} {result:.1f}, source {source:.1f}" if result is not None and source is not None else ""
