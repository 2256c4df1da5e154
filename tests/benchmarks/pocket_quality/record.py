"""Figures that survive an interruption: every finished piece of work is written down at once, by its name.

Parts may be measured one at a time: the others stay, each with the command and the machine it was measured with.
Knows JSON and one file; refuses to know what a figure means. Figures of other weights are never mixed in.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from configs.errors import ConfigError
from tasks.evaluate import plain
from tasks.publish import write_whole

VERSION = 2  # raised when a piece of the same name comes to hold other figures


class Record:
    """Pieces `{name: {"figures", "seconds"}}` and the summaries of whole parts, of one set of weights.

    command: what measures now, as the page tells it. Figures of other weights or of another version are left behind;
    with `resume` that is a ConfigError.
    """

    def __init__(self, path: Path, weights: str, command: str, resume: bool = False) -> None:
        self.path, self.command = path, command
        self._used: set[str] = set()
        self.held: dict[str, Any] = {"version": VERSION, "weights": weights, "pieces": {}, "parts": {}}
        if path.exists():
            held = json.loads(path.read_text(encoding="utf-8"))
            if (held.get("version"), held["weights"]) == (VERSION, weights):
                self.held = held
            elif resume:
                theirs = f"version {held.get('version')} of weights {held['weights'][:12]}"
                raise ConfigError(f"{path} holds figures of {theirs}, not of these; leave out --resume")

    @property
    def parts(self) -> dict[str, Any]:
        """Summaries by part."""
        found: dict[str, Any] = self.held["parts"]
        return found

    def forget(self, part: str) -> None:
        """Measure a part anew: nothing of it is believed."""
        self.parts.pop(part, None)
        self.held["pieces"] = {n: p for n, p in self.held["pieces"].items() if not n.startswith(f"{part}/")}

    def piece(self, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Figures of a piece: those kept under `name`, else what `make` measures now."""
        pieces = self.held["pieces"]
        self._used.add(name)
        if name not in pieces:
            began = time.perf_counter()
            figures = plain(make())
            pieces[name] = {"figures": figures, "seconds": round(time.perf_counter() - began, 2)}
            self._write()
            print(f"{name}: {pieces[name]['seconds']:.1f} s", flush=True)
        found: dict[str, Any] = pieces[name]["figures"]
        return found

    def summarise(self, part: str, summary: Mapping[str, Any]) -> None:
        """Keep the summary of a part, with the command, the machine and the seconds that its pieces took."""
        spent = sum(self.held["pieces"][name]["seconds"] for name in self._used if name.startswith(f"{part}/"))
        made = {"command": self.command, "machine": f"{platform.machine()} with torch {torch.__version__}"}
        self.parts[part] = {**plain(summary), **made, "seconds": round(spent)}
        self._write()

    def _write(self) -> None:
        write_whole(self.path, json.dumps(self.held, indent=1, allow_nan=False).encode())
