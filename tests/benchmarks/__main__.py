"""`make bench`: run every benchmark and write `docs/benchmarks.md` from what came out."""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import denoise_overhead, flicker, memory_slope, seconds_per_frame

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"


FLICKER_NOTE = """\
`control` is the same job without the deflicker, `post` the filter after decoding alone, `filter` the style as a steady
filter of the source. Excess is (arm - steady) / (control - steady) of masked Pixel-MSE: 1 as bad as the control, 0 as
steady as the source (or the style), below 0 smoother than that, which is worth something only while fidelity and
sharpness beside it hold. `-`: the control flickers no more than what it is held against, so there is nothing to remove.
"""


def _code(value: Any) -> str:
    return "```json\n" + json.dumps(value, indent=1) + "\n```\n"


def main() -> None:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="short clips: to see that it runs, not to quote")
    quick = parser.parse_args().quick
    rows = flicker.measure(3, "sketch", 16 if quick else 40, None)
    sections = [
        (
            "Deflicker against its control arms",
            "python -m tests.benchmarks.flicker --style sketch --frames 40",
            flicker.table(rows) + "\n\n" + FLICKER_NOTE,
        ),
        (
            "Denoise stage over its bare model calls",
            "python -m tests.benchmarks.denoise_overhead",
            _code(denoise_overhead.measure(16 if quick else 88, 4 if quick else 10)),
        ),
        (
            "Peak memory over clip length",
            "python -m tests.benchmarks.memory_slope",
            _code(memory_slope.measure(60, 120 if quick else 600, "pocket" if not quick else "dry")),
        ),
        (
            "Seconds per output frame, all in",
            "python -m tests.benchmarks.seconds_per_frame",
            _code(seconds_per_frame.measure()),
        ),
    ]
    head = [
        "# Benchmarks",
        "",
        "Made by `make bench`; each section by the command under its title. Ratios are what to keep: both sides are",
        f"measured in one run on one machine (here {platform.machine()}, {torch.get_num_threads()} cores, torch "
        f"{torch.__version__}).",
    ]
    page = "\n".join(head) + "\n\n" + "\n".join(f"## {t}\n\n`{c}`\n\n{b}" for t, c, b in sections)
    PAGE.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
