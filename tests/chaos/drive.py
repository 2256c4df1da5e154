"""A driver process to be killed: restyles one clip and prints digests and what it computed, as JSON on its last line.

Runs the pipeline itself, without Prefect, whose server would only make the suite slower.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from configs.job import RestyleJob
from configs.presets import load_preset
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run
from tasks.store import Store


def chaos_job(out: str, **changes: Any) -> RestyleJob:
    """Eight steps on small frames: long enough to be killed in the middle, short enough to be run fifty times."""
    return RestyleJob.model_validate(
        {
            "prompt": "x",
            "model": {"path": "dry", "dry_delay": 0.03},
            "num_inference_steps": 8,
            "start": "noised",
            "working_size": 64,
            "window": {"size": 3},
            "deflicker": {"steps": (0.5, 1.0), "window": 7},
            "report": {"max_megabytes": 0.2},
            "out": out,
            **changes,
        }
    )


def main() -> None:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("store")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--shard-windows", type=int)
    parser.add_argument("--commit-every", type=int, default=1)
    parser.add_argument("--pocket", action="store_true", help="the trained model, two steps, in place of `dry`")
    given = parser.parse_args()
    changes = {"model": load_preset("pocket")["model"], "num_inference_steps": 2} if given.pocket else {}
    job = chaos_job(given.store + "-out", commit_every=given.commit_every, **changes)
    store = Store.open(given.store, workers=given.workers)
    with EnginePool(store.url, given.workers, "cpu", shard_windows=given.shard_windows) as engines:
        result = restyle_video(Run(job, given.clip, store, engines))
    output = result.output
    print(
        json.dumps(
            {
                "latents": output.latents_digest,
                "rgb": output.rgb_digest,
                "uri": output.uri,
                "deflicker_steps": result.deflicker_steps,
                **result.window_steps.model_dump(),
            }
        )
    )


if __name__ == "__main__":
    main()
