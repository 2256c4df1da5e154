"""The scale model keeps the laws that any queue keeps, and its fit finds the service times a run was made from."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import pytest
import simpy

from tests.benchmarks.scale_model.mix import large_library, windows
from tests.benchmarks.scale_model.services import Line, Services, fit_alone, fit_cores
from tests.benchmarks.scale_model.simulate import Cores, Plant, Simulated, simulated

KNOWN = Services(
    before=Line(0.1, 0.01),
    condition=Line(0.2, 0.03),
    correspond=Line(0.0, 0.02),
    denoise=Line(0.3, 0.05),
    after=Line(0.4, 0.015),
    flow=0.5,
    idle=0.25,
    on_workers=0.0,
    cores=1.5,
    delay=0.4,
    steps=4,
)


def alone(frames: int, lanes: int = 1) -> float:
    """Seconds of one video with everything to itself."""
    return KNOWN.driver(frames) + KNOWN.idle + KNOWN.calls(frames, lanes)


@pytest.mark.parametrize("gang", [1, 2])
def test_one_video_takes_the_sum_of_its_parts(gang: int) -> None:
    run = simulated(KNOWN, [40], Plant(4, gang, 3))
    assert run.makespan == pytest.approx(alone(40, gang))
    assert run.tally.for_gang == pytest.approx(0)
    assert run.tally.for_cores == pytest.approx(0)


def test_one_in_flight_is_one_after_the_other() -> None:
    assert simulated(KNOWN, [16, 40, 64], Plant(4, 1, 1)).makespan == pytest.approx(sum(map(alone, [16, 40, 64])))


@pytest.mark.parametrize("plant", [Plant(4, 1, 3), Plant(4, 2, 8), Plant(8, 1, 4, drivers=2), Plant(8, 8, 2)])
def test_laws(plant: Plant) -> None:
    """Never below the bound, GPUs and cores never more than busy, every call counted once, more cores never slower."""
    lengths = large_library(40, seed=1)
    run = simulated(KNOWN, lengths, plant)
    assert run.makespan >= run.bound
    assert run.makespan >= sum(map(KNOWN.driver, lengths)) / (KNOWN.cores * plant.drivers) - 1e-6
    assert 0 < run.busy <= 1
    assert run.cores_busy <= 1 + 1e-9
    assert run.tally.calls == pytest.approx(sum(windows(f) for f in lengths) * KNOWN.steps * KNOWN.delay)
    assert run.tally.held <= plant.gpus * run.makespan + 1e-6
    assert simulated(replace(KNOWN, cores=4.0), lengths, plant).makespan <= run.makespan * 1.001


def test_cores_are_shared_evenly() -> None:
    """Two cores: two pieces at full speed, a third slows all to two thirds."""
    env = simpy.Environment()
    cores, ended = Cores(env, 2.0), {}

    def piece(name: str, begins: float, seconds: float):  # type: ignore[no-untyped-def]
        yield env.timeout(begins)
        yield cores.work(seconds)
        ended[name] = env.now

    for name, begins, seconds in (("a", 0, 4), ("b", 0, 4), ("c", 2, 1)):
        env.process(piece(name, begins, seconds))
    env.run()
    assert ended == {"c": pytest.approx(3.5), "a": pytest.approx(4.5), "b": pytest.approx(4.5)}


@dataclass
class _Run:
    """A run as `measure` describes it, made from known service times."""

    videos: list[SimpleNamespace]
    makespan: float
    setting: SimpleNamespace
    driver_cpu: float
    worker_cpu: float = 0.0


def made(lengths: list[int]) -> _Run:
    videos = [
        SimpleNamespace(
            frames=f,
            windows=windows(f),
            stages={
                "probe": 0.04,
                "decode": 0.06 + 0.01 * f,
                "condition": KNOWN.condition.at(windows(f)),
                "correspond": KNOWN.correspond.at(f),
                "denoise": KNOWN.denoise.at(windows(f)) + KNOWN.calls(f, 1),
                "encode": 0.1 + 0.005 * f,
                "evaluate": 0.1 + 0.01 * f,
                "report": 0.2,
            },
        )
        for f in lengths
    ]
    setting = SimpleNamespace(in_flight=1, gang=1, steps=KNOWN.steps, delay=KNOWN.delay)
    return _Run(videos, sum(map(alone, lengths)), setting, sum(map(KNOWN.driver, lengths)))


def test_the_fit_finds_the_services_that_a_run_was_made_from() -> None:
    found = fit_alone(made([8, 24, 40, 64]))  # type: ignore[arg-type]
    for name in ("before", "condition", "correspond", "denoise", "after"):
        line, known = getattr(found, name), getattr(KNOWN, name)
        assert (line.base, line.slope) == (pytest.approx(known.base, abs=1e-9), pytest.approx(known.slope))
    assert (found.flow, found.idle) == (pytest.approx(KNOWN.flow), pytest.approx(KNOWN.idle))


def test_the_fit_finds_the_cores() -> None:
    def makespan(services: Services) -> float:
        return run(services).makespan

    def run(services: Services) -> Simulated:
        return simulated(services, [64, 8, 24, 40] * 4, Plant(4, 1, 6, one_machine=True))

    real = SimpleNamespace(makespan=makespan(KNOWN))
    assert math.isclose(fit_cores(KNOWN, real, makespan).cores, KNOWN.cores, abs_tol=0.051)  # type: ignore[arg-type]


def test_a_fit_is_never_negative() -> None:
    assert Line.through([1, 2, 3], [3, 2, 1]) == Line(2.0, 0.0)
    line = Line.through([1, 2, 3], [0.5, 2.0, 3.5])
    assert line.base == 0
    assert line.slope > 0
