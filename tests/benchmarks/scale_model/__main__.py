"""`python -m tests.benchmarks.scale_model`: real runs, the fit, its check on runs it has not seen, docs/scale.md."""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tasks.publish import write_whole
from tests.benchmarks.scale_model import page
from tests.benchmarks.scale_model.measure import Measured, Setting, logical_gpus, measured
from tests.benchmarks.scale_model.plants import GANGS, by_drivers, scenario
from tests.benchmarks.scale_model.services import Services, fit_alone, fit_cores
from tests.benchmarks.scale_model.simulate import Plant, Simulated, simulated

PAGE = Path(__file__).resolve().parents[3] / "docs" / "scale.md"
GPUS, DELAY, STEPS = 4, 0.5, 10
SLOWER = (1.0, 4.0)
ALONE = (8, 24, 40, 64, 16, 56)
CROWD = (64, 8, 24, 40, 16, 56, 32, 48, 8, 64, 24, 16)
OTHER = (12, 96, 12, 20, 12, 36, 80, 12, 28, 12, 20, 44, 12, 60)


def settings() -> dict[str, tuple[Setting, Sequence[int]]]:
    """The real runs: two that are fitted and two that are not, of another mix, crowd and gang."""
    shuffled = random.Random(1).sample(OTHER, len(OTHER))
    return {
        "fitted: one in flight": (Setting(GPUS, 1, 1, DELAY, STEPS), ALONE),
        "fitted: six in flight": (Setting(GPUS, 1, 6, DELAY, STEPS), CROWD),
        "**not fitted**: other mix": (Setting(GPUS, 1, 5, DELAY, STEPS), OTHER),
        "**not fitted**: gangs of two": (Setting(GPUS, 2, 4, DELAY, STEPS), shuffled),
    }


def as_here(services: Services, run: Measured) -> Simulated:
    """The model of a run on this machine."""
    s = run.setting
    lengths = sorted((video.frames for video in run.videos), reverse=True)  # `order` of a library: largest first
    return simulated(services, lengths, Plant(s.gpus, s.gang, s.in_flight, one_machine=True))


def main() -> None:
    """Measure, fit, check, extrapolate, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="keep what was measured here")
    parser.add_argument("--out", type=Path, default=PAGE)
    given = parser.parse_args()
    runs: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as folder, logical_gpus(GPUS):
        for n, (name, (setting, lengths)) in enumerate(settings().items()):
            runs[name] = measured(setting, lengths, Path(folder) / str(n), seed=n + 1)
            print(f"{name}: {runs[name].makespan:.1f} s, GPUs {100 * runs[name].busy:.1f} % busy", flush=True)
    if given.json:
        write_whole(given.json, json.dumps({name: asdict(run) for name, run in runs.items()}, indent=1).encode())
    alone, crowd, *_ = runs.values()
    services = fit_cores(fit_alone(alone), crowd, lambda s: as_here(s, crowd).makespan)
    text = "\n".join(
        [
            page.HEAD.format(gpus=GPUS),
            page.compared([(name, run, as_here(services, run)) for name, run in runs.items()]),
            page.fitted(services),
            f"## {page.VIDEOS} videos on {page.GPUS} GPUs\n",
            *(
                page.at_scale(found, [run for gang in GANGS for run in by_drivers(found, gang)])
                for found in (scenario(services, slower) for slower in SLOWER)
            ),
            page.LIMITS.format(width=64, height=48, cores=services.cores),
        ]
    )
    print(text)
    write_whole(given.out, text.encode())


if __name__ == "__main__":
    main()
