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
from collections.abc import Iterable, Iterator
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


def errors(frames: int, second_frames: int, workers: int, repeats: int) -> Iterator[Error]:
    """One first job, then both kinds of second job, each planned before it is run."""
    clips = benchmark_clips(2)
    first, other = clips[0], clips[-1]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = ["--workers", str(workers), "--set"]
        command(["restyle"], first, folder, *base, f"input.frames=0,{frames}")
        for repeat in range(repeats):
            seed = ["--seed", str(repeat + 1)]
            yield measure(folder, first, "other seed", *base, f"input.frames=0,{frames}", *seed)
            some = f"input.frames={repeat},{repeat + second_frames}"
            yield measure(folder, other, "other clip, other length", *base, some, *seed)


def table(found: Iterable[Error]) -> str:
    """Markdown: forecast over truth."""
    heads = ["second run", "of the job", "of its stages alone", "of the command's wall seconds", "of its bytes"]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for e in found:
        ratios = (e.ratio, e.stages_ratio, e.command_ratio, e.bytes_ratio)
        rows.append(f"| {e.second} | {' | '.join(f'{ratio:.2f}' for ratio in ratios)} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Print every error with all that is known of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--second-frames", type=int, default=24)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=1)
    for found in errors(**vars(parser.parse_args())):
        print(json.dumps(asdict(found)), flush=True)


if __name__ == "__main__":
    main()
