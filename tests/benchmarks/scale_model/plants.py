"""The library that no machine here could run, 1000 videos on 64 GPUs: which layouts keep the GPUs busy, and why not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.benchmarks.scale_model.mix import large_library
from tests.benchmarks.scale_model.services import Services
from tests.benchmarks.scale_model.simulate import Plant, Simulated, simulated

VIDEOS, GPUS = 1000, 64
GANGS, DRIVERS, SPARE = (1, 2, 4, 8), (1, 2, 4, 8), (1.5, 2.0, 4.0)
WANTED = 0.90


@dataclass(frozen=True)
class Scenario:
    """The large library with model calls so many times as long as measured."""

    slower: float
    services: Services
    lengths: tuple[int, ...]

    @property
    def driver_per_gpu(self) -> float:
        """Seconds on a driver's cores for every second of a GPU: what decides how many drivers it takes."""
        driver = sum(self.services.driver(frames) for frames in self.lengths)
        return driver / sum(self.services.calls(frames, 1) for frames in self.lengths)

    @property
    def least_drivers(self) -> float:
        """Drivers that could feed the GPUs at `WANTED`, if nothing else stood in the way."""
        return WANTED * GPUS * self.driver_per_gpu / self.services.cores


def scenario(services: Services, slower: float) -> Scenario:
    """See `Scenario`."""
    return Scenario(slower, replace(services, delay=services.delay * slower), tuple(large_library(VIDEOS)))


def layouts(gang: int, drivers: int) -> Iterator[Plant]:
    """Layouts of the GPUs that differ in `max_in_flight` of a driver, the fewest first."""
    gangs = GPUS // drivers // gang
    for spare in SPARE if gangs else ():
        yield Plant(GPUS, gang, max(1, round(gangs * spare)), drivers)


def by_drivers(found: Scenario, gang: int) -> list[Simulated]:
    """For each number of drivers the layout of least `max_in_flight` that is within half a percent of its best."""
    rows = []
    for drivers in DRIVERS:
        runs = [simulated(found.services, found.lengths, plant) for plant in layouts(gang, drivers)]
        best = max((run.busy for run in runs), default=0.0)
        rows += [next(run for run in runs if run.busy >= best - 0.005)] if runs else []
    return rows


def enough(rows: Sequence[Simulated]) -> Simulated | None:
    """The one with the fewest drivers, then videos in flight, that reaches `WANTED`."""
    good = [run for run in rows if run.busy >= WANTED]
    return min(good, key=lambda run: (run.plant.drivers, run.plant.in_flight), default=None)
