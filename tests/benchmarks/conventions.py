"""What the choice of convention does to Pixel-MSE: unchanged clips, every convention over the masked one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path

from models.metrics import CONVENTIONS, Convention, FlickerMeter
from models.pair_meter import mean
from tasks.compare import Opened, opened
from tests.benchmarks.clips import benchmark_clips

LABELS: Mapping[Convention, str] = {
    "masked": "masked: inside the frame and consistent both ways (ours)",
    "all": "all: backward flow, zeros outside",
    "minus_forward": "minus_forward: frame t read at x - forward flow",
    "no_warp": "no_warp: consecutive frames as they are",
}


def measure(clip: Path, pairs: int, long_side: int) -> dict[str, float]:
    """Mean Pixel-MSE per convention over `pairs` pairs from the middle of a clip, over the masked mean."""
    meter = FlickerMeter("masked", CONVENTIONS)
    with ExitStack() as stack:
        video = opened(stack, str(clip), long_side=long_side)
        starts, first = {start for start, _ in video.index.shots}, _first(video, pairs)
        for number, frame in enumerate(islice(video.frames, first, first + pairs + 1), first):
            if number in starts:
                meter.cut()
            meter.add(frame)
    found = {convention: mean(meter.courses[convention]["source"]) for convention in CONVENTIONS}
    return {convention: value / found["masked"] for convention, value in found.items()}


def table(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown: conventions down, clips across; `rows` is `measure` by the name of the clip."""
    lines = ["| unchanged source, over masked | " + " | ".join(rows) + " |", "|---" * (1 + len(rows)) + "|"]
    for convention in CONVENTIONS:
        cells = " | ".join(f"{row[convention]:.2f}" for row in rows.values())
        lines.append(f"| {LABELS[convention]} | {cells} |")
    return "\n".join(lines)


def _first(video: Opened, pairs: int) -> int:
    return max(0, (video.index.frames - pairs - 1) // 2)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=6, help="per clip, from its middle")
    parser.add_argument("--long-side", type=int, default=512)
    given = parser.parse_args(argv)
    rows = {clip.name: measure(clip, given.pairs, given.long_side) for clip in benchmark_clips(given.clips)}
    print(table(rows))


if __name__ == "__main__":
    main()
