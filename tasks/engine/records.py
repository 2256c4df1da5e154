"""Log records of a worker process, kept until the driver asks: GPU machines need no way to the Prefect API."""

from __future__ import annotations

import logging
from collections import deque
from typing import Literal

Level = Literal["debug", "info", "warning", "error"]
LogLine = tuple[Level, str]
MOST = 1000


class Records(logging.Handler):
    """Keeps the last thousand lines from `steadyframe.*` (info and up) and of everything else (warnings and up)."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[LogLine] = deque(maxlen=MOST)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record."""
        if record.levelno >= logging.WARNING or record.name.startswith("steadyframe"):
            self._lines.append((_level(record.levelno), f"{record.name}: {record.getMessage()}"))

    def drain(self) -> list[LogLine]:
        """Hand over what is kept, oldest first."""
        lines = []
        while self._lines:
            lines.append(self._lines.popleft())
        return lines


def _level(number: int) -> Level:
    if number >= logging.ERROR:
        return "error"
    if number >= logging.WARNING:
        return "warning"
    return "info" if number >= logging.INFO else "debug"
