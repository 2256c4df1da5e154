"""What the engine costs: the denoise stage over the bare sum of its model calls, same shapes, threads and process."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from models.backbone import Backbone
from tasks.denoise import denoise
from tasks.engine.local import LocalEngine
from tests.benchmarks.clips import benchmark_clips
from tests.benchmarks.jobs import pocket_job
from tests.benchmarks.staged import prepared


@dataclass
class _Recorder:
    """A backbone that notes the arguments of every model call, once per kind and shape, and counts them."""

    inner: Backbone
    calls: dict[str, tuple[tuple[Any, ...], int]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        if name not in ("predict", "encode", "decode"):
            return value

        def noted(*args: Any, **kwargs: Any) -> Any:
            known = self.calls.get(name, ((args, kwargs), 0))
            self.calls[name] = (known[0], known[1] + 1)
            return value(*args, **kwargs)

        return noted


def measure(frames: int, steps: int) -> dict[str, Any]:
    """Seconds of the stage, of the same calls in a plain loop, and their ratio."""
    job = pocket_job(num_inference_steps=steps, input={"frames": (0, frames)})
    clip = benchmark_clips(1)[0]
    with prepared(job, clip, lanes=1) as ready:
        began = time.perf_counter()
        engine = ready.run.engines.engine(job.model)
        assert isinstance(engine, LocalEngine)
        start_up = time.perf_counter() - began
        recorder = _Recorder(engine.lanes[0].worker.backbone)
        engine.lanes[0].worker.backbone = recorder  # type: ignore[assignment]
        began = time.perf_counter()
        done = denoise(ready.run, ready.shot, ready.inputs)
        staged = time.perf_counter() - began
        torch.set_num_threads(job.model.threads_per_call)
        bare = 0.0
        with torch.inference_mode():
            for name, ((args, kwargs), count) in recorder.calls.items():
                call = getattr(recorder.inner, name)
                call(*args, **kwargs)
                began = time.perf_counter()
                for _ in range(count):
                    call(*args, **kwargs)
                bare += time.perf_counter() - began
        return {
            "frames": frames,
            "window_steps": done.total,
            "start_up_seconds": round(start_up, 2),
            "denoise_seconds": round(staged, 2),
            "bare_model_seconds": round(bare, 2),
            "ratio": round(staged / bare, 3),
            "calls": {name: count for name, (_, count) in recorder.calls.items()},
        }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=88)
    parser.add_argument("--steps", type=int, default=10)
    print(json.dumps(measure(**vars(parser.parse_args())), indent=1))
