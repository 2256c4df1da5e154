"""`make bench`: run the benchmarks and write `docs/benchmarks.md` from what came out.

Every finished section is kept in a JSON file beside the run; `--only` measures some again and keeps the others.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tasks.publish import write_whole
from tests.benchmarks import (
    conventions,
    correspondence,
    deflicker_share,
    denoise_overhead,
    filter_memory,
    flicker,
    memory_slope,
    nnf,
    seconds_per_frame,
)
from tests.benchmarks.clips import benchmark_clips

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"

FLICKER_NOTE = """\
`control` is the same job without the deflicker, `post` the filter after decoding alone, `filter` the style as a steady
filter of the source. Excess is (arm - steady) / (control - steady) of masked Pixel-MSE: 1 as bad as the control, 0 as
steady as the source (or the style), below 0 smoother than that, which is worth something only while fidelity and
sharpness beside it hold. `-`: the control flickers no more than what it is held against, so there is nothing to remove.
"""


def _code(value: Any) -> str:
    return "```json\n" + json.dumps(value, indent=1) + "\n```\n"


def _flicker(quick: bool) -> str:
    return flicker.table(flicker.measure(3, "sketch", 16 if quick else 40, None)) + "\n\n" + FLICKER_NOTE


def _conventions(quick: bool) -> str:
    clips = benchmark_clips(2 if quick else 5)
    return conventions.table({clip.name: conventions.measure(clip, 2 if quick else 6, 512) for clip in clips}) + "\n"


# name -> (title, the command that measures it alone, text of the section; `quick` only to see that it runs)
SECTIONS: dict[str, tuple[str, str, Callable[[bool], str]]] = {
    "flicker": (
        "Deflicker against its control arms",
        "python -m tests.benchmarks.flicker --style sketch --frames 40",
        _flicker,
    ),
    "nnf": (
        "Nearest-neighbour fields",
        "python -m tests.benchmarks.nnf",
        lambda quick: _code(nnf.measure(quick)),
    ),
    "correspondence": (
        "Correspondence: PatchMatch against optical flow",
        "python -m tests.benchmarks.correspondence",
        lambda quick: correspondence.section(*((1, 0, 5) if quick else (6, 3, 9))),
    ),
    "conventions": (
        "Pixel-MSE by convention",
        "python -m tests.benchmarks.conventions",
        _conventions,
    ),
    "overhead": (
        "Denoise stage over its bare model calls",
        "python -m tests.benchmarks.denoise_overhead",
        lambda quick: _code(denoise_overhead.measure(16 if quick else 88, 4 if quick else 10)),
    ),
    "share": (
        "What the deflicker takes of denoising, correspondence cached",
        "python -m tests.benchmarks.deflicker_share",
        lambda quick: _code(deflicker_share.measure(10 if quick else 40, "pocket", "sketch")),
    ),
    "memory": (
        "Peak memory over clip length",
        "python -m tests.benchmarks.memory_slope",
        lambda quick: _code(memory_slope.measure(60, 120 if quick else 600, "dry" if quick else "pocket")),
    ),
    "filter": (
        "Memory and time of the post filter over clip length",
        "python -m tests.benchmarks.filter_memory",
        lambda quick: _code(filter_memory.measure(*((60, 120) if quick else (600, 6000)), 2)),
    ),
    "seconds": (
        "Seconds per output frame, all in",
        "python -m tests.benchmarks.seconds_per_frame",
        lambda quick: _code(seconds_per_frame.measure()),
    ),
}


def main() -> None:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short clips: to see that it runs, not to quote")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--json", type=Path, default=Path("benchmarks.json"), help="sections measured so far")
    parser.add_argument("--out", type=Path, default=PAGE)
    args = parser.parse_args()
    kept: dict[str, str] = json.loads(args.json.read_text()) if args.json.exists() else {}
    for name in args.only:
        kept[name] = SECTIONS[name][2](args.quick)
        write_whole(args.json, json.dumps(kept, indent=1).encode())
        print(f"## {SECTIONS[name][0]}\n\n{kept[name]}", flush=True)
    head = [
        "# Benchmarks",
        "",
        "Made by `make bench`; each section by the command under its title. Ratios are what to keep: both sides are",
        f"measured in one run on one machine (here {platform.machine()}, {torch.get_num_threads()} cores, torch "
        f"{torch.__version__}).",
    ]
    made = [f"## {t}\n\n`{c}`\n\n{kept[name]}" for name, (t, c, _) in SECTIONS.items() if name in kept]
    args.out.write_text("\n".join(head) + "\n\n" + "\n".join(made), encoding="utf-8")


if __name__ == "__main__":
    main()
