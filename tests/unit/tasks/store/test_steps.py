"""A killed run goes on from a step that all windows finished, with the bytes that step had."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import LeaseLost
from tasks.store import Lease, Store, TornArtifact
from tasks.store.steps import Commit, StepLog
from tests.strategies import FaultyBlobs, Killed, Kind, crashes, fresh_store, fresh_url, kinds, lies, on_disk

WINDOWS, STEPS = 2, 4


def state(step: int, window: int) -> bytes:
    """What a window must hold after `step` steps, as the sampler would compute it again."""
    return f"latents of window {window} after {step} steps".encode() * 20


def do_step(log: StepLog, step: int, epoch: int = 0) -> Commit:
    return log.commit(step, epoch, [log.write(step, w, state(step, w)) for w in range(WINDOWS)])


def run(log: StepLog, epoch: int = 0, keep: str = "last") -> int:
    """Resume, do the remaining steps, prune after each; returns the step resumed at."""
    found = log.newest()
    start = found.step if found else 0
    for step in range(start + 1, STEPS + 1):
        do_step(log, step, epoch)
        log.prune(keep)
    return start


def assert_valid(log: StepLog, commit: Commit | None) -> None:
    if commit is not None:
        assert [log.read(commit, w) for w in range(WINDOWS)] == [state(commit.step, w) for w in range(WINDOWS)]


def steps_of(log: StepLog) -> list[int]:
    return [commit.step for commit in log.commits()]


@on_disk
@given(kinds, crashes, st.sampled_from(["last", "all", "every_2"]))
def test_a_kill_between_any_two_writes_leaves_a_whole_commit(kind: Kind, crash: tuple[int, Any], keep: str) -> None:
    with fresh_url(kind) as url:
        log = StepLog(Store.open(url, workers=0), "k", WINDOWS)
        try:
            run(StepLog(Store(FaultyBlobs(url, *crash)), "k", WINDOWS), keep=keep)
        except Killed:
            pass
        newest = log.newest()
        assert_valid(log, newest)
        writes_per_step = WINDOWS + 1
        if crash[0] >= 2 * writes_per_step and keep == "all":
            assert newest is not None
            assert newest.step >= crash[0] // writes_per_step or newest.step == STEPS
        assert run(log, keep=keep) == (newest.step if newest else 0)
        final = log.newest()
        assert final is not None
        assert final.step == STEPS
        assert_valid(log, final)


@on_disk
@given(kinds, lies, st.sampled_from(["last", "all"]))
def test_a_lying_disk_costs_steps_never_correctness(kind: Kind, lie: tuple[int, Any], keep: str) -> None:
    with fresh_url(kind) as url:
        log = StepLog(Store.open(url, workers=0), "k", WINDOWS)
        try:
            run(StepLog(Store(FaultyBlobs(url, *lie)), "k", WINDOWS), keep=keep)
        except TornArtifact:
            pass
        assert_valid(log, log.newest())
        run(log)
        final = log.newest()
        assert final is not None
        assert final.step == STEPS
        assert_valid(log, final)


@on_disk
@given(kinds, st.data())
def test_deleting_anything_is_safe(kind: Kind, data: st.DataObject) -> None:
    with fresh_store(kind) as store:
        log = StepLog(store, "k", WINDOWS)
        run(log, keep="all")
        for path in data.draw(st.sets(st.sampled_from(store.blobs.list()), min_size=1)):
            store.blobs.delete(path)
        assert_valid(log, log.newest())
        run(log)
        final = log.newest()
        assert final is not None
        assert final.step == STEPS
        assert_valid(log, final)


def test_a_damaged_window_sends_everyone_to_the_commit_before(store: Store) -> None:
    log = StepLog(store, "k", WINDOWS)
    run(log)
    newest = log.newest()
    assert newest is not None
    good = store.blobs.get(newest.parts[1].path)
    store.blobs.put(newest.parts[1].path, good[:-1] + b"?")
    with pytest.raises(TornArtifact, match="window 1 of step 4"):
        log.read(newest, 1)
    older = log.newest()
    assert older is not None
    assert older.step == STEPS - 1
    do_step(log, STEPS)
    assert log.newest() == newest, "doing the step again heals it"


def test_only_complete_sets_of_windows_are_commits(store: Store) -> None:
    log = StepLog(store, "k", WINDOWS)
    parts = [log.write(1, w, state(1, w)) for w in range(3)]
    for wrong in ([], parts[:1], parts[1:], parts, [parts[0], parts[0]]):
        with pytest.raises(ValueError, match=r"needs each window 0\.\.1 once"):
            log.commit(1, 0, wrong)
    with pytest.raises(ValueError, match="needs each window"):
        log.commit(2, 0, parts[:2])
    StepLog(store, "k").commit(1, 0, parts)
    assert log.newest() is None, "a commit of another number of windows is of another plan"
    assert StepLog(store, "k").newest() is not None


def test_a_step_done_again_leaves_older_commits_as_they_were(store: Store) -> None:
    log = StepLog(store, "k", WINDOWS)
    first = do_step(log, 1, epoch=1)
    second = log.commit(1, 2, [log.write(1, w, b"other bits %d" % w) for w in range(WINDOWS)])
    assert log.newest() == second
    assert log.newest(max_epoch=1) == first
    assert_valid(log, first)
    again = log.commit(1, 1, [log.write(1, w, b"third %d" % w) for w in range(WINDOWS)])
    assert again == first, "a complete commit of (step, epoch) stands"


def test_zombie_cannot_commit_and_its_late_commits_are_void(store: Store) -> None:
    log = StepLog(store, "k", WINDOWS)
    zombie = Lease.acquire(store, "k", heartbeat=False)
    do_step(log, 1, zombie.epoch)
    late = [store.blobs.get(do_step(log, s, zombie.epoch).parts[0].path) for s in (3,)]
    assert late
    late_commit = f"steps/k/commit-00003-{zombie.epoch:010d}.json"
    saved = store.blobs.get(late_commit)
    store.blobs.delete(late_commit)
    zombie.release()
    heir = Lease.acquire(store, "k", heartbeat=False)
    with pytest.raises(LeaseLost, match="epoch 2 took over from 1"):
        do_step(log, 2, zombie.epoch)
    do_step(log, 2, heir.epoch)
    store.blobs.put(late_commit, saved)  # the zombie passed its check before and writes only now
    newest = log.newest()
    assert newest is not None
    assert (newest.step, newest.epoch) == (2, 2)
    assert [(c.step, c.epoch) for c in log.commits()] == [(2, 2), (1, 1)]


def test_order_is_by_step_then_epoch(store: Store) -> None:
    log = StepLog(store, "k", WINDOWS)
    for step, epoch in [(1, 1), (2, 1), (3, 2), (12, 3), (9, 3)]:
        do_step(log, step, epoch)
    assert [(c.step, c.epoch) for c in log.commits()] == [(12, 3), (9, 3), (3, 2), (2, 1), (1, 1)]


@pytest.mark.parametrize(
    ("keep", "n", "left"),
    [("last", 2, [7, 6]), ("last", 1, [7]), ("all", 1, [7, 6, 5, 4, 3, 2, 1]), ("every_3", 2, [7, 6, 3])],
)
def test_prune_keeps_what_was_asked_and_no_orphans(store: Store, keep: str, n: int, left: list[int]) -> None:
    log = StepLog(store, "k", WINDOWS)
    for step in range(1, 8):
        do_step(log, step)
    log.write(2, 0, b"left by a killed run")
    ahead = log.write(8, 0, b"being written for the next commit")
    log.prune(keep, n)
    assert steps_of(log) == left
    assert store.blobs.exists(ahead.path)
    if keep != "all":
        assert len(store.blobs.list("steps")) == len(left) * (WINDOWS + 1) + 1
    log.clear()
    assert store.blobs.list("steps") == []


def test_parts_shared_by_two_commits_survive_the_pruning_of_one(store: Store) -> None:
    log = StepLog(store, "k", WINDOWS)
    do_step(log, 1, epoch=1)
    do_step(log, 1, epoch=2)
    log.prune("last", 1)
    newest = log.newest()
    assert newest is not None
    assert newest.epoch == 2
    assert_valid(log, newest)


@pytest.mark.parametrize(("keep", "n"), [("every_0", 2), ("some", 2), ("last", 0)])
def test_unknown_ways_to_keep_are_refused(store: Store, keep: str, n: int) -> None:
    with pytest.raises(ValueError, match="keep must be"):
        StepLog(store, "k").prune(keep, n)


def test_part_that_went_away_is_not_committed(store: Store) -> None:
    log = StepLog(store, "k", WINDOWS)
    parts = [log.write(1, w, state(1, w)) for w in range(WINDOWS)]
    store.blobs.delete(parts[0].path)
    with pytest.raises(TornArtifact, match="went away"):
        log.commit(1, 0, parts)
    assert log.newest() is None
