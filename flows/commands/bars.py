"""Progress on stderr: a bar per stage with seconds left on a terminal, a plain line per stage elsewhere.

Called from any thread; never writes to stdout, decides nothing.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from tasks.run import Progress as Sign

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_PLAIN_EVERY = 10.0


class Observer(Protocol):
    """Takes signs of life."""

    def __call__(self, progress: Sign) -> None:
        """Show it, or not."""


@contextmanager
def observer(log_level: str = "info", stream: TextIO | None = None) -> Iterator[Observer]:
    """Yield the observer that fits stderr: bars on a terminal, lines elsewhere."""
    target = stream or sys.stderr
    threshold = _LEVELS[log_level]
    if not target.isatty():
        yield Lines(target, threshold)
        return
    bars = Progress(
        TextColumn("{task.fields[clip]}", style="dim"),
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        console=Console(file=target),
        refresh_per_second=4,
    )
    with bars:
        yield Bars(bars, threshold)


class Bars:
    """One bar per stage of the video at work; finished videos leave nothing behind but their summary."""

    def __init__(self, bars: Progress, threshold: int) -> None:
        self._bars, self._threshold = bars, threshold
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._lock = threading.Lock()

    def __call__(self, progress: Sign) -> None:
        """Move the stage's bar; print its log line above the bars."""
        with self._lock:
            if progress.message and _LEVELS[progress.level] >= self._threshold:
                self._bars.console.print(
                    progress.message, style=_STYLE.get(progress.level), markup=False, highlight=False
                )
            if not progress.stage or progress.total <= 0:
                return
            key = (progress.source, progress.stage)
            if key not in self._tasks:
                self._drop_others(progress.source)
                clip = progress.source.rstrip("/").rsplit("/", 1)[-1][-24:]
                self._tasks[key] = self._bars.add_task(progress.stage, total=progress.total, clip=clip)
            self._bars.update(self._tasks[key], completed=progress.done, total=progress.total)

    def _drop_others(self, source: str) -> None:
        for key in [key for key in self._tasks if key[0] != source]:
            self._bars.remove_task(self._tasks.pop(key))


@dataclass
class _Last:
    time: float
    finished: bool


class Lines:
    """A line when a stage begins, ends, and every ten seconds between."""

    def __init__(self, stream: TextIO, threshold: int) -> None:
        self._stream, self._threshold = stream, threshold
        self._last: dict[tuple[str, str], _Last] = {}
        self._lock = threading.Lock()

    def __call__(self, progress: Sign) -> None:
        """Write a line if one is due."""
        with self._lock:
            if progress.message and _LEVELS[progress.level] >= self._threshold:
                self._write(f"{progress.level}: {progress.message}")
            if not progress.stage or progress.total <= 0:
                return
            key, now = (progress.source, progress.stage), time.monotonic()
            last = self._last.get(key)
            finished = progress.done >= progress.total
            due = last is None or (finished and not last.finished) or now - last.time >= _PLAIN_EVERY
            if due and self._threshold <= _LEVELS["info"]:
                self._write(f"{progress.source}: {progress.stage} {progress.done}/{progress.total}")
                self._last[key] = _Last(now, finished)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


_STYLE = {"warning": "yellow", "error": "red", "debug": "dim"}
