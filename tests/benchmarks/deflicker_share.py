"""What the deflicker takes of denoising when matches are cached: `python -m tests.benchmarks.deflicker_share`.

CPU time of one lane. `blend` is reading stored matches, remapping and blending; `exchange` what the engine spends on
handing decoded frames to neighbouring windows; `vae` the passes through the autoencoder that only the deflicker needs.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch as replaced

from models import corrections
from models.corrections import Deflicker
from models.methods.restyle import deflicker_steps
from tasks.denoise import denoise
from tasks.engine import shard
from tests.benchmarks.clips import benchmark_clips
from tests.benchmarks.jobs import pocket_job
from tests.benchmarks.staged import prepared


@contextmanager
def timed(spent: dict[str, float], part: str, owner: Any, name: str) -> Iterator[None]:
    """Add the CPU time of every call of `owner.name` to `spent[part]`."""
    work: Callable[..., Any] = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return work(*args, **kwargs)
        finally:
            spent[part] = spent.get(part, 0.0) + time.thread_time() - began

    with replaced.object(owner, name, counted):
        yield


def measure(frames: int, preset: str, style: str) -> dict[str, Any]:
    """Shares of the CPU time of the denoise stage of one shot."""
    job = pocket_job(preset, style, input={"frames": (0, frames)})
    spent: dict[str, float] = {}
    with prepared(job, benchmark_clips(1)[0], lanes=1) as ready:
        ready.run.engines.engine(job.model)  # loading is no part of the stage
        with (
            timed(spent, "blend", corrections, "blend_gathered"),
            timed(spent, "vae", Deflicker, "_decode"),
            timed(spent, "vae", Deflicker, "_encode"),
            timed(spent, "exchange", shard, "stacked"),
        ):
            began = time.process_time()
            denoise(ready.run, ready.shot, ready.inputs)
            whole = time.process_time() - began
    shares = {f"{part}_share": round(seconds / whole, 3) for part, seconds in sorted(spent.items())}
    return {
        "frames": frames,
        "size": list(ready.shot.size),
        "steps": job.num_inference_steps,
        "deflicker_steps": list(deflicker_steps(job)),
        "window": job.deflicker.window,
        **shares,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--preset", default="pocket")
    parser.add_argument("--style", default="sketch")
    print(json.dumps(measure(**vars(parser.parse_args())), indent=1))
