"""What a forecast is, and how it is told: a row per stage, their sum, one line in words.

Knows figures only; `tasks.forecast` finds them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Literal

from tasks.purse import DEVICE_STAGES, Cost
from tasks.words import duration, size


@dataclass(frozen=True)
class StageForecast:
    """One stage of one part of a video. `status` is `reused` where its artifact stands; then it takes nothing.

    `low` and `high` are where the seconds of similar work lay; `basis` says what was learnt from.
    """

    stage: str
    part: str
    status: Literal["computed", "reused"]
    seconds: float = 0.0
    low: float = 0.0
    high: float = 0.0
    bytes: int = 0
    devices: int = 1
    basis: str = ""

    @property
    def cost(self) -> Cost:
        """What it takes from a budget."""
        return Cost(self.seconds * self.devices if self.stage in DEVICE_STAGES else 0.0, self.bytes)


@dataclass(frozen=True)
class Forecast:
    """What one video takes. `opening` seconds until the workers are there; they are in `seconds`, in no stage."""

    stages: tuple[StageForecast, ...]
    opening: float = 0.0
    basis: str = ""

    @property
    def seconds(self) -> float:
        """Seconds of all stages one after the other, workers opened."""
        return sum(stage.seconds for stage in self.stages) + self.opening

    @property
    def range(self) -> tuple[float, float]:
        """(low, high) seconds: as if every stage were as quick, or as slow, as similar work has been."""
        lows, highs = (stage.low for stage in self.stages), (stage.high for stage in self.stages)
        return sum(lows) + self.opening, sum(highs) + self.opening

    @property
    def bytes(self) -> int:
        """Bytes that stay in the store."""
        return sum(stage.bytes for stage in self.stages)

    @property
    def gpu_seconds(self) -> float:
        """Device-seconds, as a budget counts them."""
        return sum(stage.cost.gpu_seconds for stage in self.stages)

    def of(self, *stages: str, part: str | None = None) -> Cost:
        """The cost of some stages, of one part or of all."""
        chosen = (s for s in self.stages if s.stage in stages and part in (None, s.part))
        return sum((stage.cost for stage in chosen), Cost())


NOTHING_FORESEEN = Forecast(())


def rows(forecast: Forecast) -> list[dict[str, Any]]:
    """One row per stage and their sum, for tables."""
    listed = [
        {
            "stage": f"{s.stage} ({s.part})" if s.part else s.stage,
            "status": s.status,
            "seconds": round(s.seconds, 2),
            "from": round(s.low, 2),
            "to": round(s.high, 2),
            "bytes": s.bytes,
            "basis": s.basis,
        }
        for s in forecast.stages
    ]
    low, high = forecast.range
    total = {"stage": "all", "status": "", "seconds": round(forecast.seconds, 2), "from": round(low, 2)}
    return [*listed, {**total, "to": round(high, 2), "bytes": forecast.bytes, "basis": forecast.basis}]


def in_words(forecast: Forecast, now: dt.datetime | None = None) -> str:
    """One line: how long, from when to when, how much is written, and what that rests on."""
    fresh = sum(stage.status == "computed" for stage in forecast.stages)
    if not fresh:
        return f"forecast: {forecast.basis}"
    low, high = forecast.range
    ends = (now or dt.datetime.now()) + dt.timedelta(seconds=forecast.seconds)
    there = len(forecast.stages) - fresh
    return (
        f"forecast: about {duration(forecast.seconds)} ({duration(low)} to {duration(high)}), done at {ends:%H:%M}, "
        f"{size(forecast.bytes)} written{f', {there} stages are in the store' if there else ''}; {forecast.basis}"
    )
