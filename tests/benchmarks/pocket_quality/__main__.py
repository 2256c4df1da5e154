"""Measure pocket against bars 1 to 4 and write `docs/pocket.md`: `python -m tests.benchmarks.pocket_quality`.

Every finished piece is kept in the JSON file; after an interruption the same command with `--resume` goes on. With
`--parts` only those are measured anew: the page keeps the others from the JSON file, if it is of the same weights.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

import torch

from tests.benchmarks.jobs import command_line
from tests.benchmarks.pocket_quality import autoencoder, inversion, loading, styles, text
from tests.benchmarks.pocket_quality.page import PARTS, bars_of, page
from tests.benchmarks.pocket_quality.record import Record
from tests.benchmarks.pocket_quality.subject import Subject

PAGE = Path(__file__).resolve().parents[3] / "docs" / "pocket.md"


def main() -> None:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", default="pocket", help="a diffusers folder; default: the shipped weights")
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--out", type=Path, default=PAGE)
    parser.add_argument("--json", type=Path, default=Path("pocket-quality.json"), help="figures of finished pieces")
    parser.add_argument("--resume", action="store_true", help="keep what --json holds of these parts too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1, help="per model call")
    parser.add_argument("--scratch", type=Path, default=None, help="where clips and stores of this run go")
    parser.add_argument("--procedural", type=int, default=20, help="styles: procedural clips")
    parser.add_argument("--real-frames", type=int, default=16, help="styles: frames of each real clip")
    parser.add_argument("--scene-frames", type=int, default=12, help="styles: of each scene, over a window border")
    parser.add_argument("--pictures", type=int, default=80, help="text: pictures; the control arms get half as many")
    parser.add_argument("--guidance", type=float, default=2.0, help="text: guidance scale")
    parser.add_argument("--steps", type=int, default=10, help="text: sampling steps")
    parser.add_argument("--inversion-steps", type=int, default=50)
    parser.add_argument("--fixed-point", type=int, default=3, help="inversion: extra passes per step")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    subject = Subject(args.weights, args.device, args.threads)
    command = command_line("tests.benchmarks.pocket_quality", sys.argv[1:])
    record = Record(args.json, subject.digest, command, args.resume)
    if not args.resume:
        for name in args.parts:
            record.forget(name)
    counts = (args.procedural, args.real_frames, args.scene_frames)
    measures = {
        "loading": partial(loading.measure, subject, record),
        "autoencoder": partial(autoencoder.measure, subject, record),
        "styles": partial(styles.measure, subject, record, *counts, args.scratch),
        "text": partial(text.measure, subject, record, args.pictures, text.Sampling(args.steps, args.guidance)),
        "inversion": partial(inversion.measure, subject, record, args.inversion_steps, args.fixed_point),
    }
    for name in args.parts:
        record.summarise(name, measures[name]())
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(page(record.parts, subject.digest), encoding="utf-8")
    for bar in bars_of(record.parts):
        print(" | ".join(bar.row()))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
