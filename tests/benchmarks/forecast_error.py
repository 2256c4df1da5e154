"""How far `plan` is off on the second run of a similar job: forecast over truth, for seconds and for bytes.

The first job gives the rates; the second is another seed, or another clip of another length. Whole commands, in
processes of their own, start-up and pages included.

    python -m tests.benchmarks.forecast_error [--frames 16] [--second-frames 24] [--workers 0] [--repeats 1]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.clips import benchmark_clips

STEADYFRAME = str(Path(sys.executable).with_name("steadyframe"))


@dataclass(frozen=True)
class Error:
    """One second run. `ratio` is forecast over truth of the job (as it records itself), `stages_ratio` of its stages
    alone, `command_ratio` over the wall seconds of the command, Python's own start included."""

    second: str
    forecast: float
    low: float
    high: float
    truth: float
    command: float
    stages: float
    ratio: float
    stages_ratio: float
    command_ratio: float
    bytes_ratio: float
    by_stage: dict[str, tuple[float, float]]


def command(name: list[str], clip: Path, folder: Path, *more: str) -> tuple[dict[str, Any], float]:
    """Run one command line; its JSON object and its wall seconds."""
    given = [STEADYFRAME, *name, str(clip), "--style", "watercolor", "--store", str(folder / "store"), "--json"]
    began = time.perf_counter()
    done = subprocess.run([*given, "--out", str(folder / "out"), *more], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["status"] == "completed", result["errors"]
    return result, seconds


def measure(folder: Path, clip: Path, second: str, *more: str) -> Error:
    """Plan, then run, and hold one against the other."""
    planned, _ = command(["plan", "restyle"], clip, folder, *more)
    result, wall = command(["restyle"], clip, folder, *more)
    took = json.loads((folder / "store" / "jobs" / result["job"] / "took.json").read_text())["seconds"]
    total, (video,) = planned["total"], planned["plans"]
    fresh = [stage for stage in result["stages"] if stage["status"] == "computed"]
    stages = sum(stage["seconds"] for stage in fresh)
    foreseen = {row["stage"]: row["seconds"] for row in video["forecast"]["stages"]}
    by_stage = {s["stage"]: (round(foreseen.get(s["stage"], 0.0), 2), round(s["seconds"], 2)) for s in fresh}
    held = sum(stage["bytes"] for stage in fresh)
    return Error(
        second=second,
        forecast=round(total["seconds"], 2),
        low=round(total["low"], 2),
        high=round(total["high"], 2),
        truth=round(took, 2),
        command=round(wall, 2),
        stages=round(stages, 2),
        ratio=round(total["seconds"] / took, 3),
        stages_ratio=round(video["forecast"]["seconds"] / stages, 3),
        command_ratio=round(total["seconds"] / wall, 3),
        bytes_ratio=round(total["bytes"] / held, 3),
        by_stage=by_stage,
    )


def main() -> None:
    """One first job, then both kinds of second job, each planned before it is run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--second-frames", type=int, default=24)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    first, other = benchmark_clips(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = ["--workers", str(given.workers), "--set"]
        _, wall = command(["restyle"], first, folder, *base, f"input.frames=0,{given.frames}")
        print(json.dumps({"first": first.name, "seconds": round(wall, 1)}), flush=True)
        for repeat in range(given.repeats):
            seed = ["--seed", str(repeat + 1)]
            found = measure(folder, first, "other seed", *base, f"input.frames=0,{given.frames}", *seed)
            print(json.dumps(asdict(found)), flush=True)
            frames = f"input.frames={repeat},{repeat + given.second_frames}"
            found = measure(folder, other, "other clip, other length", *base, frames, *seed)
            print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main()
