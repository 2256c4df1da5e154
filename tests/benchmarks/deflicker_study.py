"""Why the deflicker's defaults are what they are: one setting changed at a time, in the loop and after it alone.

    python -m tests.benchmarks.deflicker_study [--out docs/deflicker.md] [--frames 16] [--styles ...] [--resume]

Every (clip, arm) is one job of the product. The first arm is the control: the same job without deflicker.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from configs.job import DeflickerConfig, RestyleJob
from models.pocket.styles import STYLES
from tasks.pipeline import restyle_video
from tasks.run import Run
from tasks.store import Store
from tests.benchmarks.ablation import Kept, Planned, fingerprint, planned, scratch
from tests.benchmarks.ablation_figures import FILTER, ClipFigures, cell, clip_figures
from tests.benchmarks.jobs import command_line, pocket_job

PAGE = Path(__file__).resolve().parents[2] / "docs" / "deflicker.md"
CONTROL = "no deflicker"
POST = {"steps": (), "post": True}
ARMS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        CONTROL: {"enabled": False},
        "default": {},
        "steps 1.0 only": {"steps": (1.0,)},
        "steps 0.5, 0.75": {"steps": (0.5, 0.75)},
        "steps 0.25 to 1.0": {"steps": (0.25, 0.5, 0.75, 1.0)},
        "window 1": {"window": 1},
        "window 4": {"window": 4},
        "mean": {"operator": "mean"},
        "checked": {"operator": "checked"},
        "trimmed, naive": {"operator": "trimmed", "mode": "naive"},
        "confidence, naive": {"mode": "naive"},
        "flow": {"correspondence": "flow"},
        "style vote": {"match": "style"},
        "detail 0.5": {"detail": 0.5},
        "no VAE residual": {"vae_residual": False},
        "after only, window 2": POST,
        "after only, window 4": {**POST, "window": 4},
        "in the loop and after": {"post": True},
    }
)
SHOWN = {
    "pixel_mse": ("Pixel-MSE", 1),
    "excess_flicker": ("excess over source", 2),
    "excess_over_style": ("excess over steady style", 2),
    "fidelity_psnr": ("fidelity dB", 2),
    "fidelity_gain": ("over control dB", 2),
    "sharpness_ratio": ("sharpness", 3),
    "seam_ratio": ("seam ratio", 2),
    "seam_over_filter": ("over filter's seam", 2),
    "style_accuracy": ("style accuracy", 3),
}
HEAD = """\
# The deflicker's settings

Made by `{command}`.

{count} clips of {frames} frames ({clips}), {setting}. One setting of the default is changed per arm.
Default: {default}.

Excess is (arm - steady) / (control - steady) of masked Pixel-MSE, 0 as steady as the source (or as the style as a
steady filter of it), below 0 smoother; it does not exist where the control flickers no more than that. Sharpness is
over the control's, seam ratio is flicker across window borders over flicker inside; beside it the same over that of
the steady filter, which has no windows, so its own ratio is the motion that happens to fall on borders. Mean over
clips, 95 % bootstrap interval; with so few clips an interval is little more than their range.

{table}

## Each clip

{each}
"""


def arm_job(job: RestyleJob, changes: Mapping[str, Any]) -> RestyleJob:
    """The job with some of its deflicker's settings changed. Errors: ValueError where they do not go together."""
    deflicker = DeflickerConfig.model_validate({**job.deflicker.model_dump(), **changes})
    return job.model_copy(update={"deflicker": deflicker})


def measure(clips: Sequence[Planned], jobs: Mapping[str, RestyleJob], kept: Kept, engines: Any) -> list[ClipFigures]:
    """Figures by clip and arm; what is kept already is not computed again. jobs: by style."""
    store = Store.open(engines.store_url, workers=0)
    found = []
    for clip in clips:
        rows = {}
        for arm, changes in ARMS.items():
            job = arm_job(jobs[clip.style], changes)
            name = fingerprint(job, clip.path, engines)
            if name not in kept.rows:
                began = time.perf_counter()
                metrics = restyle_video(Run(job, str(clip.path), store, engines)).output.metrics
                figures = {"result": {k: v for k, v in metrics.items() if k != "arms"}, **metrics["arms"]}
                kept.keep(name, {"clip": clip.path.name, "arm": arm, "figures": figures})
                print(f"{clip.path.name} {arm}: {time.perf_counter() - began:.1f} s", file=sys.stderr, flush=True)
            rows[arm] = kept.rows[name]["figures"]
        figures = clip_figures(rows)
        found.append({arm: {**row, **against(row, figures)} for arm, row in figures.items()})
    return found


def against(row: Mapping[str, float], figures: ClipFigures) -> dict[str, float]:
    """An arm's fidelity beside the control's, and its seams beside those of the style as a steady filter.

    The filter knows no windows: what it flickers more at their borders is the motion that happens to fall there.
    """
    return {
        "fidelity_gain": row["fidelity_psnr"] - figures[CONTROL]["fidelity_psnr"],
        "seam_over_filter": row["seam_ratio"] / figures[FILTER]["seam_ratio"],
    }


def table(clips: Sequence[ClipFigures]) -> str:
    """A row per arm."""
    lines = ["| | " + " | ".join(title for title, _ in SHOWN.values()) + " |", "|---" * (1 + len(SHOWN)) + "|"]
    for arm in (*ARMS, FILTER):
        cells = [cell([clip[arm][name] for clip in clips], digits) for name, (_, digits) in SHOWN.items()]
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure what is not kept, write the page."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--json", type=Path, default=Path("deflicker-study.json"), help="figures measured so far")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--styles", nargs="+", choices=list(STYLES), default=["sketch", "oil", "night"])
    parser.add_argument("--clips", nargs="+", default=["real"], metavar="CLIP", help="real, procedural, or names")
    args = parser.parse_args(given)
    kept = Kept(args.json, args.resume)
    with scratch() as (folder, engines):
        limits = {"out": str(folder / "out"), "input": {"frames": (0, args.frames)}}
        jobs = {style: pocket_job("pocket", style, **limits) for style in args.styles}
        clips = planned(folder, args.styles, args.frames, args.clips)
        found = measure(clips, jobs, kept, engines)
        job = jobs[args.styles[0]]
        text = HEAD.format(
            command=command_line("tests.benchmarks.deflicker_study", given),
            count=len(clips),
            frames=args.frames,
            clips=", ".join(f"{c.path.name} as {c.style}" for c in clips),
            setting=f"preset pocket, weights `{engines.facts(job.model).digest[:12]}`",
            default=", ".join(f"{k} {v}" for k, v in job.deflicker.model_dump(exclude={"enabled", "seed"}).items()),
            table=table(found),
            each="\n\n".join(
                f"**{c.path.name}, {c.style}**\n\n{table([f])}" for c, f in zip(clips, found, strict=True)
            ),
        )
    args.out.write_text(text, encoding="utf-8")
    print(f"wrote {args.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
