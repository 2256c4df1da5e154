"""Carrying a plan of `retention` out, beside running jobs: every key under its lease, manifest first, nothing else.

Whoever works under a key holds its lease, so it cannot be taken and the key is left alone. What an item listed is all
that goes: an object written since stays. An item that cannot be removed is told and the next one begins.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from configs.errors import LeaseLost, SteadyframeError
from tasks.store.in_use import InUse, in_use, store_time
from tasks.store.keys import StageKey
from tasks.store.lease import Lease, LeaseHeld
from tasks.store.retention import Item, Plan, Policy
from tasks.store.store import Store

LOOK_SECONDS = 1.0  # how long an answer to "who works here?" is taken for true
CHECK_EVERY = 32  # deletions between two looks whether the lease is still ours
# results before what they lean on; our own leases last, since removing takes leases
ORDER = ("record", "artifact", "stray", "unfinished", "steps", "packs", "probes", "leases")


@dataclass
class Removed:
    """What went: `items` and `bytes`; what stayed: `skipped` (in use by now, or changed), `errors` by key."""

    items: list[Item] = field(default_factory=list)
    skipped: list[Item] = field(default_factory=list)
    errors: list[tuple[Item, SteadyframeError]] = field(default_factory=list)
    temporary: int = 0  # bytes of half-written local files

    @property
    def bytes(self) -> int:
        """Bytes freed."""
        return sum(item.bytes for item in self.items) + self.temporary


def carry_out(
    store: Store,
    plan: Plan,
    policy: Policy,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Removed:
    """Remove the items of `plan`; `told(done, total)` after each."""
    removed, looking = Removed(), _Looking(store, policy)
    ordered = sorted(plan.items, key=lambda item: ORDER.index(item.kind))
    for number, item in enumerate(ordered):
        try:
            (removed.items if _remove(store, item, looking) else removed.skipped).append(item)
        except SteadyframeError as error:
            removed.errors.append((item, error))
        told(number + 1, len(ordered))
    removed.temporary = store.blobs.sweep(max(policy.grace, 60.0))
    return removed


def _remove(store: Store, item: Item, looking: _Looking) -> bool:
    """Remove one item; False where somebody uses it by now."""
    busy = looking.now()
    if item.key in busy.keys or (item.kind == "packs" and "correspond" in busy.stages):
        return False
    if item.kind in ("record", "probes", "leases", "packs"):
        return _as_seen(store, item)
    with alone(store, item.stage, item.key) as lease:
        try:
            return lease is not None and _as_seen(store, item, lease)
        except LeaseLost:  # a run works here by now, and what it writes may have the names that we were to delete
            return False


def _as_seen(store: Store, item: Item, lease: Lease | None = None) -> bool:
    """Delete the paths of an item, unless one was written again since the survey; folders left empty go too.

    Under a `lease` only as long as that holds. Errors: LeaseLost.
    """
    folders = sorted({path.rsplit("/", 1)[0] for path in item.paths}, key=len)
    if item.kind != "probes":
        stats = {path: stat for folder in folders for path, stat in store.blobs.stats(folder).items()}
        if any(stat.modified > item.used for path, stat in stats.items() if path in set(item.paths)):
            return False
    for number, path in enumerate(item.paths):
        if lease is not None and number and number % CHECK_EVERY == 0:
            lease.check()
        store.blobs.delete(path)
    if item.kind != "probes":
        for folder in reversed(folders):
            if not store.blobs.sizes(folder):
                store.blobs.delete_tree(folder)
    return True


@contextmanager
def alone(store: Store, stage: str, key: str) -> Iterator[Lease | None]:
    """Hold the lease of a key for deleting under it: None where another has it. No record of ours is left.

    It is renewed meanwhile: thousands of objects take an object store longer than a lease lives.
    """
    try:
        lease = Lease.acquire(store, StageKey(stage, key, {}), wait=False)
    except LeaseHeld:
        yield None
        return
    try:
        yield lease
    finally:
        lease.drop()


class _Looking:
    """Who works in the store, asked anew when the last answer is older than `LOOK_SECONDS`."""

    def __init__(self, store: Store, policy: Policy) -> None:
        self._store, self._policy = store, policy
        self._ahead = store_time(store) - time.time()  # the store's clock against ours
        self._asked, self._answer = 0.0, InUse()

    def now(self) -> InUse:
        """Keys in use (inputs of inputs are not followed: runs name all they lean on)."""
        if time.monotonic() - self._asked > LOOK_SECONDS:
            self._answer = in_use(self._store, time.time() + self._ahead, self._policy.grace)
            self._asked = time.monotonic()
        return self._answer
