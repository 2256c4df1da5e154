"""Does the deflicker help? Three clips, each with its control arm and the post filter alone, all four figures."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run
from tasks.store import Store
from tests.benchmarks.clips import benchmark_clips
from tests.benchmarks.jobs import pocket_job


def measure(clips: int, style: str, frames: int | None, out: str | None, **changes: Any) -> list[dict[str, Any]]:
    """One row per clip: the figures that the report shows."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(folder, workers=0)
        with EnginePool(store.url, 0, "cpu") as engines:
            for clip in benchmark_clips(clips):
                limits = {"input": {"frames": (0, frames)}} if frames else {}
                job = pocket_job(
                    style=style, out=out or folder + "/out", report={"arms": ("control", "post")}, **limits, **changes
                )
                result = restyle_video(Run(job, str(clip), store, engines))
                metrics = result.output.metrics
                arms = {"result": metrics, **metrics["arms"]}
                rows.append({"clip": Path(clip).name, "style": style, **arms})
    return rows


COLUMNS = {
    "pixel_mse": "Pixel-MSE",
    "excess_flicker": "excess over source",
    "excess_over_style": "excess over steady style",
    "fidelity_psnr": "fidelity dB",
    "sharpness_ratio": "sharpness",
    "seam_ratio": "seam ratio",
}


def table(
    rows: Sequence[Mapping[str, Any]],
    arms: Iterable[str] = ("source", "filter", "control", "post", "result"),
    columns: Mapping[str, str] = COLUMNS,
) -> str:
    """Markdown: per clip and arm, Pixel-MSE and the four figures; `-` where a figure does not exist."""
    lines = ["| clip | style | arm | " + " | ".join(columns.values()) + " |", "|---" * (3 + len(columns)) + "|"]
    for row in rows:
        for arm in arms:
            cells = [row.get(arm, {}).get(name) for name in columns]
            shown = " | ".join("-" if c is None else f"{c:.3f}" for c in cells)
            lines.append(f"| {row['clip']} | {row['style']} | {arm} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--style", action="append")
    parser.add_argument("--out")
    parser.add_argument("--set", dest="sets", default="{}", help="JSON laid over the job")
    arguments = parser.parse_args()
    changes = json.loads(arguments.sets)
    found: list[dict[str, Any]] = []
    for name in arguments.style or ["watercolor"]:
        found += measure(arguments.clips, name, arguments.frames, arguments.out, **changes)
        print(table(found), flush=True)
