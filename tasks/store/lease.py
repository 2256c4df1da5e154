"""One writer per key: a lease whose epoch only grows, so that a holder back from the dead is refused.

Refuses to know what is computed under it. The file `leases/<key>/<epoch>.json` is created once, so one
claimant wins an epoch; the highest epoch holds the key. Expiry only decides who may try to take over: safety
rests on the epochs (fencing tokens), not on clocks.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from configs.errors import LeaseLost, SteadyframeError, StoreError
from tasks.store.blobs import TornArtifact
from tasks.store.keys import StageKey

if TYPE_CHECKING:
    from tasks.store.store import Store

RENEW_SECONDS = 10.0
TTL_SECONDS = 30.0
_POLL_SECONDS = 0.25


class LeaseHeld(SteadyframeError):
    """Another live run works on this key and the caller did not want to wait."""


@dataclass(frozen=True)
class Clock:
    """Where time comes from: `now()` in seconds since 1970 and `sleep(seconds)`; tests bring their own."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep


class Lease:
    """The right to write under a key while `epoch` is its newest; a context manager that releases on exit.

    `waited` tells that another holder was there first, so its result should be looked up before computing. The record
    names the stage and the keys of all that its holder leans on (`uses`), so that nobody cleans them away meanwhile.
    """

    def __init__(
        self,
        store: Store,
        key: StageKey | str,
        epoch: int,
        clock: Clock,
        waited: bool,
        uses: Sequence[str] = (),
    ) -> None:
        self._store, self.epoch, self._clock, self.waited = store, epoch, clock, waited
        self.key = key if isinstance(key, str) else key.key
        self._of = None if isinstance(key, str) else key
        self._uses = uses
        self._token = uuid.uuid4().hex
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._lost = False

    @classmethod
    def acquire(
        cls,
        store: Store,
        key: StageKey | str,
        wait: bool | Callable[[Mapping[str, Any]], None] = False,
        clock: Clock | None = None,
        heartbeat: bool = True,
        uses: Sequence[str] = (),
    ) -> Lease:
        """Take the lease of `key`: at once when free, released, expired, or its process on this host is dead.

        Else, when `wait` is False, raise LeaseHeld; when True, wait. A callable is called with the holder's
        record at each look (about 4 a second); it may report, or raise to stop waiting. After a wait, look
        the key up again. `heartbeat=False` starts no thread (call `renew` yourself). `uses` may grow while it is held.
        """
        clock = clock or Clock()
        name = key if isinstance(key, str) else key.key
        waited, seen, since = False, "", clock.now()
        while True:
            epoch, record, text = _newest(store, name)
            if text != seen:
                seen, since = text, clock.now()
            unchanged = clock.now() - since
            if epoch == 0 or _may_take(record, clock.now(), unchanged):
                lease = cls(store, key, max(epoch, store.highest_epoch(key)) + 1, clock, waited, uses)
                if lease._claim():
                    lease._forget_older()
                    if heartbeat:
                        lease._start()
                    return lease
                continue
            if wait is False:
                raise LeaseHeld(
                    f"{name} is being computed by pid {record.get('pid')} on {record.get('host')} "
                    f"(epoch {epoch}); wait for it, or stop that run"
                )
            waited = True
            if callable(wait):
                wait({"epoch": epoch, **record})
            clock.sleep(_POLL_SECONDS)

    def check(self) -> None:
        """Raise LeaseLost unless this lease is still the newest of its key; call before every commit."""
        if not self._lost:
            epoch, record, _ = _newest(self._store, self.key)
            if epoch < self.epoch:  # someone deleted our record, which is safe as long as it comes back
                self._claim()
                return
            self._lost = epoch > self.epoch or record.get("token", self._token) != self._token
        if self._lost:
            raise LeaseLost(
                f"another run took over {self.key} from epoch {self.epoch}; what was computed since "
                "the last commit is dropped, the other run continues from that commit"
            )

    def renew(self) -> None:
        """Tell others that the holder lives; LeaseLost when it is too late."""
        with self._lock:
            if self._stop.is_set():
                return
            self.check()
            self._store.blobs.put(self._path, self._record("held"))

    def release(self) -> None:
        """Let waiters go on at once. The record stays, so epochs never repeat. Idempotent."""
        with self._lock:
            if self._stop.is_set():
                return
            self._stop.set()
            try:
                self.check()
                self._store.blobs.put(self._path, self._record("released"))
            except (LeaseLost, StoreError):
                return  # nothing left to give back, or it runs out by itself

    def drop(self) -> None:
        """Give back without a record, for a key under which nothing is left; its epochs begin again."""
        with self._lock:
            self._stop.set()
            self._store.blobs.delete(self._path)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()

    @property
    def _path(self) -> str:
        return f"leases/{self.key}/{self.epoch:010d}.json"

    def _record(self, state: str) -> bytes:
        record = {"state": state, "token": self._token, "renewed": self._clock.now(), **_this_process()}
        if self._of is not None:
            inputs = [i["key"] for i in self._of.preimage.get("inputs", ()) if "key" in i]
            record |= {"stage": self._of.stage, "uses": sorted({*inputs, *self._uses})}
        return json.dumps(record).encode()

    def _claim(self) -> bool:
        return self._store.blobs.put_new(self._path, self._record("held"))

    def _forget_older(self) -> None:
        for path in self._store.blobs.children(f"leases/{self.key}")[0]:
            if (_epoch(path) or self.epoch) < self.epoch:
                self._store.blobs.delete(path)

    def _start(self) -> None:
        threading.Thread(target=self._beat, name=f"lease-{self.key[:8]}", daemon=True).start()

    def _beat(self) -> None:
        while not self._stop.wait(RENEW_SECONDS):
            try:
                self.renew()
            except LeaseLost:
                return
            except StoreError:
                continue  # a network hiccup: the next beat may get through, and check() decides in the end


def newest_epoch(store: Store, key: StageKey | str) -> int:
    """The epoch that holds (or held last) the lease of `key`; 0 when nobody ever did."""
    return _newest(store, key if isinstance(key, str) else key.key)[0]


def _newest(store: Store, name: str) -> tuple[int, dict[str, Any], str]:
    """(epoch, record, its text) of the newest lease; an unreadable record is {}, held until its TTL."""
    files = store.blobs.children(f"leases/{name}")[0]
    epoch, path = max(((e, p) for p in files if (e := _epoch(p)) is not None), default=(0, ""))
    if epoch == 0:
        return 0, {}, ""
    try:
        text = store.blobs.get(path).decode(errors="replace")
        record = json.loads(text)
    except TornArtifact:
        return epoch, {}, f"{epoch} gone"
    except ValueError:
        return epoch, {}, f"{epoch} {text}"
    return epoch, record if isinstance(record, dict) else {}, f"{epoch} {text}"


def _epoch(path: str) -> int | None:
    stem = path.rsplit("/", 1)[-1].removesuffix(".json")
    return int(stem) if stem.isdigit() else None


def _may_take(record: Mapping[str, Any], now: float, unchanged: float) -> bool:
    """Released, silent for the TTL (by its clock or by ours, in case they differ), or dead on this host."""
    if record.get("state") == "released" or unchanged > TTL_SECONDS:
        return True
    renewed = record.get("renewed")
    if isinstance(renewed, (int, float)) and now - renewed > TTL_SECONDS:
        return True
    here = _this_process()
    return record.get("host") == here["host"] and not _alive(record.get("pid"), record.get("started"))


def _this_process() -> dict[str, Any]:
    return {"host": _host(), "pid": os.getpid(), "started": psutil.Process().create_time()}


def _host() -> str:
    """Names the space in which a pid means something: this boot of this machine, this container."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as f:
            return f"{platform.node()}/{f.read().strip()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


def _alive(pid: Any, started: Any) -> bool:
    if not isinstance(pid, int) or not isinstance(started, (int, float)):
        return True
    try:
        process = psutil.Process(pid)
        # the start time tells a process from a later one of the same number; it may shift with the clock
        return process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - started) < 3.0
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
