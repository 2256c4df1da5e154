"""Measure the five tasks and write `docs/tasks.md`: `python -m tests.benchmarks.five_tasks`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from models.metrics import bootstrap_ci
from tasks.engine.pool import EnginePool
from tasks.store import Store
from tests.benchmarks.five_tasks import recolor, reference, render3d, restore, stylize
from tests.benchmarks.five_tasks.bench import Bench, Row, by_look, mean_by_arm
from tests.benchmarks.jobs import command_line
from tests.benchmarks.pocket_quality.bars import table

PAGE = Path(__file__).resolve().parents[3] / "docs" / "tasks.md"
TASKS = {
    "stylize": ("1. Text-guided stylization", stylize),
    "reference": ("2. Image-guided stylization", reference),
    "recolor": ("3. Appearance swap", recolor),
    "restore": ("4. Restoration", restore),
    "render3d": ("5. 3D rendering", render3d),
}
HEAD = """\
# DiffSynth's five tasks

Each is a preset and one command; `docs/tasks.md` is made by `{command}`. Clips: unseen procedural scenes of {frames}
frames, {clips} of them, steady light. Means over clips with 95 % bootstrap intervals; flicker is masked Pixel-MSE along
the source's motion (0-255 scale), lower is steadier.
"""


def main() -> None:
    """Measure, print, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS))
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--out", type=Path, default=PAGE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    command = command_line("tests.benchmarks.five_tasks", sys.argv[1:])
    sections = [HEAD.format(command=command, frames=args.frames, clips=args.clips)]
    with tempfile.TemporaryDirectory() as folder, EnginePool(folder + "/store", 0, "cpu") as engines:
        bench = Bench(Path(folder), Store.open(engines.store_url, workers=0), engines, args.clips, args.frames)
        for name in args.tasks:
            title, task = TASKS[name]
            sections.append(f"## {title}\n\n    {task.COMMAND}\n\n{task.ABOUT}\n\n{shown(task.measure(bench))}\n")
            print(sections[-1], flush=True)
    args.out.write_text("\n".join(sections), encoding="utf-8")
    print(f"wrote {args.out}", file=sys.stderr)


def shown(rows: list[Row]) -> str:
    """One line per arm."""
    by = mean_by_arm(rows)
    names = list(dict.fromkeys(name for figures in by.values() for name in figures))
    lines = []
    for arm, figures in by.items():
        cells = [arm, len(next(iter(figures.values())))]
        for name in names:
            interval = bootstrap_ci(figures.get(name, []))
            cells.append(f"{interval.mean:.3g} [{interval.low:.3g}, {interval.high:.3g}]" if name in figures else None)
        lines.append(cells)
    whole = table(["arm", "clips", *names], lines)
    looks = by_look(rows, "result")
    if not looks:
        return whole
    figures = list(next(iter(looks.values())))
    each = [[look, *(f"{row[name]:.3g}" for name in figures)] for look, row in looks.items()]
    return f"{whole}\n\nThe looks behind it, `result` alone:\n\n{table(['look', *figures], each)}"


if __name__ == "__main__":
    main()
