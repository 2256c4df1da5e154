"""Figures that survive an interruption: every finished piece of work is written down at once, by its name.

Knows JSON and one file; refuses to know what a figure means. Figures of other weights are never mixed in.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from tasks.evaluate import plain
from tasks.publish import write_whole

VERSION = 1  # raised when a piece of the same name comes to hold other figures


class Record:
    """Pieces `{name: {"figures", "seconds"}}` and the summaries of whole parts, of one set of weights.

    resume: keep what the file holds. Errors: ConfigError if it holds figures of other weights or of another version.
    """

    def __init__(self, path: Path, weights: str, resume: bool = False) -> None:
        self.path = path
        self.held: dict[str, Any] = {"version": VERSION, "weights": weights, "pieces": {}, "parts": {}}
        if resume and path.exists():
            held = json.loads(path.read_text(encoding="utf-8"))
            if (held.get("version"), held["weights"]) != (VERSION, weights):
                theirs = f"version {held.get('version')} of weights {held['weights'][:12]}"
                raise ConfigError(f"{path} holds figures of {theirs}, not of these; leave out --resume")
            self.held = held

    @property
    def parts(self) -> dict[str, Any]:
        """Summaries by part."""
        found: dict[str, Any] = self.held["parts"]
        return found

    def piece(self, name: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Figures of a piece: those kept under `name`, else what `make` measures now."""
        pieces = self.held["pieces"]
        if name not in pieces:
            began = time.perf_counter()
            figures = plain(make())
            pieces[name] = {"figures": figures, "seconds": round(time.perf_counter() - began, 2)}
            self._write()
            print(f"{name}: {pieces[name]['seconds']:.1f} s", flush=True)
        found: dict[str, Any] = pieces[name]["figures"]
        return found

    def summarise(self, part: str, summary: Mapping[str, Any]) -> None:
        """Keep the summary of a part, with the seconds that its pieces took."""
        spent = sum(p["seconds"] for name, p in self.held["pieces"].items() if name.startswith(f"{part}/"))
        self.parts[part] = {**plain(summary), "seconds": round(spent)}
        self._write()

    def _write(self) -> None:
        write_whole(self.path, json.dumps(self.held, indent=1, allow_nan=False).encode())
