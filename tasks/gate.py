"""Figures held against the limits of a `GateConfig`: the reasons why somebody should look at a finished video.

It measures nothing, stops nothing and keeps nothing back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from configs.gate import GateConfig
from tasks.figures import FIGURES, Figure, figures_of

_BEYOND = {"max": "above", "min": "below"}


@dataclass(frozen=True)
class Check:
    """One limit: `value` is None where the figure was not measured; `reason` is '' where it passes."""

    name: str
    side: str
    limit: float
    value: float | None
    reason: str

    @property
    def figure(self) -> Figure:
        """What the figure is called and means."""
        return FIGURES[self.name]


def checks(metrics: Mapping[str, Any], gate: GateConfig) -> Iterator[Check]:
    """Yield every limit that is asked, in the gate's order, held against `VideoOutput.metrics`."""
    found = figures_of(metrics)
    for (side, name), limit in gate.limits().items():
        value = found.get(name)
        said = ""
        if value is not None and (value > limit if side == "max" else value < limit):
            said = f"{_named(name, value, limit)} is {_BEYOND[side]} {limit:g} (gate.{side}_{name})"
        yield Check(name, side, limit, value, said)


def reasons(metrics: Mapping[str, Any], gate: GateConfig) -> tuple[str, ...]:
    """Return a sentence per limit that `VideoOutput.metrics` breaks: figure, value, limit, key; none: no review needed.

    A figure that is missing, null or NaN breaks no limit; it is a reason only where `gate.require` names it.
    """
    beyond = [check.reason for check in checks(metrics, gate) if check.reason]
    missing = [name for name in gate.require if gate.enabled and name not in figures_of(metrics)]
    return (*beyond, *(f"{FIGURES[name].label} ({name}) was not measured (gate.require)" for name in missing))


def _named(name: str, value: float, limit: float) -> str:
    figure = FIGURES[name]
    shown = f"{value:.{figure.digits}f}"
    shown = shown if float(shown) != limit else f"{value:.9g}"  # never "1.25 is above 1.25"
    return f"{figure.label} {shown}{' ' * bool(figure.unit)}{figure.unit}"
