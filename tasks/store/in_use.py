"""Who works in a store right now: the keys under live leases, and all that their holders said they lean on.

Judged by the time the store itself gives a record when it is renewed, so clocks that differ do no harm. Decides
nothing about what may go.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from configs.errors import StoreError
from tasks.store.lease import TTL_SECONDS
from tasks.store.store import Store


@dataclass(frozen=True)
class InUse:
    """`keys` held or leaned on; `stages` that are being computed."""

    keys: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()


def in_use(store: Store, now: float, grace: float = 0.0) -> InUse:
    """What leases speak for at `now` (the store's time, see `store_time`).

    A held lease counts while it is renewed (twice its TTL at least, in case a renewal is late), a released one for
    `grace` seconds more: its run may be between two stages.
    """
    keys, stages = set[str](), set[str]()
    for path, stat in store.blobs.stats("leases").items():
        silent = now - stat.modified
        if silent > max(grace, 2 * TTL_SECONDS):
            continue
        record = store.read_record(path)
        record = record if isinstance(record, dict) else {}
        if record.get("state") == "released" and silent > grace:
            continue
        keys.add(path.split("/")[1])
        keys.update(key for key in record.get("uses", ()) if isinstance(key, str))
        if "stage" in record:  # gangs of workers and the like have none
            stages.add(str(record["stage"]))
    return InUse(frozenset(keys), frozenset(stages))


def store_time(store: Store) -> float:
    """What the store's clock says now, in seconds since 1970; ours where it does not tell, is empty or read-only.

    Ages are differences of two readings of one clock: a host whose clock is an hour off cleans nothing too early.
    """
    if not any(store.blobs.children()):
        return time.time()
    path = f"probes/{uuid.uuid4().hex}"
    try:
        store.blobs.put(path, b"what time is it?")
        try:
            stat = store.blobs.stats("probes").get(path)
        finally:
            store.blobs.delete(path)
    except StoreError:
        return time.time()
    return stat.modified if stat is not None and stat.modified < float("inf") else time.time()
