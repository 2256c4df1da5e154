"""The discrete-event model of a library run: videos in flight, gangs of workers lent shot by shot, drivers' cores.

Follows the product step by step: `max_in_flight` videos are begun in their order; each is probed and decoded, borrows a
gang for its conditions, is corresponded, borrows a gang (first come, first served) to be denoised, is encoded, measured
and reported. Cores are shared by all who want them; GPUs are not.
"""

from __future__ import annotations

import heapq
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import simpy

from tests.benchmarks.scale_model.mix import windows
from tests.benchmarks.scale_model.services import Services

ROUNDS = 8  # model calls and commits of a video take turns; so many turns are simulated


@dataclass(frozen=True)
class Plant:
    """What there is: `drivers` processes, each with its own cores and an equal part of the GPUs and of the videos.

    With `one_machine` the workers' own work is done on the driver's cores too, as where we measured.
    """

    gpus: int
    gang: int
    in_flight: int
    drivers: int = 1
    one_machine: bool = False


@dataclass
class Tally:
    """Seconds, summed over videos: in model calls (of GPUs), holding a gang, waiting for one, on cores, for cores."""

    calls: float = 0.0
    held: float = 0.0
    for_gang: float = 0.0
    on_cores: float = 0.0
    for_cores: float = 0.0


@dataclass(frozen=True)
class Simulated:
    """What came of it; `bound` is the shortest any order could take with these GPUs."""

    plant: Plant
    makespan: float
    bound: float
    tally: Tally
    cores: float

    @property
    def busy(self) -> float:
        """Share of the GPUs' time that was in model calls."""
        return self.tally.calls / (self.plant.gpus * self.makespan)

    @property
    def cores_busy(self) -> float:
        """Share of the drivers' cores that was in use."""
        return self.tally.on_cores / (self.cores * self.plant.drivers * self.makespan)


class Cores:
    """Processor sharing: `n` pieces of work run at full speed up to `capacity` of them, then at `capacity / n`."""

    def __init__(self, env: simpy.Environment, capacity: float) -> None:
        self.env, self.capacity = env, capacity
        self._served, self._at = 0.0, 0.0  # seconds that each piece here since the beginning has been given
        self._ends: list[tuple[float, int, simpy.Event]] = []
        self._number, self._alarm = count(), 0

    def work(self, seconds: float) -> simpy.Event:
        """An event that comes when so many seconds of work have been done."""
        self._advance()
        done = self.env.event()
        heapq.heappush(self._ends, (self._served + seconds, next(self._number), done))
        self._arm()
        return done

    def _rate(self) -> float:
        return min(1.0, self.capacity / len(self._ends)) if self._ends else 0.0

    def _advance(self) -> None:
        self._served += (self.env.now - self._at) * self._rate()
        self._at = self.env.now

    def _arm(self) -> None:
        self._alarm += 1
        if self._ends:
            self.env.process(self._ring(self._alarm, max(0.0, self._ends[0][0] - self._served) / self._rate()))

    def _ring(self, alarm: int, delay: float) -> Generator[simpy.Event, Any, None]:
        yield self.env.timeout(delay)
        if alarm != self._alarm:
            return
        self._advance()
        first = self._ends[0][0]
        while self._ends and self._ends[0][0] <= first + 1e-9:
            heapq.heappop(self._ends)[2].succeed()
        self._arm()


@dataclass
class _Driver:
    """One driver process and what is its own."""

    env: simpy.Environment
    services: Services
    plant: Plant
    tally: Tally
    cores: Cores = field(init=False)
    seats: simpy.Resource = field(init=False)
    gangs: simpy.Resource = field(init=False)

    def __post_init__(self) -> None:
        self.cores = Cores(self.env, self.services.cores)
        self.seats = simpy.Resource(self.env, self.plant.in_flight)
        self.gangs = simpy.Resource(self.env, self.plant.gpus // self.plant.drivers // self.plant.gang)

    def video(self, frames: int) -> Generator[simpy.Event, Any, None]:
        s, k = self.services, windows(frames)
        with self.seats.request() as seat:
            yield seat
            yield from self._work(s.flow / 2 + s.before.at(frames))
            yield from self._lent(0.0, s.condition.at(k))
            yield from self._work(s.correspond.at(frames))
            yield from self._lent(s.calls(frames, self.plant.gang), s.denoise.at(k))
            self.tally.calls += k * s.steps * s.delay
            yield from self._work(s.after.at(frames) + s.flow / 2)
            yield self.env.timeout(s.idle)

    def _lent(self, calls: float, work: float) -> Generator[simpy.Event, Any, None]:
        asked = self.env.now
        with self.gangs.request() as gang:
            yield gang
            began = self.env.now
            self.tally.for_gang += began - asked
            there = 0.0 if self.plant.one_machine else self.services.on_workers * work
            rounds = ROUNDS if calls else 1
            for _ in range(rounds):
                yield self.env.timeout((calls + there) / rounds)
                yield from self._work((work - there) / rounds)
            self.tally.held += (self.env.now - began) * self.plant.gang

    def _work(self, seconds: float) -> Generator[simpy.Event, Any, None]:
        began = self.env.now
        yield self.cores.work(seconds)
        self.tally.on_cores += seconds
        self.tally.for_cores += self.env.now - began - seconds


def simulated(services: Services, lengths: Sequence[int], plant: Plant) -> Simulated:
    """Run videos of these lengths (frames, in their order) through the model."""
    env, tally = simpy.Environment(), Tally()
    drivers = [_Driver(env, services, plant, tally) for _ in range(plant.drivers)]
    for n, frames in enumerate(lengths):
        env.process(drivers[n % len(drivers)].video(frames))
    env.run()
    everything = sum(services.calls(frames, 1) for frames in lengths) / plant.gpus
    longest = max(services.calls(frames, plant.gang) for frames in lengths)
    return Simulated(plant, float(env.now), max(everything, longest), tally, services.cores)
