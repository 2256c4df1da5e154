"""Remote sources on this machine's disk: each fetched once for all who work on it, gone with the last of them.

One `SourceCopies` serves a process: its lanes share what one of them fetched. Knows no frames.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tasks.video.source import local_copy


@dataclass
class _Copy:
    """One file: who fetches it holds `fetching`; `users` hold it."""

    users: int = 0
    path: Path | None = None
    kept: ExitStack = field(default_factory=ExitStack)
    fetching: threading.Lock = field(default_factory=threading.Lock)


class SourceCopies:
    """Thread-safe."""

    def __init__(self) -> None:
        self._copies: dict[tuple[str, str], _Copy] = {}
        self._lock = threading.Lock()

    @contextmanager
    def held(self, uri: str, digest: str) -> Iterator[Path]:
        """A local path of `uri`, whose content has `digest`, as long as this is open. Raises UnreadableVideo."""
        with self._lock:
            copy = self._copies.setdefault((uri, digest), _Copy())
            copy.users += 1
        try:
            with copy.fetching:
                if copy.path is None:
                    copy.path = copy.kept.enter_context(local_copy(uri))
            yield copy.path
        finally:
            with self._lock:
                copy.users -= 1
                if not copy.users:
                    del self._copies[uri, digest]
                    copy.kept.close()
