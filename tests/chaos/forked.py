"""Runs in processes of their own that start in no time: forked from one that has imported everything already.

Real processes, so that SIGKILL and SIGSTOP are real; `workers=0`, as Ray is not to be forked. A run leaves its outcome
as JSON beside its store, or nothing when it was killed.
"""

from __future__ import annotations

import json
import os
import signal
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from multiprocessing import forkserver, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.chaos.faults import Plan

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0
_CONTEXT = get_context("forkserver")


@dataclass(frozen=True)
class Orders:
    """One run: clip, store (`fault` through the faulty file system, else plainly), job, faults, and lease times."""

    clip: str
    store: str
    fault: bool = False
    job: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] | None = None
    ttl: float = 2.0

    @property
    def url(self) -> str:
        """URL of the store."""
        return f"fault://{self.store}" if self.fault else self.store


@dataclass
class Forked:
    """A run on its way."""

    orders: Orders
    process: BaseProcess
    told: Path

    @property
    def pid(self) -> int:
        """Number of its process."""
        assert self.process.pid is not None
        return self.process.pid

    def running(self) -> bool:
        """Whether it is still there."""
        return self.process.is_alive()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL, and see it gone."""
        self.process.kill()
        self.process.join(30)

    def ended(self) -> dict[str, Any] | None:
        """Wait for the end: what it told (`error` and `message` when it failed), None when it was killed."""
        self.process.join(PATIENCE)
        if self.process.is_alive():
            self.kill()
            raise AssertionError(f"no end within {PATIENCE} s")
        told: dict[str, Any] | None = json.loads(self.told.read_text()) if self.told.exists() else None
        assert told is not None or self.process.exitcode == -signal.SIGKILL, f"ended with {self.process.exitcode}"
        return told

    def result(self) -> dict[str, Any]:
        """What it told when all went well."""
        told = self.ended()
        assert told is not None, "the run was killed"
        assert "error" not in told, told["trace"]
        return told


def fork(orders: Orders) -> Forked:
    """Start a run."""
    _warm()
    told = Path(f"{orders.store}-told-{time.monotonic_ns()}.json")
    process = _CONTEXT.Process(target=_run, args=(asdict(orders), str(told)), daemon=True)
    process.start()
    return Forked(orders, process, told)


def server_pid() -> int | None:
    """The process that all runs are forked from, if it was ever needed."""
    pid: int | None = getattr(forkserver._forkserver, "_forkserver_pid", None)
    return pid


def _warm() -> None:
    """Start the process to fork from; it finds this package by PYTHONPATH, and one thread keeps its forks sane."""
    if server_pid() is not None:
        return
    kept = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS")}
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    try:
        _CONTEXT.set_forkserver_preload(["tests.chaos.preloaded"])
        forkserver.ensure_running()
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _run(given: dict[str, Any], told: str) -> None:
    """In the forked process: obey, and leave word in one piece."""
    from tests.chaos import drive
    from tests.chaos import faults as faulty

    orders = Orders(**given)
    faults = faulty.inject(Plan(**orders.plan) if orders.plan else None)
    _short_leases(orders.ttl)
    try:
        answer = drive.restyle(orders.clip, orders.url, drive.chaos_job(orders.store + "-out", **orders.job))
    except Exception as error:
        answer = {"error": type(error).__name__, "message": str(error), "trace": traceback.format_exc()}
    counts = ("requests", "writes", "bytes", "injected", "delayed")
    answer |= {name: getattr(faults, name) for name in counts}
    Path(told + ".part").write_text(json.dumps(answer))
    os.replace(told + ".part", told)


def _short_leases(ttl: float) -> None:
    """Nobody waits half a minute for a lease here."""
    from tasks.store import lease

    lease.TTL_SECONDS, lease.RENEW_SECONDS = ttl, ttl / 4
