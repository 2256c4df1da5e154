"""The driver's memory over a library: 200 small `dry` videos in one process, its resident size after each of them.

Bar (issue 4 of 4): flat. `python -m tests.benchmarks.library_memory` prints the slope by least squares over the videos
after the first quarter, and how much larger the last quarter's median is than the second's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from configs.library import LibraryJob
from flows.library.shown import recorded
from flows.resources import quiet, served
from tasks.engine.pool import EnginePool
from tasks.run import Progress
from tasks.store import Store
from tests.small_clips import write_clip


def measure(videos: int, workers: int, in_flight: int) -> dict[str, Any]:
    """Run a library of so many clips of 8 frames; MiB after each video, their slope and ratio."""
    sizes: list[float] = []

    def observe(progress: Progress) -> None:
        if progress.source == "library" and progress.message.endswith("ended)"):
            sizes.append(psutil.Process().memory_info().rss / 2**20)
            if len(sizes) % 20 == 0:
                print(f"{len(sizes)} videos: {sizes[-1]:.1f} MiB", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as top, quiet(), served():
        folder = Path(top)
        (folder / "clips").mkdir()
        for n in range(videos):
            write_clip(folder / "clips" / f"{n:04d}.mp4", frames=8, seed=n)
        store = Store.open(str(folder / "store"), workers=workers)
        with EnginePool(store.url, workers, "cpu") as engines:
            result = recorded(_job(folder, in_flight), store, engines, observe)
    assert len(sizes) == result.library.videos == videos
    quarter = videos // 4
    slope, _ = np.polyfit(np.arange(quarter, videos), sizes[quarter:], 1)
    return {
        "videos": videos,
        "workers": workers,
        "in_flight": in_flight,
        "computed": result.library.computed,
        "died_of": [f"{error.class_name}: {error.message[:200]}" for error in result.errors],
        "mib_after": {n: round(sizes[n - 1], 1) for n in sorted({1, quarter, 2 * quarter, 3 * quarter, videos})},
        "kib_per_video": round(float(slope) * 1024, 1),
        "last_quarter_over_second": round(
            statistics.median(sizes[-quarter:]) / statistics.median(sizes[quarter : 2 * quarter]), 4
        ),
        "seconds_per_video": round(result.library.seconds / videos, 2),
    }


def _job(folder: Path, in_flight: int) -> LibraryJob:
    settings = {
        "prompt": "x",
        "num_inference_steps": 1,
        "deflicker": {"window": 1, "steps": [1.0]},
        "report": {"max_megabytes": 0.2},
    }
    return LibraryJob(
        sources=(str(folder / "clips"),),
        out=str(folder / "out"),
        preset="dry",
        settings=settings,
        max_in_flight=in_flight,
        failed_share=0.0,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--videos", type=int, default=200)
    parser.add_argument("--workers", type=int, default=0, help="0: the model in the driver's process")
    parser.add_argument("--in-flight", type=int, default=2)
    print(json.dumps(measure(**vars(parser.parse_args())), indent=1))
