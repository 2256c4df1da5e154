"""A bar and whether it was reached, and the tables of the page.

Knows numbers and Markdown; refuses to know what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from models.metrics import bootstrap_ci


@dataclass(frozen=True)
class Bar:
    """One line of the summary: `figure` must be at least, or at most, `wanted`. Nothing measured is not passed."""

    what: str
    figure: float | None
    wanted: float
    sense: Literal["at least", "at most"] = "at least"
    unit: str = ""

    @property
    def passed(self) -> bool:
        """Computed, never said."""
        if self.figure is None:
            return False
        return self.figure >= self.wanted if self.sense == "at least" else self.figure <= self.wanted

    def row(self) -> list[str]:
        """Cells: what, wanted, figure, verdict."""
        unit = f" {self.unit}" if self.unit else ""
        return [
            self.what,
            f"{self.sense} {self.wanted:g}{unit}",
            "not measured" if self.figure is None else f"{self.figure:.3f}{unit}",
            "pass" if self.passed else "**FAIL**",
        ]


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Markdown; floats with three digits, `-` for what does not exist."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    return "\n".join(lines + ["| " + " | ".join(_cell(c) for c in row) + " |" for row in rows])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def mean(values: Sequence[float | None]) -> float | None:
    """Mean of what exists."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None


def over_clips(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, 95 % bootstrap interval and number of one value per clip."""
    known = [math.nan if v is None else v for v in values]
    interval = bootstrap_ci(known)
    return {"mean": interval.mean, "ci": [interval.low, interval.high], "clips": sum(not math.isnan(v) for v in known)}


def share(hits: int, count: int) -> dict[str, Any]:
    """A share of `count` independent trials with its 95 % Wilson interval, which does not collapse at 0 and 1."""
    from scipy.stats import binomtest  # type: ignore[import-untyped]

    if not count:
        return {"mean": None, "ci": [None, None], "count": 0}
    interval = binomtest(hits, count).proportion_ci(method="wilson")
    return {"mean": hits / count, "ci": [interval.low, interval.high], "count": count}


def shown(figure: Mapping[str, Any]) -> str:
    """`0.981 [0.960, 0.998]`."""
    if figure["mean"] is None:
        return "-"
    low, high = figure["ci"]
    return f"{figure['mean']:.3f} [{low:.3f}, {high:.3f}]"
