"""What a command hands back: the contract's object, more keys for scripts, and words for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, RenderableType

from flows.result import JobResult, finite


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
        return json.dumps({**self.result.to_dict(), **finite(dict(self.payload))}, allow_nan=False)


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


def size(count: float) -> str:
    """Bytes for people: '3.4 MB'."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration(seconds: float) -> str:
    """Seconds for people: '0.4 s', '12 s', '3 min 5 s', '2 h 4 min'."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
