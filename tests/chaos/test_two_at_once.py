"""Two runs that want the same: computed once, both end well; and of a run back from the dead nothing is taken."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.forked import PATIENCE, Forked, Orders, fork
from tests.chaos.killing import newest_commit
from tests.chaos.ledger import Trial
from tests.chaos.watching import Reader

STEPS, WINDOWS = 8, 6
SLOW = {"model": {"path": "dry", "dry_delay": 0.03}}
TTL = 1.5

Open = Callable[[str, int], Trial]


def test_two_runs_of_one_job_at_once_compute_it_once(
    chaos_seed: int, clip: Path, undisturbed: dict[str, Any], tmp_path: Path, trial: Open
) -> None:
    row, store, draw = trial("two at once", chaos_seed), tmp_path / "store", random.Random(f"two {chaos_seed}")
    asked = Orders(str(clip), str(store), fault=draw.random() < 0.5, job=SLOW, ttl=30.0)
    with Reader(store) as reader:
        first = fork(asked)
        time.sleep(draw.uniform(0, 1.5))
        second = fork(asked)
        row.struck += first.running()
        results = [first.result(), second.result()]
    for result in results:
        row.judge(result, undisturbed)
    row.look_at(reader)
    assert sum(result["computed"] for result in results) == undisturbed["total"]
    stages = [[r["stages"][stage] for r in results] for stage in results[0]["stages"]]
    assert all(sorted(pair) == ["computed", "reused"] for pair in stages), results
    assert results[0]["uri"] == results[1]["uri"]


def test_a_run_that_wakes_up_after_its_lease_ran_out_writes_nothing_that_counts(
    chaos_seed: int, clip: Path, undisturbed: dict[str, Any], tmp_path: Path, trial: Open
) -> None:
    """SIGSTOP in the middle; another run takes over after the TTL; SIGCONT while that works or when it is done."""
    row, store, draw = trial("zombie", chaos_seed), tmp_path / "store", random.Random(f"zombie {chaos_seed}")
    asked = Orders(str(clip), str(store), fault=draw.random() < 0.5, job=SLOW, ttl=TTL)
    sleeps_from, wakes_at = draw.randrange(1, STEPS - 2), draw.choice([None, draw.randrange(1, 3)])
    with Reader(store) as reader:
        zombie = fork(asked)
        reached(store, sleeps_from, zombie)
        time.sleep(draw.uniform(0, 0.15))
        zombie.send(signal.SIGSTOP)
        row.struck += zombie.running()
        committed = newest_commit(store)
        heir = fork(asked)
        try:
            if wakes_at is not None:
                reached(store, committed + wakes_at, heir)
            else:
                row.judge(heir.result(), undisturbed)
        finally:
            zombie.send(signal.SIGCONT)
        told = zombie.ended()
        result = heir.result()
    row.judge(result, undisturbed, reader)
    assert result["computed"] <= undisturbed["total"] - committed * WINDOWS
    assert told is not None
    if "error" in told:
        assert told["error"] == "LeaseLost", told["trace"]
        assert "another run took over" in told["message"] or "was published by epoch" in told["message"]
    else:  # it was between two stages, or woke up to find all done
        row.judge(told, undisturbed)
    after = fork(asked).result()
    assert set(after["stages"].values()) == {"reused"}
    row.judge(after, undisturbed)


def reached(store: Path, step: int, run: Forked) -> None:
    """Wait until the step is committed or the run is through."""
    deadline = time.monotonic() + PATIENCE
    while newest_commit(store) < step and run.running():
        assert time.monotonic() < deadline, f"no commit {step} within {PATIENCE} s"
        time.sleep(0.005)
