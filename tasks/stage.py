"""How any stage becomes an artifact: look its key up, else take the lease, compute, publish.

A stage is a function that writes parts; whether it must run at all, and that only one run writes, is decided here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.errors import Interrupted
from tasks.ref import Ref
from tasks.run import Progress, Run
from tasks.store import Store
from tasks.store.keys import StageKey
from tasks.store.lease import Lease
from tasks.store.manifest import Manifest, Part


@dataclass(frozen=True)
class Writing:
    """Handed to the function that computes a stage: the key it writes under and the lease it holds."""

    store: Store
    key: StageKey
    lease: Lease

    def part(self, name: str, data: bytes, meta: Mapping[str, Any] | None = None) -> Part:
        """Write one part of the artifact."""
        return self.store.write_part(self.key, name, data, dict(meta or {}))


Computed = tuple[Sequence[Part], Mapping[str, Any]]


def _listed_parts_are_all(found: Manifest) -> bool:
    return True


def run_stage(
    run: Run,
    key: StageKey,
    compute: Callable[[Writing], Computed],
    still_whole: Callable[[Manifest], bool] = _listed_parts_are_all,
) -> Ref:
    """The artifact of `key`: found (`reused`) or computed by `compute`, which returns parts and meta.

    `still_whole` is asked of a found artifact that leans on objects which are not its parts; one it denies is computed
    again. Two runs that want the same key at once: one computes, the other waits for it and finds it.
    """
    began = time.perf_counter()
    found = run.store.lookup(key)
    if found is None or not still_whole(found):
        with Lease.acquire(run.store, key, wait=_waiting(run, key), uses=run.uses) as lease:
            found = run.store.lookup(key)
            if found is not None and not still_whole(found):
                run.store.forget(key)  # under the lease: nobody else is publishing it
                found = None
            if found is None:
                parts, meta = compute(Writing(run.store, key, lease))
                seconds = time.perf_counter() - began
                manifest = run.store.publish(key, list(parts), meta=dict(meta), seconds=seconds, lease=lease)
                run.uses.append(key.key)
                return run.store.ref(manifest, "computed", seconds)
    run.uses.append(key.key)
    return run.store.ref(found, "reused", time.perf_counter() - began)


def _waiting(run: Run, key: StageKey) -> Callable[[Mapping[str, Any]], None]:
    """Say once that another run is at it, and let a stop be heard while waiting."""
    told: list[bool] = []

    def look(holder: Mapping[str, Any]) -> None:
        if not told:
            told.append(True)
            text = f"waiting for pid {holder.get('pid')} on {holder.get('host')}, which is computing this"
            run.observe(Progress(run.source, key.stage, message=text))
        if run.should_stop():
            raise Interrupted(f"stopped while waiting for another run to finish {key.stage}")

    return look
