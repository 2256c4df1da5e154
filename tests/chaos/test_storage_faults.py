"""A store that is slow, fails, tears, is behind, full or forbidden: the result is the undisturbed one all the same."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.faults import Death, Plan
from tests.chaos.forked import Orders, fork
from tests.chaos.ledger import Trial
from tests.chaos.watching import Reader

STEPS = 8
QUICK = {"model": {"path": "dry"}}
OURS = {"StoreError", "TornArtifact", "LeaseLost"}  # what a run may end with when its store is no longer bearable

Open = Callable[[str, int], Trial]
Plans = Callable[[random.Random, dict[str, Any]], Plan]

PASSING: dict[str, Plans] = {
    "slow": lambda draw, usual: Plan(delay=draw.uniform(0.005, 0.03)),
    "failing": lambda draw, usual: Plan(errors=draw.uniform(0.02, 0.2)),
    "lost replies": lambda draw, usual: Plan(lost_replies=draw.uniform(0.02, 0.2)),
    "torn objects": lambda draw, usual: Plan(torn=draw.uniform(0.02, 0.2)),
    "old listings": lambda draw, usual: Plan(stale=draw.uniform(0.2, 2.0)),
    "all of it": lambda draw, usual: Plan(delay=0.005, errors=0.05, lost_replies=0.05, torn=0.05, stale=0.5),
}
LASTING: dict[str, tuple[Plans, str]] = {
    "disk full": (
        lambda draw, usual: Plan(quota=draw.randrange(100, usual["bytes"] * 9 // 10)),
        r"No space left on device; free some space",
    ),
    "permission lost": (
        lambda draw, usual: Plan(denied_from=draw.randrange(1, usual["requests"] * 9 // 10)),
        r"Permission denied; give this user read and write permission",
    ),
}
DEATHS: dict[str, Death] = {
    "dies before a write": "before",
    "dies before a rename": "temporary",
    "dies in an object": "torn",
    "dies after a write": "after",
}


def orders(clip: Path, store: Path, plan: Plan | None, seed: int) -> Orders:
    planned = None if plan is None else {**asdict(plan), "seed": seed}
    return Orders(str(clip), str(store), fault=True, job=QUICK, plan=planned)


@pytest.mark.parametrize("kind", PASSING)
def test_a_store_that_stumbles_costs_time_only(
    kind: str, chaos_seed: int, clip: Path, undisturbed: dict[str, Any], tmp_path: Path, trial: Open
) -> None:
    row, store = trial(kind, chaos_seed), tmp_path / "store"
    plan = PASSING[kind](random.Random(f"{kind} {chaos_seed}"), undisturbed)
    with Reader(store) as reader:
        told = fork(orders(clip, store, plan, chaos_seed)).ended()
        assert told is not None
        row.struck += told["delayed" if kind == "slow" else "injected"]
        assert row.struck, "nothing was injected"
        if "error" in told:  # too much at once is allowed to end the run, with one sentence of ours
            assert told["error"] in OURS, told["trace"]
            told = fork(orders(clip, store, None, 0)).result()
        again = fork(orders(clip, store, plan, chaos_seed + 1000)).ended()
    row.judge(told, undisturbed, reader)
    assert again is not None
    if "error" in again:
        assert again["error"] in OURS, again["trace"]
    else:
        assert set(again["stages"].values()) == {"reused"}
        assert again["computed"] == 0


@pytest.mark.parametrize("kind", LASTING)
def test_a_store_that_gives_out_ends_with_one_sentence_and_the_rest_is_done_later(
    kind: str, chaos_seed: int, clip: Path, undisturbed: dict[str, Any], tmp_path: Path, trial: Open
) -> None:
    row, store = trial(kind, chaos_seed), tmp_path / "store"
    planned, sentence = LASTING[kind]
    plan = planned(random.Random(f"{kind} {chaos_seed}"), undisturbed)
    with Reader(store) as reader:
        told = fork(orders(clip, store, plan, chaos_seed)).ended()
        assert told is not None
        committed = newest_commit(store)
        # the limit is below what an undisturbed run needs
        assert told.get("error") == "StoreError", told.get("trace", f"nothing was injected: {plan}")
        row.struck += 1
        assert "\n" not in told["message"]
        assert sentence.split("; ")[0] in told["message"], told["message"]
        assert sentence.split("; ")[1] in told["message"], told["message"]
        result = fork(orders(clip, store, None, 0)).result()
    row.judge(result, undisturbed, reader)
    assert result["computed"] <= undisturbed["total"] * (1 - committed / STEPS)


@pytest.mark.parametrize("kind", DEATHS)
def test_a_death_in_the_middle_of_a_write_leaves_a_store_to_go_on_from(
    kind: str, chaos_seed: int, clip: Path, undisturbed: dict[str, Any], tmp_path: Path, trial: Open
) -> None:
    row, store, draw = trial(kind, chaos_seed), tmp_path / "store", random.Random(f"{kind} {chaos_seed}")
    with Reader(store) as reader:
        for writes in (undisturbed["writes"] * 9 // 10, undisturbed["writes"] // 3):  # and again on what the first left
            plan = Plan(dies_at=draw.randrange(writes), death=DEATHS[kind])
            told = fork(orders(clip, store, plan, chaos_seed)).ended()
            row.struck += told is None
            assert row.struck, f"nothing was injected: {plan}"  # of the second there may be too little left to do
        committed = newest_commit(store)
        result = fork(orders(clip, store, None, 0)).result()
    row.judge(result, undisturbed, reader)
    assert result["computed"] <= undisturbed["total"] * (1 - committed / STEPS)


def newest_commit(store: Path) -> int:
    """The highest committed step that reads, 0 when none (a torn commit is no commit)."""
    found = [0]
    for path in store.glob("steps/*/commit-*.json"):
        try:
            found.append(int(json.loads(path.read_text())["step"]))
        except ValueError:
            continue
    return max(found)
