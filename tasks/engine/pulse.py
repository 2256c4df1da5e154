"""Signs of life of actors: each counts in the cluster's key-value store for as long as its process runs.

A call is no way to ask. One behind a step of two hours is answered in two hours, and Ray sends a caller's calls in
order: behind a call whose arguments are still being computed elsewhere it is not even sent. Healthy actors were killed
for that. Knows no worker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

BEAT_SECONDS = 5.0
SILENT_SECONDS = 60.0  # a busy machine may keep a process waiting, a kernel the interpreter's lock


def beat(actor: str) -> None:
    """Count for this actor, from a thread that ends with its process."""
    threading.Thread(target=_beat_for_ever, args=(_name(actor),), name="pulse", daemon=True).start()


def _beat_for_ever(name: str) -> None:
    from ray.experimental.internal_kv import _internal_kv_put

    count = 0
    while True:
        count += 1
        with suppress(Exception):  # the store may be starting again; what it raises then differs by version
            _internal_kv_put(name, str(count).encode())
        time.sleep(BEAT_SECONDS)


def forget(actors: Iterable[str]) -> None:
    """Their counts are of no use any more."""
    from ray.experimental.internal_kv import _internal_kv_del

    for actor in actors:
        _internal_kv_del(_name(actor))


def _read(name: str) -> bytes | None:
    from ray.experimental.internal_kv import _internal_kv_get

    found: bytes | None = _internal_kv_get(name)
    return found


@dataclass
class _Seen:
    count: bytes | None
    since: float
    moved: bool = False


class Pulses:
    """What a driver has seen of its actors' counts, by its own clock."""

    def __init__(
        self, read: Callable[[str], bytes | None] = _read, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._read, self._clock = read, clock
        self._seen: dict[str, _Seen] = {}

    def silent(self, actors: Sequence[str]) -> list[str]:
        """Look at these actors; those whose count has stood still for `SILENT_SECONDS`."""
        now = self._clock()
        for actor in actors:
            count, before = self._read(_name(actor)), self._seen.get(actor)
            if before is None or before.count != count:
                self._seen[actor] = _Seen(count, now, before is not None)
        return [actor for actor in actors if now - self._seen[actor].since >= SILENT_SECONDS]

    def moving(self, actor: str) -> bool:
        """Whether its count has been seen to go up since the first look at it, and is not silent."""
        seen = self._seen.get(actor)
        return seen is not None and seen.moved and self._clock() - seen.since < SILENT_SECONDS


def _name(actor: str) -> str:
    return f"steadyframe:pulse:{actor}"
