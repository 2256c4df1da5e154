"""Memory and seconds per frame of the post filter over clip length: two clips that differ in length only.

Each in a process of its own, on a store of its own. Bars (issue 4): peak memory of 6000 frames within 5 % of that of
600, seconds per frame within 10 %. `python -m tests.benchmarks.filter_memory` prints both as ratios.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import numpy as np

WIDTH, HEIGHT = 96, 64


def write_clip(path: Path, frames: int, flicker: bool) -> None:
    """A moving texture, without cuts; with `flicker` its brightness jumps from frame to frame."""
    rng = np.random.default_rng(0)
    big = rng.integers(40, 216, (HEIGHT // 8, WIDTH // 8, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "20"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for n in range(frames):
            gain = rng.uniform(0.9, 1.1) if flicker else 1.0
            picture = np.clip(np.roll(big, n, axis=1)[:HEIGHT, :WIDTH] * gain, 0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())


def child(folder: Path, window: int) -> None:
    """Filter the clip of `folder` in this process; print peak KiB, and the seconds of each stage."""
    from configs.deflicker_job import DeflickerJob
    from tasks.engine.pool import EnginePool
    from tasks.filter_pipeline import deflicker_video
    from tasks.run import Run
    from tasks.store import Store

    source, guide = str(folder / "flicker.mp4"), str(folder / "guide.mp4")
    job = DeflickerJob.model_validate(
        {"source": source, "guide": guide, "out": str(folder / "out"), "deflicker": {"window": window}}
    )
    store = Store.open(str(folder / "store"), workers=0)
    began, peaks = time.perf_counter(), {}

    def do(stage: str, part: str, work: Any) -> Any:
        ref = work()
        peaks[f"{stage} {part}".strip()] = peak_kib()
        return ref

    with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
        result = deflicker_video(job, Run(job.for_stages(), source, store, engines), do)
    seconds = time.perf_counter() - began
    stages = {record.stage: record.seconds for record in result.stages}
    print(json.dumps({"peak_kib": peak_kib(), "peaks": peaks, "seconds": seconds, "stages": stages}))


def peak_kib() -> int:
    """Peak resident size so far; not ru_maxrss, which a child inherits from the process that started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1])


def measure(short: int, long: int, window: int) -> dict[str, Any]:
    """Ratios long / short of peak memory and of seconds per frame, in all and of the stage `filter` alone."""
    seen: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as top:
        child_of(Path(top) / "warm", 8, window)  # kernels compiled and files of libraries read once, outside the clock
        for frames in (short, long):
            seen[frames] = child_of(Path(top) / str(frames), frames, window)
    per_frame = {frames: row["seconds"] / frames for frames, row in seen.items()}
    filtering = {frames: row["stages"]["filter"] / frames for frames, row in seen.items()}
    return {
        "frames": [short, long],
        "size": [WIDTH, HEIGHT],
        "window": window,
        "memory_ratio": round(seen[long]["peak_kib"] / seen[short]["peak_kib"], 4),
        "kib_per_frame": round((seen[long]["peak_kib"] - seen[short]["peak_kib"]) / (long - short), 2),
        "seconds_per_frame_ratio": round(per_frame[long] / per_frame[short], 4),
        "filter_seconds_per_frame_ratio": round(filtering[long] / filtering[short], 4),
        "peak_mib_after": {
            frames: {stage: kib // 1024 for stage, kib in row["peaks"].items()} for frames, row in seen.items()
        },
    }


def child_of(folder: Path, frames: int, window: int) -> dict[str, Any]:
    """Write the two clips and filter them in a process of its own; what that process printed."""
    folder.mkdir()
    write_clip(folder / "guide.mp4", frames, flicker=False)
    write_clip(folder / "flicker.mp4", frames, flicker=True)
    command = [sys.executable, "-m", "tests.benchmarks.filter_memory", "--child", str(folder), "--window", str(window)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    row: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", type=int, default=600)
    parser.add_argument("--long", type=int, default=6000)
    parser.add_argument("--window", type=int, default=2)
    parser.add_argument("--child", type=Path)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.window)
    else:
        print(json.dumps(measure(arguments.short, arguments.long, arguments.window), indent=1))
