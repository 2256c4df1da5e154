"""The two who look on: a reader that checks everything the store shows at any moment, and a count of processes left.

The reader reads the folder itself, beside whatever faults the writers meet.
"""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections import defaultdict
from pathlib import Path
from types import TracebackType

import psutil

from tasks.store import StageKey, Store
from tests.chaos.forked import server_pid

MARK = "STEADYFRAME_CHAOS_SESSION"


class Reader:
    """A thread that reads every artifact it can see, again and again, while others write; a context manager.

    `torn`: keys that `lookup` took for whole and whose parts were not what the manifest lists. `made`: when each
    manifest seen under a key was made; more than one means that finished work was done again.
    """

    def __init__(self, root: Path) -> None:
        self.torn: list[str] = []
        self.made: dict[str, set[float]] = defaultdict(set)
        self.failed: Exception | None = None
        self.rounds = 0
        self._store = Store.attach(str(root))
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="chaos-reader", daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(60)
        if self.failed is not None and error is None:
            raise self.failed

    def made_again(self) -> list[str]:
        """Keys whose finished artifact was replaced by another."""
        return [key for key, times in self.made.items() if len(times) > 1]

    def _watch(self) -> None:
        try:
            while not self._end.wait(0.05):
                self._look()
            self._look()
        except Exception as error:
            self.failed = error

    def _look(self) -> None:
        for seen in self._store.manifests():
            key = StageKey(seen.stage, seen.key, {})
            found = self._store.lookup(key)
            if found is None:
                continue  # a torn manifest counts as absent, and so it was
            self.made[found.key].add(found.created)
            if self._store.lookup(key, "digests") is None and self._store.lookup(key) == found:
                self.torn.append(f"{found.stage} {found.key}")
        self.rounds += 1


def mark_children() -> None:
    """Mark this process's environment, which all that it starts inherits, however far down."""
    os.environ.setdefault(MARK, uuid.uuid4().hex)


def left_behind(seconds: float) -> list[str]:
    """Processes with our mark that are still there after so many seconds, the fork server and we ourselves apart."""
    deadline = time.monotonic() + seconds
    while (alive := _marked()) and time.monotonic() < deadline:
        time.sleep(0.25)
    return alive


def _marked() -> list[str]:
    mark, ours = os.environ[MARK], {os.getpid(), server_pid()}
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid in ours or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if process.environ().get(MARK) == mark and not _tracks_resources(process):
                found.append(f"{process.pid} {' '.join(process.cmdline())[:120]}")
        except psutil.Error:
            continue
    return found


def _tracks_resources(process: psutil.Process) -> bool:
    """Python's own companion of the fork server."""
    return any("resource_tracker" in part for part in process.cmdline())
