"""What an ablation says: figures per clip and arm, their means, and what each ingredient changes, in words.

Pure functions of numbers. Knows which way a figure is better; refuses to know jobs, clips' pixels and models. Every
sentence that states a direction is read off an interval here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from models.metrics import Interval, bootstrap_ci, excess_flicker
from tests.benchmarks.flicker import COLUMNS

Direction = Literal["lowers", "raises", "does not change"]
ClipFigures = Mapping[str, Mapping[str, float]]  # arm -> figure -> value, NaN where it does not exist

FILTER = "the style as a steady filter"


@dataclass(frozen=True)
class Figure:
    """How a figure is shown; `better` is +1 where more is better, -1 where less is, 0 where it depends."""

    title: str
    digits: int
    better: Literal[-1, 0, 1]


FIGURES: Mapping[str, Figure] = MappingProxyType(
    {
        "pixel_mse": Figure(COLUMNS["pixel_mse"], 1, -1),
        "excess_flicker": Figure(COLUMNS["excess_flicker"], 2, -1),
        "excess_over_style": Figure(COLUMNS["excess_over_style"], 2, -1),
        "fidelity_psnr": Figure(COLUMNS["fidelity_psnr"], 2, 1),
        "sharpness_ratio": Figure("sharpness over control", 2, 0),
        "sharpness_over_filter": Figure("sharpness over filter", 2, 0),
        "seam_ratio": Figure(COLUMNS["seam_ratio"], 2, -1),
        "style_accuracy": Figure("style accuracy", 3, 1),
        "structure_ratio": Figure("structure over filter's", 3, 1),
        "colour_error": Figure("colour error", 2, -1),
    }
)


def clip_figures(measured: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> ClipFigures:
    """Figures of one clip's arms, and of the steady filter, held against the first arm as control.

    `measured[arm]` is what the `evaluate` stage left of that arm's job: rows `result`, `source` and `filter`. The
    source and the filter are the same in all of them.
    """
    control = next(iter(measured.values()))
    rows = {name: arm["result"] for name, arm in measured.items()} | {FILTER: control["filter"]}
    source, steady, worst = (_number(control[name], "pixel_mse") for name in ("source", "filter", "result"))
    figures = {}
    for name, row in rows.items():
        flicker, sharp = _number(row, "pixel_mse"), _number(row, "sharpness")
        figures[name] = {
            **{figure: _number(row, figure) for figure in FIGURES},
            "excess_flicker": excess_flicker(flicker, source, worst),
            "excess_over_style": excess_flicker(flicker, steady, worst),
            "sharpness_ratio": _ratio(sharp, _number(control["result"], "sharpness")),
            "sharpness_over_filter": _ratio(sharp, _number(control["filter"], "sharpness")),
        }
    return figures


def changes(clips: Sequence[ClipFigures], before: str, after: str, figure: str) -> list[float]:
    """The paired differences `after` - `before` of a figure, one per clip that has both."""
    pairs = [clip[after][figure] - clip[before][figure] for clip in clips]
    return [value for value in pairs if not math.isnan(value)]


def direction(interval: Interval, count: int) -> Direction | None:
    """What an interval over `count` differences says; None where there are fewer than two."""
    if count < 2 or math.isnan(interval.mean):
        return None
    if interval.low <= 0.0 <= interval.high:
        return "does not change"
    return "raises" if interval.mean > 0 else "lowers"


def only_a_range(count: int) -> bool:
    """Whether the 95 % interval of `count` values is their range: over 1 resample in 40 is the least of them alone."""
    return count > 0 and count**-count >= 0.025


def sentence(clips: Sequence[ClipFigures], before: str, after: str, ingredient: str) -> str:
    """What the ingredient does to every figure, and whether that is better, worse or neither."""
    said: dict[str, list[str]] = {verdict: [] for verdict in ("better", "worse", "neither by itself", "same", "few")}
    for name, figure in FIGURES.items():
        differences = changes(clips, before, after, name)
        interval = bootstrap_ci(differences)
        match direction(interval, len(differences)):
            case None:
                said["few"].append(figure.title)
            case "does not change":
                said["same"].append(figure.title)
            case moved:
                gain = figure.better * (1 if moved == "raises" else -1)
                verdict = "better" if gain > 0 else "worse" if gain < 0 else "neither by itself"
                said[verdict].append(f"{moved} {figure.title} by {_amount(interval.mean, figure.digits)}")
    same, few = said.pop("same"), said.pop("few")
    parts = [f"*{verdict}*: {', '.join(words)}" for verdict, words in said.items() if words]
    if same:
        parts.append(f"does not change (the interval spans 0): {', '.join(same)}")
    if few:
        parts.append(f"fewer than two clips have: {', '.join(few)}")
    return f"**{ingredient}**. " + "; ".join(parts) + "."


def shown(value: float, digits: int, sign: bool = False) -> str:
    """A number as a table shows it: `-` for NaN, no negative zero, with its sign if asked for."""
    if math.isnan(value):
        return "-"
    rounded = round(value, digits) + 0.0
    return f"{rounded:{'+' if sign and rounded else ''}.{digits}f}"


def cell(values: Sequence[float], digits: int, sign: bool = False) -> str:
    """Mean and interval of one value per clip; says of how many clips where some lack it."""
    known = sum(not math.isnan(value) for value in values)
    if not known:
        return "-"
    found = bootstrap_ci(values)
    low, high = (shown(end, digits, sign) for end in (found.low, found.high))
    partly = f" ({known} of {len(values)})" if known < len(values) else ""
    return f"{shown(found.mean, digits, sign)} [{low}, {high}]{partly}"


def _amount(value: float, digits: int) -> str:
    least = 10.0**-digits
    return shown(abs(value), digits) if abs(value) >= least else f"less than {shown(least, digits)}"


def _number(row: Mapping[str, Any], figure: str) -> float:
    value = row.get(figure)
    return math.nan if value is None else float(value)


def _ratio(mine: float, theirs: float) -> float:
    return mine / theirs if theirs else math.nan
