"""Peak memory of a whole run over clip length: two clips that differ in length only, each in a process of its own."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import av
import numpy as np

SIDE = 128


def write_clip(path: Path, frames: int, side: int = SIDE) -> None:
    """A moving texture of `frames` frames, without cuts."""
    rng = np.random.default_rng(0)
    big = rng.integers(0, 255, (side // 8, side // 8, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "20"})
        stream.width = stream.height = side
        stream.pix_fmt = "yuv420p"
        for n in range(frames):
            picture = np.ascontiguousarray(np.roll(big, n, axis=1)[:side, :side])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def child(clip: str, store: str, preset: str) -> None:
    """Restyle one clip in this process and print the peak resident size in KiB."""
    from tasks.engine.pool import EnginePool
    from tasks.pipeline import restyle_video
    from tasks.run import Run
    from tasks.store import Store
    from tests.benchmarks.jobs import pocket_job

    job = pocket_job(preset, num_inference_steps=2, working_size=SIDE, out=store + "/out")
    opened = Store.open(store, workers=0)
    with EnginePool(opened.url, 0, "cpu") as engines:
        restyle_video(Run(job, clip, opened, engines))
    # not ru_maxrss, which a child inherits from the process that started it
    status = Path("/proc/self/status").read_text()
    print(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index]


def measure(short: int, long: int, preset: str) -> dict[str, Any]:
    """KiB of peak memory that each further frame costs."""
    peaks = {}
    with tempfile.TemporaryDirectory() as folder:
        for frames in (short, long):
            clip = Path(folder) / f"{frames}.mp4"
            write_clip(clip, frames)
            command = [sys.executable, "-m", "tests.benchmarks.memory_slope", "--child", str(clip)]
            command += ["--store", f"{folder}/{frames}", "--preset", preset]
            peaks[frames] = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])
    slope = (peaks[long] - peaks[short]) / (long - short)
    return {"peak_kib": peaks, "kib_per_frame": round(slope, 1), "preset": preset, "side": SIDE}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--short", type=int, default=60)
    parser.add_argument("--long", type=int, default=600)
    parser.add_argument("--preset", default="pocket")
    parser.add_argument("--child")
    parser.add_argument("--store")
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.store, arguments.preset)
    else:
        print(json.dumps(measure(arguments.short, arguments.long, arguments.preset), indent=1))
