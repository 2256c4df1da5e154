"""What the deflicker takes of denoising, on a cold and on a warm store: `python -m tests.benchmarks.deflicker_share`.

CPU time of one lane over that of the stage `denoise`. `blend` is reading stored matches, remapping and blending;
`exchange` what the engine spends on handing decoded frames to neighbouring windows; `vae` the passes through the
autoencoder that only the deflicker needs. `correspond` is its own stage: `cold` searches every match, `warm` is what
the next job on the clip spends to find them. `deflicker` is blend, exchange and correspond together.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch as replaced

from models import corrections
from models.corrections import Deflicker
from models.methods.restyle import deflicker_steps
from models.patchmatch import warm_up
from tasks.denoise import denoise
from tasks.engine import shard
from tests.benchmarks import staged
from tests.benchmarks.clips import benchmark_clips
from tests.benchmarks.jobs import pocket_job


@contextmanager
def timed(
    spent: dict[str, float], part: str, owner: Any, name: str, clock: Callable[[], float] = time.thread_time
) -> Iterator[None]:
    """Add the CPU time of every call of `owner.name` to `spent[part]`."""
    work: Callable[..., Any] = getattr(owner, name)

    def counted(*args: Any, **kwargs: Any) -> Any:
        began = clock()
        try:
            return work(*args, **kwargs)
        finally:
            spent[part] = spent.get(part, 0.0) + clock() - began

    with replaced.object(owner, name, counted):
        yield


def measure(frames: int, preset: str, style: str) -> dict[str, Any]:
    """Shares of the CPU time of the denoise stage of one shot."""
    job = pocket_job(preset, style, input={"frames": (0, frames)})
    spent: dict[str, float] = {}
    warm_up(job.deflicker.patch)
    # the search has threads of its own, hence the time of the process
    with ExitStack() as stack:
        with timed(spent, "cold", staged, "correspond", time.process_time):
            ready = stack.enter_context(staged.prepared(job, benchmark_clips(1)[0], lanes=1))
        with timed(spent, "warm", staged, "correspond", time.process_time):
            staged.correspond(ready.run, ready.shot)
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
    shares = {part: seconds / whole for part, seconds in spent.items()}
    found = {store: shares.pop(store) for store in ("cold", "warm")}
    both = {store: share + shares["blend"] + shares["exchange"] for store, share in found.items()}
    return {
        "frames": frames,
        "size": list(ready.shot.size),
        "steps": job.num_inference_steps,
        "deflicker_steps": list(deflicker_steps(job)),
        "window": job.deflicker.window,
        **{f"{part}_share": round(share, 3) for part, share in sorted(shares.items())},
        "correspond_share": {store: round(share, 4) for store, share in found.items()},
        "deflicker_share": {store: round(share, 3) for store, share in both.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--preset", default="pocket")
    parser.add_argument("--style", default="sketch")
    print(json.dumps(measure(**vars(parser.parse_args())), indent=1))
