"""`clean` and `verify` on an S3 protocol server: ages from its clock, removal beside leases, damage found."""

from __future__ import annotations

from flows.maintenance import Keeping, clean, verify
from tasks.store import Lease, Store, stage_key
from tasks.store.audit import Which
from tasks.store.in_use import in_use, store_time
from tasks.store.retention import DAY, Policy, Wanted, plan
from tasks.store.steps import StepLog
from tasks.store.survey import survey


def test_clean_and_verify_on_s3(store: Store) -> None:
    kept, gone, torn = (stage_key("denoise", 1, {"n": n}, {}, [], None) for n in range(3))
    for key in (kept, gone, torn):
        store.publish(key, [store.write_part(key, "a", b"whole")])
    log = StepLog(store, gone, windows=1)
    log.commit(1, 0, [log.write(1, 0, b"step")])
    assert verify(store, Which()).whole
    (part,) = (path for path in store.blobs.list(store.folder(torn)) if "part-" in path)
    store.blobs.put(part, b"wh0le")
    found = verify(store, Which(), repair=True)
    assert ([t.key for t in found.torn], found.repaired) == ([torn.key], 1)
    assert store.blobs.list(store.folder(torn)) == []

    now = store_time(store)
    young = plan(survey(store), Policy(older_than=DAY), in_use(store, now), now + 23 * 3600, Wanted())
    old = plan(survey(store), Policy(older_than=DAY), in_use(store, now), now + 25 * 3600, Wanted())
    assert {i.kind for i in young.items} == {"steps"}
    assert {i.key for i in old.items if i.kind == "artifact"} == {kept.key, gone.key}

    policy = Policy(older_than=-5.0, grace=-5.0, leases=-5.0)  # a listing tells whole seconds only
    with Lease.acquire(store, kept):
        done = clean(store, policy, Keeping(last=0), dry=False)
        assert done.removed is not None
        assert done.removed.errors == []
        assert store.lookup(kept)
    assert store.lookup(gone) is None
    assert store.blobs.list(f"steps/{gone.key}") == []
    assert verify(store, Which()).whole
