"""What may go from a store and what may not: by age, by size, by what is kept, and by what running jobs lean on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from tasks.store import Lease, StageKey, Store, stage_key
from tasks.store.in_use import InUse, in_use, store_time
from tasks.store.removal import CHECK_EVERY, carry_out
from tasks.store.retention import DAY, HOUR, Plan, Policy, Wanted, plan
from tasks.store.steps import StepLog
from tasks.store.survey import Survey, survey
from tests.strategies import FaultyBlobs, Killed

EAGER = Policy(grace=0.0)


def key_of(stage: str, name: object = 0, inputs: Iterable[StageKey] = ()) -> StageKey:
    made_from = [{"stage": key.stage, "key": key.key} for key in inputs]
    return stage_key(stage, 1, {"name": name}, {}, made_from, None)


def make(store: Store, key: StageKey, data: bytes = b"x" * 100, seconds: float = 1.0, **meta: Any) -> StageKey:
    store.publish(key, [store.write_part(key, "a", data)], meta=meta, seconds=seconds)
    return key


def planned(
    store: Store,
    policy: Policy,
    *,
    after: float = 0.0,
    busy: InUse | None = None,
    keep: Iterable[StageKey] = (),
    used: dict[StageKey, float] | None = None,
) -> Plan:
    """The plan as it would be `after` seconds from now; `used` is in seconds from now too."""
    now = store_time(store) + 1
    wanted = Wanted(frozenset(k.key for k in keep), {k.key: now + at for k, at in (used or {}).items()})
    return plan(survey(store), policy, busy or InUse(), now + after, wanted)


def keys(found: Plan, kind: str = "artifact") -> set[str]:
    return {item.key for item in found.items if item.kind == kind}


def test_finished_work_goes_by_the_time_since_its_last_use(store: Store) -> None:
    old, used = make(store, key_of("probe")), make(store, key_of("decode"))
    policy = Policy(older_than=30 * DAY)
    assert planned(store, policy, after=29 * DAY).items == ()
    found = planned(store, policy, after=31 * DAY, used={used: 20 * DAY})
    assert keys(found) == {old.key}
    assert found.bytes == sum(store.blobs.sizes(store.folder(old)).values())
    assert found.total == sum(store.blobs.sizes().values())
    assert keys(planned(store, Policy(), after=1000 * DAY)) == set(), "no limit, no end"


def test_kept_results_keep_all_they_were_made_from(store: Store) -> None:
    probe = make(store, key_of("probe"))
    decode = make(store, key_of("decode", inputs=[probe]))
    other = make(store, key_of("decode", 1, inputs=[probe]))
    encode = make(store, key_of("encode", inputs=[decode]))
    found = planned(store, Policy(older_than=DAY), after=9 * DAY, keep=[encode])
    assert keys(found) == {other.key}


def test_stages_can_be_named_and_excepted(store: Store) -> None:
    probe, decode = make(store, key_of("probe")), make(store, key_of("decode"))
    policy = Policy(older_than=DAY)
    assert keys(planned(store, replace(policy, stages=frozenset({"probe"})), after=9 * DAY)) == {probe.key}
    assert keys(planned(store, replace(policy, keep_stages=frozenset({"probe"})), after=9 * DAY)) == {decode.key}


def test_the_limit_on_size_takes_the_longest_unused_then_the_cheapest_by_the_byte(store: Store) -> None:
    dear = make(store, key_of("denoise", 1), b"a" * 1000, seconds=500.0)
    cheap = make(store, key_of("denoise", 2), b"b" * 1000, seconds=2.0)
    unused = make(store, key_of("denoise", 3), b"c" * 1000, seconds=900.0)
    uses = {dear: 2 * HOUR, cheap: 2 * HOUR}
    whole = sum(store.blobs.sizes().values())
    one = sum(store.blobs.sizes(store.folder(unused)).values())
    assert planned(store, Policy(max_bytes=whole), after=DAY, used=uses).items == ()
    assert keys(planned(store, Policy(max_bytes=whole - 1), after=DAY, used=uses)) == {unused.key}
    assert keys(planned(store, Policy(max_bytes=whole - one - 1), after=DAY, used=uses)) == {unused.key, cheap.key}
    nothing = planned(store, Policy(max_bytes=0), after=DAY, used=uses, keep=[dear])
    assert keys(nothing) == {unused.key, cheap.key}
    assert nothing.short == sum(store.blobs.sizes(store.folder(dear)).values())


def test_what_a_live_lease_holds_and_leans_on_stays_at_any_age(store: Store) -> None:
    probe = make(store, key_of("probe"))
    decode = make(store, key_of("decode", inputs=[probe]))
    done, idle = make(store, key_of("denoise", "shot 1")), make(store, key_of("denoise", "yesterday"))
    running = key_of("denoise", "shot 2", inputs=[decode])
    StepLog(store, running).write(1, 0, b"half way")
    with Lease.acquire(store, running, uses=[done.key]):
        busy = in_use(store, store_time(store))
        found = planned(store, Policy(older_than=DAY), after=99 * DAY, busy=busy)
        assert keys(found) == {idle.key}
        assert keys(found, "steps") == set()
        assert keys(found, "leases") == set()
        assert found.in_use == 3
    assert running.key in in_use(store, store_time(store), grace=60.0).keys, "its run may be between two stages"
    after = planned(store, Policy(older_than=DAY), after=99 * DAY, busy=in_use(store, store_time(store)))
    assert keys(after) == {probe.key, decode.key, done.key, idle.key}
    assert (keys(after, "steps"), keys(after, "leases")) == ({running.key}, {running.key})


def test_uses_are_told_while_they_grow(store: Store) -> None:
    uses: list[str] = []
    with Lease.acquire(store, key_of("denoise"), uses=uses, heartbeat=False) as lease:
        uses.append("later")
        lease.renew()
        assert "later" in in_use(store, store_time(store)).keys


def test_a_silent_lease_speaks_for_nothing(store: Store) -> None:
    lease = Lease.acquire(store, key_of("denoise"), heartbeat=False)
    assert lease.key in in_use(store, store_time(store)).keys
    assert in_use(store, store_time(store) + 61.0).keys == frozenset()


def test_nothing_young_is_touched(store: Store) -> None:
    make(store, key_of("probe"))
    store.write_part(key_of("decode"), "a", b"left by a killed run")
    StepLog(store, key_of("denoise")).write(1, 0, b"left, too")
    eager = Policy(older_than=0.0, max_bytes=0, unfinished=0.0, leases=0.0)
    assert planned(store, eager, after=HOUR - 60).items == ()
    assert len(planned(store, eager, after=HOUR + 60).items) == 3


def test_rubbish_goes_by_its_own_age(store: Store) -> None:
    done = make(store, key_of("denoise"))
    log = StepLog(store, done, windows=1)
    log.commit(1, 0, [log.write(1, 0, b"step")])
    store.write_part(done, "b", b"of another epoch")
    store.write_part(key_of("filter"), "strip", b"could be gone on from")
    store.blobs.put("probes/1234", b"probe")
    soon = planned(store, Policy(), after=2 * HOUR)
    assert {(i.kind, i.stage) for i in soon.items} == {
        ("steps", "denoise"),
        ("stray", "denoise"),
        ("probes", "probes"),
    }
    later = planned(store, Policy(), after=8 * DAY)
    assert {i.kind for i in later.items} == {"steps", "stray", "probes", "unfinished"}


def test_a_trajectory_kept_on_purpose_stays_as_long_as_its_artifact(store: Store) -> None:
    done = make(store, key_of("invert"))
    log = StepLog(store, done, windows=1)
    for step in (1, 2, 3):
        log.commit(step, 0, [log.write(step, 0, bytes([step]))])
    assert planned(store, Policy(), after=30 * DAY).items == ()
    assert {i.kind for i in planned(store, Policy(older_than=DAY), after=30 * DAY).items} == {"artifact", "steps"}


def test_matches_go_with_the_last_list_that_names_them(store: Store) -> None:
    pack = "pairs/abcd/00000/1234.parquet"
    store.blobs.put(pack, b"p" * 500)
    first = make(store, key_of("correspond", 1), packs={pack: 500})
    second = make(store, key_of("correspond", 2), packs={pack: 500})
    policy = Policy(older_than=DAY)
    assert keys(planned(store, policy, after=9 * DAY, keep=[second]), "packs") == set()
    both = planned(store, policy, after=9 * DAY)
    assert (keys(both), keys(both, "packs")) == ({first.key, second.key}, {"abcd"})
    matching = InUse(frozenset({"0" * 32}), frozenset({"correspond"}))
    assert keys(planned(store, policy, after=9 * DAY, busy=matching), "packs") == set()
    removed = carry_out(store, both, EAGER)
    assert removed.bytes == both.bytes
    assert not store.blobs.exists(pack)


def whole_or_absent(store: Store) -> Survey:
    """Every manifest that can be read stands for a whole artifact."""
    found = survey(store)
    torn = [path for left in found.unfinished.values() for path in left.objects.stats if path.endswith("manifest.json")]
    assert torn == []
    assert all(store.lookup(StageKey(a.stage, a.key, {}), "digests") for a in found.artifacts.values())
    return found


@pytest.mark.parametrize("fault", ["before", "after"])
def test_killed_at_any_write_nothing_torn_is_ever_seen(store: Store, fault: Any) -> None:
    keys_made = [make(store, key_of("denoise", n), bytes([n])) for n in range(3)]
    at, ended = 0, False
    while not ended:
        store.blobs.delete_tree("leases")  # the killer lives on, so a lease it took would be respected
        for key, n in zip(keys_made, range(3), strict=True):
            if store.lookup(key) is None:
                make(store, key, bytes([n]))
        found = planned(store, Policy(older_than=0.0, grace=0.0), after=1.0)
        try:
            carry_out(Store(FaultyBlobs(store.url, at, fault)), found, EAGER)
            ended = True
        except Killed:
            whole_or_absent(store)
        at += 1
    assert at > 6
    assert whole_or_absent(store).artifacts == {}
    assert survey(store).leases == {}, "an empty store has nothing to remember"


def test_a_job_that_came_after_the_plan_keeps_what_it_took_up(store: Store) -> None:
    taken, made_again, plain = (make(store, key_of("denoise", n)) for n in range(3))
    found = planned(store, Policy(older_than=0.0, grace=0.0), after=1.0)
    store.forget(made_again)
    make(store, made_again, b"newer")
    with Lease.acquire(store, taken):
        removed = carry_out(store, found, EAGER)
    assert {item.key for item in removed.items} == {plain.key}
    assert {item.key for item in removed.skipped} == {taken.key, made_again.key}
    assert store.lookup(taken)
    assert store.lookup(made_again)


def many_parts(store: Store) -> StageKey:
    key = key_of("denoise")
    store.publish(key, [store.write_part(key, f"w{n}", f"{n}".encode()) for n in range(200)])
    return key


def test_the_lease_is_renewed_while_much_is_deleted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of objects of S3 take longer than a lease lives."""
    key = many_parts(store)
    found = planned(store, Policy(older_than=0.0, grace=0.0), after=1.0)
    monkeypatch.setattr("tasks.store.lease.RENEW_SECONDS", 0.01)
    delete, seen = store.blobs.delete, set[bytes]()

    def slow(path: str) -> None:
        deadline = time.monotonic() + 20
        while path.startswith(store.folder(key)) and len(seen) < 3 and time.monotonic() < deadline:
            seen.add(store.blobs.get(f"leases/{key.key}/0000000001.json"))
        delete(path)

    monkeypatch.setattr(store.blobs, "delete", slow)
    removed = carry_out(store, found, EAGER)
    assert len(seen) == 3
    assert [item.key for item in removed.items] == [key.key]
    assert store.blobs.children(f"leases/{key.key}") == ({}, [])


def test_who_lost_the_lease_stops_deleting(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that took over writes parts of the same names."""
    key = many_parts(store)
    found = planned(store, Policy(older_than=0.0, grace=0.0), after=1.0)
    delete, gone = store.blobs.delete, list[str]()

    def watched(path: str) -> None:
        delete(path)
        if path.startswith(store.folder(key)):
            gone.append(path)
        if len(gone) == 10:
            store.blobs.put(f"leases/{key.key}/0000000002.json", b"{}")

    monkeypatch.setattr(store.blobs, "delete", watched)
    removed = carry_out(store, found, EAGER)
    assert [item.key for item in removed.skipped] == [key.key]
    assert len(gone) <= 10 + CHECK_EVERY
    assert len(store.blobs.list(store.folder(key))) >= 200 - 10 - CHECK_EVERY
    assert store.blobs.exists(f"leases/{key.key}/0000000002.json")


def test_what_cannot_be_removed_is_told_and_costs_the_others_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from configs.errors import StoreError

    stuck, loose = make(store, key_of("denoise", 1)), make(store, key_of("denoise", 2))
    found = planned(store, Policy(older_than=0.0, grace=0.0), after=1.0)
    delete = store.blobs.delete

    def refused(path: str) -> None:
        if path.startswith(store.folder(stuck)):
            raise StoreError("no permission")
        delete(path)

    monkeypatch.setattr(store.blobs, "delete", refused)
    removed = carry_out(store, found, EAGER)
    assert [item.key for item, _ in removed.errors] == [stuck.key]
    assert [item.key for item in removed.items] == [loose.key]
    assert store.lookup(stuck)


def test_time_is_the_stores(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose clock is a year ahead must not find everything a year old."""
    make(store, key_of("probe"))
    before = store_time(store)
    monkeypatch.setattr("tasks.store.in_use.time.time", lambda: before + 365 * DAY)
    assert abs(store_time(store) - before) < HOUR


def test_lease_records_tell_the_stage_and_its_inputs(store: Store) -> None:
    probe = key_of("probe")
    with Lease.acquire(store, key_of("decode", inputs=[probe])) as lease:
        record = json.loads(store.blobs.get(store.blobs.list(f"leases/{lease.key}")[0]))
    assert (record["stage"], record["uses"]) == ("decode", [probe.key])
