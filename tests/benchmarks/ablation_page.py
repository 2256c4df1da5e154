"""The page of the ablation: tables and sentences, all from the figures it is handed; no claim is written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.benchmarks.ablation_figures import FIGURES, FILTER, ClipFigures, cell, changes, only_a_range, sentence
from tests.benchmarks.flicker import table

KINDS = {"real": "Real clips", "procedural": "Procedural clips"}


@dataclass(frozen=True)
class ClipRow:
    """A clip with all its arms; `trained`: frames of it were training material. `frames`: how many were restyled."""

    name: str
    kind: str
    style: str
    trained: bool
    frames: int
    figures: ClipFigures

    @property
    def label(self) -> str:
        """Its name, marked where the model has seen it."""
        return self.name + (" (training footage)" if self.trained else "")


HEAD = """\
# What each ingredient of the restyle does

Made by `{command}`.

{count} clips of {frames}, one style each, {setting}. The arms are cumulative:

{arms}

The first arm is the control of every ratio below."""

NOTES = """\
## How to read it

- **Pixel-MSE**: masked, along the flow of the source. **Excess** is (arm - steady) / (control - steady) of it: steady
  is the source, or the style as a steady filter of it. 1: as bad as per-frame control, 0: as steady as that,
  below 0: smoother. Flicker alone rewards blur: read it with fidelity and sharpness. A clip whose control flickers no
  more than what it is held against has no excess; a count in brackets says how many have.
- **Fidelity**: PSNR to the known filter. **Sharpness**: Laplacian energy over that of the control and of the filter;
  noise counts as sharpness, so neither more nor less is better by itself. **Seam ratio**: flicker across window borders
  over flicker inside; the filter's column says how much of it is the motion of the clip.
- **Style accuracy, structure, colour error** (Lab): by the frozen judge (`models/judge.py`, version {judge}), on one
  frame in {every}. Structure is over the filter's own.
- **Intervals**: 95 %, bootstrap over clips, one value per clip. Of the {count} differences in a table one in twenty
  leaves 0 out by chance even where nothing changes."""


def page(clips: Sequence[ClipRow], arms: Mapping[str, str], facts: Mapping[str, Any]) -> str:
    """Markdown. `arms`: name -> what it is, in order; `facts`: `command`, `setting`, `judge`, `every`."""
    lengths = sorted({clip.frames for clip in clips})
    frames = f"{lengths[0]} frames" if len(lengths) == 1 else f"{lengths[0]} to {lengths[-1]} frames"
    listed = "\n".join(f"{n}. **{name}**: {about}" for n, (name, about) in enumerate(arms.items(), 1))
    head = HEAD.format(command=facts["command"], count=len(clips), frames=frames, setting=facts["setting"], arms=listed)
    groups = [
        _group(title, [clip for clip in clips if clip.kind == kind], list(arms))
        for kind, title in KINDS.items()
        if any(clip.kind == kind for clip in clips)
    ]
    notes = NOTES.format(judge=facts["judge"], every=facts["every"], count=len(FIGURES) * (len(arms) - 1))
    return "\n\n".join([head, *groups, notes, "## Each clip", _each(clips, list(arms))]) + "\n"


def _group(title: str, clips: Sequence[ClipRow], arms: Sequence[str]) -> str:
    figures = [clip.figures for clip in clips]
    steps = {after: before for before, after in pairwise(arms)}
    sections = [
        f"## {title} ({len(clips)})",
        _table({arm: {name: [clip[arm][name] for clip in figures] for name in FIGURES} for arm in (*arms, FILTER)}),
        "What each ingredient changes (difference to the arm before it, paired by clip):",
        _table(
            {
                after: {name: changes(figures, before, after, name) for name in FIGURES}
                for after, before in steps.items()
            },
            sign=True,
        ),
        "\n".join(f"- {sentence(figures, before, after, after)}" for after, before in steps.items()),
    ]
    if only_a_range(len(clips)):
        sections.append(
            f"With {len(clips)} clips an interval is their range: a direction says that they all moved alike, no more."
        )
    return "\n\n".join(sections)


def _table(columns: Mapping[str, Mapping[str, Sequence[float]]], sign: bool = False) -> str:
    """A row per figure, a column per arm; mean and interval of one value per clip."""
    lines = ["| | " + " | ".join(columns) + " |", "|---" * (1 + len(columns)) + "|"]
    for name, figure in FIGURES.items():
        cells = (cell(values[name], figure.digits, sign) for values in columns.values())
        lines.append(f"| {figure.title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _each(clips: Sequence[ClipRow], arms: Sequence[str]) -> str:
    # the table of the flicker benchmark shows what is missing as None
    rows = [
        {
            "clip": clip.label,
            "style": clip.style,
            **{arm: {k: None if v != v else v for k, v in clip.figures[arm].items()} for arm in (*arms, FILTER)},
        }
        for clip in clips
    ]
    return table(rows, (*arms, FILTER), {name: figure.title for name, figure in FIGURES.items()})
