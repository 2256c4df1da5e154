"""`python -m tests.fuzz --count 1000`: the table of hangs, crashes, classes and memory; exit code 1 when one is bad."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.fuzz.campaign import Figures, base_clips, run

MEGA = 1 << 20


def main() -> None:
    """Run the campaign and print what came of it."""
    parser = argparse.ArgumentParser(description="Mutated videos through probe and decode, in a guarded process.")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, default=30.0, help="what one file may take")
    parser.add_argument("--keep", type=Path, help="folder for the files with bad ends")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="steadyframe-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    clips = base_clips(folder)
    figures = Figures()
    for done, figures in enumerate(run(clips, range(given.first, given.first + given.count), folder, given.seconds), 1):
        if done % 50 == 0:
            print(f"{done} of {given.count}, {len(figures.bad)} bad", file=sys.stderr, flush=True)
    print(json.dumps(summary(figures, len(clips))) if given.json else "\n".join(table(figures, len(clips))))
    for case, verdict in figures.bad:
        print(f"BAD {case.number} {case.kind.name}: {case.damage}: {verdict.ended}: {verdict.said}", file=sys.stderr)
    sys.exit(bool(figures.bad))


def summary(figures: Figures, kinds: int) -> dict[str, object]:
    """The figures as JSON."""
    return {
        "files": figures.ended.total(),
        "kinds": kinds,
        "hangs": figures.hangs,
        "crashes": figures.crashes,
        "bad": len(figures.bad),
        "ended": dict(figures.ended.most_common()),
        "peak_bytes": figures.peak,
        "base_bytes": figures.base,
        "slowest_seconds": round(figures.seconds, 2),
    }


def table(figures: Figures, kinds: int) -> list[str]:
    """The figures for people: ends in columns, kinds of clip in rows."""
    ends = [name for name, _ in figures.ended.most_common()]
    head = f"{'clip':<22}" + "".join(f"{end:>{max(8, len(end) + 2)}}" for end in ends)
    rows = [
        f"{kind:<22}" + "".join(f"{count[end]:>{max(8, len(end) + 2)}}" for end in ends)
        for kind, count in (*sorted(figures.by_kind.items()), ("all", figures.ended))
    ]
    return [
        head,
        *rows,
        "",
        f"{figures.ended.total()} files of {kinds} kinds: {figures.hangs} hangs, {figures.crashes} crashes, "
        f"{len(figures.bad)} ends that are not promised",
        f"peak memory {figures.peak / MEGA:.0f} MB, of which {figures.base / MEGA:.0f} MB before the first file: "
        f"{figures.peak_of}",
        f"slowest {figures.seconds:.1f} s: {figures.seconds_of}",
    ]


if __name__ == "__main__":
    main()
