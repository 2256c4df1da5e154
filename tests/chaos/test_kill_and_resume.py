"""SIGKILL of driver, worker or all, at a moment drawn by seed: same digests, and hardly anything computed twice."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.killing import KILLS, Moment, newest_commit, outcome, start, wait_for
from tests.chaos.ledger import Trial

pytestmark = pytest.mark.timeout(900)  # minutes of waiting for what died, on a busy machine

Open = Callable[[str, int], Trial]
WINDOWS, STEPS = 6, 8


@pytest.mark.parametrize("kind", ["driver", "actor", "everything"])
def test_a_kill_changes_no_bit_and_costs_at_most_one_interval(
    kind: str, chaos_seed: int, clip: Path, undisturbed: dict[str, Any], tmp_path: Path, trial: Open
) -> None:
    row = trial(f"kill {kind}", chaos_seed)
    draw = random.Random(f"{kind} {chaos_seed}")
    interval = draw.choice([1, 1, 2, 3])
    # right after a commit appears, or somewhere in the step that follows
    moment = Moment(draw.randrange(interval, STEPS - interval, interval), draw.choice([0.0, draw.uniform(0, 0.4)]))
    workers = draw.choice([0, 2]) if kind != "actor" else 2
    options = ("--workers", str(workers), "--commit-every", str(interval))
    store = tmp_path / "store"
    driver = start(clip, store, *options)
    struck = wait_for(moment, driver, store)
    row.struck += struck
    if struck:
        KILLS[kind](driver)
    committed = newest_commit(store)
    if kind == "actor" or not struck:
        result = outcome(driver)
        expected = undisturbed["total"] + (WINDOWS * (interval + 1) if struck else 0)
    else:
        again = {0: 2, 2: 0}[workers] if draw.random() < 0.3 else workers
        result = outcome(start(clip, store, "--workers", str(again), "--commit-every", str(interval)))
        expected = undisturbed["total"] - committed * WINDOWS + interval * WINDOWS
    row.judge(result, undisturbed)
    assert result["computed"] <= expected
    assert result["deflicker_steps"] == undisturbed["deflicker_steps"] != []


def test_the_undisturbed_run_computes_every_window_step(undisturbed: dict[str, Any]) -> None:
    assert undisturbed["computed"] == undisturbed["total"] == WINDOWS * STEPS
