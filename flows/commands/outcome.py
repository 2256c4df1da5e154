"""What a command hands back: the contract's object, more keys for scripts, and words for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, RenderableType

from flows.result import JobResult, finite
from tasks.words import duration, size

__all__ = ["Outcome", "done", "drawn", "duration", "size"]


@dataclass(frozen=True)
class Outcome:
    """`result` decides the exit code; `payload` adds keys to its JSON object; `text` is for a terminal."""

    result: JobResult
    payload: Mapping[str, Any] = field(default_factory=dict)
    text: str = ""

    @property
    def exit_code(self) -> int:
        """The exit code of the contract."""
        return self.result.exit_code

    def to_json(self) -> str:
        """One line: the contract's keys first, then the command's own."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain JSON types."""
        return {**self.result.to_dict(), **finite(dict(self.payload))}


def done(method: str, payload: Mapping[str, Any], text: str) -> Outcome:
    """Return the outcome of a command that only looks at things and found what it looked for."""
    return Outcome(JobResult(method=method, status="completed"), payload, text)


def drawn(*parts: RenderableType) -> str:
    """Draw rich tables and text as a string, in colour when stdout is a terminal."""
    console = Console(soft_wrap=True)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return capture.get()
