"""What a user waits for: a whole `steadyframe restyle` at its defaults, all in, over the frames that come out."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.clips import benchmark_clips


def measure() -> dict[str, Any]:
    """Wall seconds of the command, start-up and report included, per output frame."""
    clip = benchmark_clips(1)[0]
    with tempfile.TemporaryDirectory() as folder:
        steadyframe = Path(sys.executable).with_name("steadyframe")
        command = [str(steadyframe), "restyle", str(clip), "--style", "watercolor", "--out", f"{folder}/out"]
        command += ["--store", f"{folder}/store", "--json"]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.perf_counter() - began
        result = json.loads(done.stdout)
    assert result["status"] == "completed", result["errors"]
    frames = result["outputs"][0]["frames"]
    return {
        "clip": clip.name,
        "frames": frames,
        "seconds": round(seconds, 1),
        "seconds_per_frame": round(seconds / frames, 2),
        "stages": {s["stage"]: round(s["seconds"], 1) for s in result["stages"]},
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
