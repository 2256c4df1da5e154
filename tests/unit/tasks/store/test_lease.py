"""One writer per key: who may take over and when, and that a holder back from the dead is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from configs.errors import Interrupted, LeaseLost, StoreError
from tasks.store import Lease, LeaseHeld, Store, stage_key
from tasks.store import lease as lease_module
from tasks.store.lease import Clock, newest_epoch

KEY = stage_key("denoise", 1, {"seed": 0}, {}, [], None)


@dataclass
class FakeTime:
    """A clock that moves when somebody sleeps; `on_sleep` happens then."""

    at: float = 1000.0
    on_sleep: list[Any] = field(default_factory=list)

    def clock(self) -> Clock:
        return Clock(lambda: self.at, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.at += seconds
        for event in self.on_sleep:
            event()


@pytest.fixture
def fake() -> FakeTime:
    return FakeTime()


def take(store: Store, fake: FakeTime, wait: Any = False) -> Lease:
    return Lease.acquire(store, KEY, wait, clock=fake.clock(), heartbeat=False)


def edit(store: Store, lease: Lease, **changes: Any) -> None:
    path = f"leases/{lease.key}/{lease.epoch:010d}.json"
    store.write_record(path, {**store.read_record(path), **changes})


def test_second_claimant_is_refused_until_release(store: Store, fake: FakeTime) -> None:
    with take(store, fake) as first:
        assert (first.epoch, first.waited) == (1, False)
        first.check()
        with pytest.raises(LeaseHeld, match=rf"pid {os.getpid()} on .* \(epoch 1\)"):
            take(store, fake)
    second = take(store, fake)
    assert (second.epoch, second.waited) == (2, False)
    with pytest.raises(LeaseLost, match="epoch 1"):
        first.check()


def test_loser_waits_for_release_and_is_told_to_look_again(store: Store, fake: FakeTime) -> None:
    first = take(store, fake)
    fake.on_sleep.append(lambda: first.release() if fake.at > 1005 else first.renew())
    looks: list[Mapping[str, Any]] = []
    second = take(store, fake, wait=looks.append)
    assert second.waited
    assert 1005 < fake.at < 1006
    assert looks[0]["pid"] == os.getpid()
    assert looks[0]["epoch"] == 1


def test_waiting_can_be_interrupted(store: Store, fake: FakeTime) -> None:
    take(store, fake)

    def stop(_: Mapping[str, Any]) -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        take(store, fake, wait=stop)


def test_silent_holder_is_taken_over_after_the_ttl_not_before(store: Store, fake: FakeTime) -> None:
    first = take(store, fake)
    fake.at += 29.0
    with pytest.raises(LeaseHeld):
        take(store, fake)
    first.renew()
    fake.at += 29.0
    with pytest.raises(LeaseHeld):
        take(store, fake)
    fake.at += 2.0
    second = take(store, fake)
    second.check()
    for act in (first.check, first.renew):
        with pytest.raises(LeaseLost):
            act()
    first.release()
    second.check()


@pytest.mark.parametrize("record", [{"renewed": 9e9}, {"renewed": None}, {"renewed": "x", "pid": "y"}])
def test_holder_with_a_wrong_clock_runs_out_by_ours(store: Store, fake: FakeTime, record: dict[str, Any]) -> None:
    edit(store, take(store, fake), host="elsewhere", **record)
    second = take(store, fake, wait=True)
    assert second.epoch == 2
    assert 1030 < fake.at < 1031


def test_unreadable_record_runs_out(store: Store, fake: FakeTime) -> None:
    store.blobs.put(f"leases/{KEY.key}/0000000007.json", b'{"state": "he')
    assert take(store, fake, wait=True).epoch == 8
    assert 1030 < fake.at < 1031


def test_pid_of_another_host_says_nothing(store: Store, fake: FakeTime) -> None:
    edit(store, take(store, fake), host="elsewhere", pid=2**22 + 1)
    with pytest.raises(LeaseHeld):
        take(store, fake)


def test_dead_process_on_this_host_is_taken_over_at_once(store: Store, fake: FakeTime) -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    started = psutil.Process(child.pid).create_time()
    lease = take(store, fake)
    edit(store, lease, pid=child.pid, started=started)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert take(store, fake).epoch == 2, "a defunct process that nobody has waited for is dead"
    child.wait()


def test_a_reused_pid_is_not_the_holder(store: Store, fake: FakeTime) -> None:
    lease = take(store, fake)
    edit(store, lease, started=psutil.Process().create_time() - 100)
    assert take(store, fake).epoch == 2


def test_killed_process_leaves_nothing_to_wait_for(tmp_path: Path) -> None:
    """kill -9 of a real holder with a real heartbeat; the next run starts at once."""
    code = (
        "import sys, time\nfrom tasks.store import Lease, Store\n"
        "lease = Lease.acquire(Store.attach(sys.argv[1]), 'k')\nprint('held', flush=True)\ntime.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    store = Store.attach(str(tmp_path))
    with pytest.raises(LeaseHeld):
        Lease.acquire(store, "k")
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    with Lease.acquire(store, "k") as lease:
        assert lease.epoch == 2


def test_of_racing_claimants_one_holds(store: Store) -> None:
    barrier, held, refused = threading.Barrier(6), [], []

    def claim() -> None:
        barrier.wait()
        try:
            held.append(Lease.acquire(store, KEY, heartbeat=False))
        except LeaseHeld:
            refused.append(1)

    threads = [threading.Thread(target=claim) for _ in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert (len(held), len(refused)) == (1, 5)
    held[0].check()


def test_epochs_never_go_back(store: Store, fake: FakeTime) -> None:
    """Not on release, and not when somebody deletes the leases: commits and manifests remember."""
    with take(store, fake) as lease:
        store.publish(KEY, [store.write_part(KEY, "a", b"1")], lease=lease)
    with take(store, fake) as lease:
        assert lease.epoch == 2
    assert len(store.blobs.list("leases")) == 1, "older records are tidied away"
    store.blobs.delete_tree("leases")
    with take(store, fake) as lease:
        assert lease.epoch == 2
    store.blobs.put(f"steps/{KEY.key}/commit-00003-0000000009.json", b"{}")
    with take(store, fake) as lease:
        assert lease.epoch == 10


def test_deleting_the_leases_under_a_holder_is_safe(store: Store, fake: FakeTime) -> None:
    first = take(store, fake)
    first.release()
    second = take(store, fake)
    store.blobs.delete_tree("leases")
    second.check()
    assert newest_epoch(store, KEY) == 2
    with pytest.raises(LeaseHeld):
        take(store, fake)


def test_heartbeat_renews_in_the_background_and_survives_hiccups(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "RENEW_SECONDS", 0.01)
    real, failures = store.blobs.put, [StoreError("hiccup")]

    def put(path: str, data: bytes) -> Any:
        if failures:
            raise failures.pop()
        return real(path, data)

    monkeypatch.setattr(store.blobs, "put", put)
    with Lease.acquire(store, KEY) as lease:
        path = f"leases/{lease.key}/{lease.epoch:010d}.json"
        before = store.read_record(path)["renewed"]
        until = time.monotonic() + 20
        while store.read_record(path)["renewed"] == before and time.monotonic() < until:
            time.sleep(0.01)
        assert store.read_record(path)["renewed"] > before
        assert not failures
    assert store.read_record(path)["state"] == "released"
