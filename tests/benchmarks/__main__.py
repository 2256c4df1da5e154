"""`make bench`: run the benchmarks and write `docs/benchmarks.md` from what came out.

Every finished section goes onto the page at once; `--only` measures some again, and the others stay as they are there.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
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
    forecast_error,
    guides,
    library_memory,
    memory_slope,
    nnf,
    on_gpu,
    seconds_per_frame,
    table_naive,
    warm_actors,
)
from tests.benchmarks.clips import benchmark_clips
from tests.fuzz.__main__ import summary as fuzz_summary
from tests.fuzz.campaign import base_clips
from tests.fuzz.campaign import run as run_fuzz

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


def _warm(quick: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        seconds, loads = warm_actors.measure(2, "dry" if quick else "pocket", 4, Path(folder))
    over_first = [round(taken / seconds[0], 5) for taken in seconds]
    return _code({"workers": 2, "models_loaded": loads, "start_up_over_the_first_videos": over_first})


def _forecast(quick: bool) -> str:
    return forecast_error.table(forecast_error.errors(*((8, 12) if quick else (16, 24)), 0, 1))


def _fuzz(quick: bool) -> str:
    with tempfile.TemporaryDirectory() as folder:
        clips = base_clips(Path(folder))
        *_, figures = run_fuzz(clips, range(50 if quick else 1000), Path(folder), 30.0)
    return _code(fuzz_summary(figures, len(clips)))


def _gpu(quick: bool) -> str | None:
    if torch.cuda.is_available():
        return _code(on_gpu.measure("cuda", on_gpu.TINY if quick else on_gpu.SD15))
    print(on_gpu.NO_GPU, file=sys.stderr)
    return None


@dataclass(frozen=True)
class Section:
    """One part of the page. `command` measures it alone; `text` makes it, short where asked, or None where this
    machine cannot; `apart`: only when named, for it takes minutes of its own."""

    title: str
    command: str
    text: Callable[[bool], str | None]
    apart: bool = False

    def whole(self, text: str) -> str:
        """As it stands on the page."""
        return f"## {self.title}\n\n`{self.command}`\n\n{text.strip()}\n"


SECTIONS: Mapping[str, Section] = MappingProxyType(
    {
        "flicker": Section(
            "Deflicker against its control arms",
            "python -m tests.benchmarks.flicker --style sketch --frames 40",
            _flicker,
        ),
        "nnf": Section(
            "Nearest-neighbour fields",
            "python -m tests.benchmarks.nnf",
            lambda quick: _code(nnf.measure(quick)),
        ),
        "tables": Section(
            "Blending tables against the definition, over clip length",
            "python -m tests.benchmarks.table_naive",
            lambda quick: table_naive.section(*(((8, 16), (2, 4)) if quick else ())),
        ),
        "correspondence": Section(
            "Correspondence: PatchMatch against optical flow",
            "python -m tests.benchmarks.correspondence",
            lambda quick: correspondence.section(*((1, 0, 5) if quick else (6, 3, 9))),
        ),
        "guides": Section(
            "Grain and flickering light in the guide",
            "python -m tests.benchmarks.guides",
            lambda quick: guides.section(*((1, 0, 5) if quick else (4, 4, 9))),
        ),
        "conventions": Section(
            "Pixel-MSE by convention",
            "python -m tests.benchmarks.conventions",
            _conventions,
        ),
        "overhead": Section(
            "Denoise stage over its bare model calls",
            "python -m tests.benchmarks.denoise_overhead",
            lambda quick: _code(denoise_overhead.measure(16 if quick else 88, 4 if quick else 10)),
        ),
        "share": Section(
            "What the deflicker takes of denoising, on a cold and on a warm store",
            "python -m tests.benchmarks.deflicker_share",
            lambda quick: _code(deflicker_share.measure(10 if quick else 40, "pocket", "sketch")),
        ),
        "memory": Section(
            "Peak memory over clip length",
            "python -m tests.benchmarks.memory_slope",
            lambda quick: _code(memory_slope.measure(60, 120 if quick else 600, "dry" if quick else "pocket")),
        ),
        "filter": Section(
            "Memory and time of the post filter over clip length",
            "python -m tests.benchmarks.filter_memory",
            lambda quick: _code(filter_memory.measure(*((60, 120) if quick else (600, 6000)), 2)),
        ),
        "seconds": Section(
            "Seconds per output frame, all in",
            "python -m tests.benchmarks.seconds_per_frame",
            lambda quick: _code(seconds_per_frame.measure()),
        ),
        "warm": Section(
            "Start-up of a library's videos on warm workers, over that of the first (bar: 0.05)",
            "python -m tests.benchmarks.warm_actors",
            _warm,
            apart=True,
        ),
        "forecast": Section(
            "Forecast of `plan` over the truth, second run of a similar job (bar: 0.75 to 1.25)",
            "python -m tests.benchmarks.forecast_error",
            _forecast,
            apart=True,
        ),
        "library": Section(
            "The driver's memory over a library of 200 small videos (bar: flat)",
            "python -m tests.benchmarks.library_memory",
            lambda quick: _code(library_memory.measure(12 if quick else 200, 0, 2)),
            apart=True,
        ),
        "fuzz": Section(
            "A thousand mutated videos through probe and decode (bar: no hang, no crash, peak memory stated)",
            "python -m tests.fuzz --count 1000 --json",
            _fuzz,
            apart=True,
        ),
        "gpu": Section("On a GPU", "python -m tests.benchmarks.on_gpu", _gpu),
    }
)


def sections_of(page: str) -> dict[str, str]:
    """The sections that stand on a page, whole, by their names; those it has under other titles are left out."""
    found = {part.partition("\n")[0]: f"## {part.strip()}\n" for part in re.split(r"^## ", page, flags=re.M)[1:]}
    return {name: found[section.title] for name, section in SECTIONS.items() if section.title in found}


def main() -> None:
    """Measure, print, write the page."""
    usual = [name for name, section in SECTIONS.items() if not section.apart]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short clips: to see that it runs, not to quote")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=usual)
    parser.add_argument("--out", type=Path, default=PAGE, help="the page; sections not measured stay as they are there")
    args = parser.parse_args()
    for name in args.only:
        text = SECTIONS[name].text(args.quick)
        if text is None:
            continue
        kept = sections_of(args.out.read_text(encoding="utf-8")) if args.out.exists() else {}
        kept[name] = SECTIONS[name].whole(text)
        print(kept[name], flush=True)
        made = "\n".join(kept[known] for known in SECTIONS if known in kept)
        write_whole(args.out, f"{head()}\n{made}".encode())


def head() -> str:
    """What stands above the sections."""
    lone = ", ".join(name for name, section in SECTIONS.items() if section.apart)
    return (
        "# Benchmarks\n\n"
        "Made by `make bench`, each section by the command under its title; those that take minutes of their own by\n"
        f"`python -m tests.benchmarks --only` and their name ({lone}). Ratios are what to keep: both\n"
        f"sides are measured in one run on one machine (the last one {platform.machine()}, {torch.get_num_threads()} "
        f"cores, torch {torch.__version__}).\n"
    )


if __name__ == "__main__":
    main()
