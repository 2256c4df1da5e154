"""A driver in a process of its own: restyles one clip on any store and prints digests and what it computed, as JSON."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from configs.job import RestyleJob
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoResult
from tasks.store import Store

ROOT = Path(__file__).resolve().parents[2]


def small_job(out: Path, **changes: Any) -> RestyleJob:
    """Six steps of the `dry` model on small frames, with a deflicker that reaches over several windows."""
    return RestyleJob.model_validate(
        {
            "prompt": "x",
            "model": {"path": "dry"},
            "num_inference_steps": 6,
            "start": "noised",
            "working_size": 64,
            "window": {"size": 3},
            "deflicker": {"steps": (0.5, 1.0), "window": 4},
            "report": {"max_megabytes": 0.2},
            "out": str(out),
            **changes,
        }
    )


def digests(result: VideoResult) -> tuple[str, str]:
    """What must not depend on store, workers, machines or interruptions: latents and pictures."""
    return result.output.latents_digest, result.output.rgb_digest


def started(clip: Path, store: str, out: Path, *options: str) -> subprocess.Popen[str]:
    """A driver in a session of its own."""
    command = [sys.executable, "-m", "tests.real.drive", str(clip), store, str(out), *options]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def main() -> None:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clip", type=Path)
    parser.add_argument("store")
    parser.add_argument("out", type=Path)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds per model call")
    given = parser.parse_args()
    job = small_job(given.out, model={"path": "dry", "dry_delay": given.delay})
    store = Store.open(given.store, workers=0)
    with EnginePool(store.url, 0, "cpu", lanes=1) as engines:
        result = restyle_video(Run(job, str(given.clip), store, engines))
    print(json.dumps({"digests": digests(result), "pid": os.getpid(), **result.window_steps.model_dump()}))


if __name__ == "__main__":
    main()
