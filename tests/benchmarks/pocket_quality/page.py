"""`docs/pocket.md` from a record: every figure and every verdict on it is computed, none is written by hand."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import torch

from tests.benchmarks.pocket_quality import autoencoder, inversion, styles, text
from tests.benchmarks.pocket_quality.bars import Bar, table

COMMAND = "python -m tests.benchmarks.pocket_quality"
PARTS = {
    "autoencoder": ("Round trip of the autoencoder", autoencoder),
    "styles": ("Styles", styles),
    "text": ("Words and colours", text),
    "inversion": ("Inversion and back", inversion),
}


def bars_of(parts: Mapping[str, Any]) -> list[Bar]:
    """Lines of the summary, of the parts that were measured."""
    return [bar for name, (_, part) in PARTS.items() if name in parts for bar in part.bars(parts[name])]


def page(parts: Mapping[str, Any], weights: str) -> str:
    """The whole page."""
    missing = [name for name in PARTS if name not in parts]
    lines = [
        "# pocket: is it worth looking at?",
        "",
        f"Made by `{COMMAND}` from weights `{weights[:12]}` (digest of the model's files), on",
        f"{platform.machine()} with torch {torch.__version__}. None of the clips, frames and scenes was trained on.",
        "",
        table(["bar", "wanted", "figure", ""], [bar.row() for bar in bars_of(parts)]),
        "",
    ]
    if missing:
        lines += [f"Not measured in this run: {', '.join(missing)}.", ""]
    for name, (title, part) in PARTS.items():
        if name in parts:
            made = f"`{COMMAND} --parts {name}`, {parts[name]['seconds']} s"
            lines += [f"## {title}", "", made, "", part.section(parts[name])]
    return "\n".join(lines).rstrip() + "\n"
