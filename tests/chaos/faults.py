"""What goes wrong with a store, drawn by seed: the plan of a process, and who draws from it. Knows no file system.

A request is slow; it fails (503, time-out, connection reset) before it did anything; it worked and the reply is lost;
a new object is left half written; the process dies at a write; a listing is old; the disk is full; the permission is
gone. The plan is of the process (`inject`, or STEADYFRAME_FAULTS as JSON): a URL is the same with and without faults.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import fsspec

VARIABLE = "STEADYFRAME_FAULTS"
Death = Literal["before", "temporary", "torn", "after"]


@dataclass(frozen=True)
class Plan:
    """What goes wrong: rates are per request, seconds of real time, counts of this process.

    `quota`: bytes after which every write finds the disk full. `denied_from`: number of the request from which all
    are forbidden. `dies_at`: number of the write at which the process kills itself, at the `death` moment of it.
    """

    seed: int = 0
    delay: float = 0.0
    errors: float = 0.0
    lost_replies: float = 0.0
    torn: float = 0.0
    stale: float = 0.0
    quota: int | None = None
    denied_from: int | None = None
    dies_at: int | None = None
    death: Death = "before"


@dataclass
class Injector:
    """Draws by seed, and counts: `requests`, `writes`, `bytes`, and how many were made to fail or to wait."""

    plan: Plan
    requests: int = 0
    writes: int = 0
    bytes: int = 0
    injected: int = 0
    delayed: int = 0
    gone: dict[str, tuple[float, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._draw, self._lock = random.Random(f"faults {self.plan.seed}"), threading.Lock()

    def request(self, writes: int | None = None) -> tuple[str, bool]:
        """Begin a request (of so many bytes, if it writes): what to do with it, and whether the process dies of it."""
        plan = self.plan
        with self._lock:
            self.requests += 1
            dies = False
            if writes is not None:
                dies = self.writes == plan.dies_at
                self.writes, self.bytes = self.writes + 1, self.bytes + writes
            number, lot, pause, kind = self.requests, self._draw.random(), self._draw.random(), self._draw.random()
            full = writes is not None and plan.quota is not None and self.bytes > plan.quota
            denied = plan.denied_from is not None and number > plan.denied_from
            edges = [plan.errors, plan.errors + plan.lost_replies, plan.errors + plan.lost_replies + plan.torn]
            fault = next((f for f, edge in zip(("error", "lost", "torn"), edges, strict=True) if lot < edge), "")
            slow = plan.delay > 0 and pause < 0.5
            self.injected += bool(fault or full or denied or dies)
            self.delayed += slow
        if slow:
            time.sleep(2 * pause * plan.delay)
        if denied:
            raise PermissionError(errno.EACCES, "Permission denied")
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if fault == "error":
            raise _passing(kind)
        return fault, dies

    def listed(self, found: dict[str, int], born: Callable[[str], float]) -> dict[str, int]:
        """A listing as it may have been up to `stale` seconds ago: new objects missing, deleted ones still there."""
        if not self.plan.stale:
            return found
        limit = time.time() - self.plan.stale
        with self._lock:
            old = {path: size for path, size in found.items() if born(path) < limit or self._draw.random() < 0.5}
            ghosts = {path: size for path, (when, size) in self.gone.items() if when >= limit and path not in found}
            self.injected += len(old) != len(found)
        return old | ghosts


_current: list[Injector | None] = []


def inject(plan: Plan | None) -> Injector:
    """Make `plan` the plan of this process (None: a healthy store), and `fault://` known to fsspec."""
    fsspec.register_implementation("fault", "tests.chaos.faultfs.FaultFileSystem", clobber=True)
    injector = Injector(plan or Plan())
    _current[:] = [injector]
    return injector


def current() -> Injector | None:
    """The injector of this process; the first time that of the environment, if there is one."""
    if not _current:
        planned = os.environ.get(VARIABLE)
        _current[:] = [Injector(Plan(**json.loads(planned))) if planned else None]
    return _current[0]


def _passing(kind: float) -> OSError:
    """What s3fs makes of 503 SlowDown, 500 InternalError, a time-out and a dropped connection."""
    errors: list[OSError] = [
        OSError(errno.EBUSY, "SlowDown: please reduce your request rate"),
        OSError(getattr(errno, "EREMOTEIO", errno.EIO), "InternalError: we encountered an internal error"),
        TimeoutError("read timed out"),
        ConnectionResetError(errno.ECONNRESET, "connection reset by peer"),
    ]
    return errors[int(kind * len(errors))]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)  # the signal is on its way
