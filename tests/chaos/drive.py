"""A driver process to be killed: restyles one clip and prints digests and what it computed, as JSON on its last line.

Runs the pipeline itself, without Prefect, whose server would only make the suite slower. `restyle` is the same in a
process that is there already (`tests.chaos.forked`).
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from configs.job import RestyleJob
from configs.presets import load_preset
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run, VideoResult
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


def restyle(
    clip: str,
    url: str,
    job: RestyleJob,
    workers: int = 0,
    shard_windows: int | None = None,
    address: str | None = None,
    device: str = "cpu",
) -> dict[str, Any]:
    """Open the store at `url`, restyle the clip, and say what came of it."""
    store = Store.open(url, workers=workers)
    with EnginePool(store.url, workers, device, ray_address=address, shard_windows=shard_windows) as engines:
        return told(restyle_video(Run(job, clip, store, engines)))


def told(result: VideoResult) -> dict[str, Any]:
    """Digests, work and stages of a result, as JSON."""
    output = result.output
    return {
        "latents": output.latents_digest,
        "rgb": output.rgb_digest,
        "uri": output.uri,
        "deflicker_steps": result.deflicker_steps,
        "stages": {stage.stage: stage.status for stage in result.stages},
        **result.window_steps.model_dump(),
    }


def main() -> None:
    """Run, and print what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("clip")
    parser.add_argument("store")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--shard-windows", type=int)
    parser.add_argument("--commit-every", type=int, default=1)
    parser.add_argument("--address", help="of a running Ray cluster")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--pocket", action="store_true", help="the trained model, two steps, in place of `dry`")
    given = parser.parse_args()
    changes = {"model": load_preset("pocket")["model"], "num_inference_steps": 2} if given.pocket else {}
    job = chaos_job(given.store + "-out", commit_every=given.commit_every, **changes)
    engine = (given.workers, given.shard_windows, given.address, given.device)
    print(json.dumps(restyle(given.clip, given.store, job, *engine)))


if __name__ == "__main__":
    main()
