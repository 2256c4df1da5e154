"""Killing for a purpose: start a driver, wait for a moment of its run, kill what is asked for, see what is left."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 240.0


@dataclass(frozen=True)
class Moment:
    """When to strike: once commit `step` is there, and then `delay` seconds later (between two commits)."""

    step: int
    delay: float


def start(clip: Path, store: Path, *options: str) -> subprocess.Popen[str]:
    """A driver in a session of its own."""
    command = [sys.executable, "-m", "tests.chaos.drive", str(clip), str(store), *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def outcome(driver: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a driver to end well; what it printed last."""
    out, err = driver.communicate(timeout=PATIENCE)
    assert driver.returncode == 0, err[-3000:]
    result: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return result


def newest_commit(store: Path) -> int:
    """The highest committed step of any shot being denoised, -1 when none."""
    found = [re.search(r"commit-(\d+)-", p.name) for p in store.glob("steps/*/commit-*.json")]
    return max((int(m[1]) for m in found if m), default=-1)


def wait_for(moment: Moment, driver: subprocess.Popen[str], store: Path) -> bool:
    """Wait for the moment; False when the driver was through before it came."""
    deadline = time.monotonic() + PATIENCE
    while newest_commit(store) < moment.step:
        if driver.poll() is not None:
            return False
        assert time.monotonic() < deadline, f"no commit {moment.step} within {PATIENCE} s"
        time.sleep(0.002)
    time.sleep(moment.delay)
    return driver.poll() is None


def kill_driver(driver: subprocess.Popen[str]) -> None:
    """SIGKILL of the driver alone; what it started must go by itself."""
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.kill()
    driver.communicate()
    # Ray's own agents notice the loss of their node by polling; on busy cores that takes a minute or two.
    _, alive = psutil.wait_procs(family, timeout=200)
    assert not alive, f"left behind: {[p.name() for p in alive]}"


def kill_actor(driver: subprocess.Popen[str]) -> None:
    """SIGKILL of one worker process; the driver goes on."""
    actors = [p for p in psutil.Process(driver.pid).children(recursive=True) if _is_actor(p)]
    assert actors, "no actor found to kill"
    actors[0].send_signal(signal.SIGKILL)


def kill_everything(driver: subprocess.Popen[str]) -> None:
    """SIGKILL of the driver and of every process below it, as when a machine dies."""
    family = [psutil.Process(driver.pid), *psutil.Process(driver.pid).children(recursive=True)]
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    driver.communicate()
    psutil.wait_procs(family, timeout=30)


KILLS: dict[str, Callable[[subprocess.Popen[str]], None]] = {
    "driver": kill_driver,
    "actor": kill_actor,
    "everything": kill_everything,
}


def _is_actor(process: psutil.Process) -> bool:
    try:
        return any(part.startswith("ray::_Actor") for part in process.cmdline())
    except psutil.Error:
        return False
