"""Service times of the stages, fitted from what a real run's manifests say: least squares, nothing is set by hand.

Two runs are fitted. Of one with a single video in flight every stage gives `base + slope * size`, and what no stage
accounts for is the flow's own time per video. One with many in flight gives `cores`: how many videos' worth of work on
cores this machine does at once, which the first cannot show.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.scale_model.mix import windows

if TYPE_CHECKING:
    from tests.benchmarks.scale_model.measure import Measured, Setting, Took

BEFORE, AFTER = ("probe", "decode"), ("encode", "evaluate", "report")


@dataclass(frozen=True)
class Line:
    """Seconds as `base + slope * size`, neither below zero."""

    base: float
    slope: float

    def at(self, size: float) -> float:
        """Seconds for this size."""
        return self.base + self.slope * size

    @classmethod
    def through(cls, sizes: Sequence[float], seconds: Sequence[float]) -> Line:
        """Least squares; a negative part is left out and the other fitted alone."""
        x, y = np.asarray(sizes, float), np.asarray(seconds, float)
        slope, base = np.polyfit(x, y, 1) if len(set(sizes)) > 1 else (0.0, float(y.mean()))
        if slope < 0:
            return cls(float(y.mean()), 0.0)
        if base < 0:
            return cls(0.0, float((x * y).sum() / (x * x).sum()))
        return cls(float(base), float(slope))


@dataclass(frozen=True)
class Services:
    """Seconds on cores by stage (`before`, `after`, `correspond` by frames; `condition`, `denoise` by windows).

    `denoise` is what it takes beside its model calls. Per video the flow itself takes `flow` on cores and `idle` off
    them (Prefect waits for its own threads to end). `on_workers` is the share of `condition` and
    `denoise` that workers spend on cores of their own machines; the driver spends the rest. `cores` see above.
    """

    before: Line
    condition: Line
    correspond: Line
    denoise: Line
    after: Line
    flow: float
    idle: float
    on_workers: float
    cores: float
    delay: float
    steps: int

    def calls(self, frames: int, lanes: int) -> float:
        """Seconds of model calls of a video whose windows are spread over `lanes` GPUs: those of the fullest lane."""
        return -(-windows(frames) // lanes) * self.steps * self.delay

    def driver(self, frames: int) -> float:
        """Seconds on the driver's cores for a video."""
        k = windows(frames)
        lent = (1 - self.on_workers) * (self.condition.at(k) + self.denoise.at(k))
        return self.flow + self.before.at(frames) + self.correspond.at(frames) + self.after.at(frames) + lent


def fit_alone(run: Measured) -> Services:
    """Services from a run with one video in flight on gangs of one."""
    setting, videos = run.setting, run.videos
    assert (setting.in_flight, setting.gang) == (1, 1)

    def line(
        stages: Sequence[str], size: Callable[[Took], float], less: Callable[[Took], float] = lambda v: 0.0
    ) -> Line:
        seconds = [sum(v.stages.get(name, 0.0) for name in stages) - less(v) for v in videos]
        return Line.through([size(v) for v in videos], seconds)

    calls = _calls_of(setting)
    between = max(0.0, (run.makespan - sum(sum(v.stages.values()) for v in videos)) / len(videos))
    condition = line(("condition",), lambda v: v.windows)
    denoise = line(("denoise",), lambda v: v.windows, calls)
    lent = sum(condition.at(v.windows) + denoise.at(v.windows) for v in videos)
    fitted = Services(
        before=line(BEFORE, lambda v: v.frames),
        condition=condition,
        correspond=line(("correspond",), lambda v: v.frames),
        denoise=denoise,
        after=line(AFTER, lambda v: v.frames),
        flow=between,
        idle=0.0,
        on_workers=min(1.0, run.worker_cpu / lent),
        cores=1.0,
        delay=setting.delay,
        steps=setting.steps,
    )
    asleep = (sum(fitted.driver(v.frames) for v in videos) - run.driver_cpu) / len(videos)
    idle = min(max(asleep, 0.0), between)
    return replace(fitted, flow=between - idle, idle=idle)


def fit_cores(services: Services, run: Measured, makespan: Callable[[Services], float]) -> Services:
    """The same with `cores` such that the simulated makespan of a second run comes nearest to the real one.

    One at least: that is what a video alone was measured on.
    """
    tried = [replace(services, cores=float(c)) for c in np.arange(1.0, 4.01, 0.05)]
    return min(tried, key=lambda s: abs(makespan(s) - run.makespan))


def _calls_of(setting: Setting) -> Callable[[Took], float]:
    return lambda video: video.windows * setting.steps * setting.delay
