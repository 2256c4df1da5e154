"""`docs/pocket.md` from a record: every figure and every verdict on it is computed, none is written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.benchmarks.pocket_quality import autoencoder, inversion, loading, styles, text
from tests.benchmarks.pocket_quality.bars import Bar, table

PARTS = {
    "loading": ("Size and loading", loading),
    "autoencoder": ("Round trip of the autoencoder", autoencoder),
    "styles": ("Styles", styles),
    "text": ("Words and colours", text),
    "inversion": ("Inversion and back", inversion),
}


def bars_of(parts: Mapping[str, Any]) -> list[Bar]:
    """Lines of the summary, of the parts that were measured."""
    return [bar for name, (_, part) in PARTS.items() if name in parts for bar in part.bars(parts[name])]


def page(parts: Mapping[str, Any], weights: str) -> str:
    """The whole page; every part says with which command it was made."""
    commands = sorted({part["command"] for part in parts.values()})
    made = f"Made by `{commands[0]}`" if len(commands) == 1 else "Made part by part, by the command beside each,"
    missing = [name for name in PARTS if name not in parts]
    lines = [
        "# pocket: is it worth looking at?",
        "",
        f"{made} from weights `{weights[:12]}` (digest of the model's files).",
        "None of the clips, frames and scenes was trained on.",
        "",
        table(["bar", "wanted", "figure", ""], [bar.row() for bar in bars_of(parts)]),
        "",
    ]
    if missing:
        lines += [f"Not measured in this run: {', '.join(missing)}.", ""]
    for name, (title, part) in PARTS.items():
        if name in parts:
            found = parts[name]
            made = f"`{found['command']}`, {found['seconds']} s for this part, on {found['machine']}"
            lines += [f"## {title}", "", made, "", part.section(found)]
    return "\n".join(lines).rstrip() + "\n"
