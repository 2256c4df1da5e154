"""A back end that stumbles, and listings that are old: asked again, asked by name, and never taken for an answer."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from configs.errors import StoreError
from tasks.store import Lease, StageKey, Store, stage_key
from tasks.store import patience as patience_module
from tasks.store.patience import DELAYS
from tasks.store.steps import StepLog

KEY = stage_key("denoise", 1, {"seed": 0}, {}, [], None)


class Stumbling:
    """A back end whose named request fails: before it did anything (`fails`), or after (`loses`), so many times."""

    def __init__(self, real: Any, name: str, error: Exception, fails: int = 0, loses: int = 0) -> None:
        self._real, self._name, self._error, self._fails, self._loses = real, name, error, fails, loses
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        return self._stumble(real) if name == self._name else real

    def _stumble(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def request(*given: Any) -> Any:
            self.asked += 1
            if self.asked <= self._fails:
                raise self._error
            answer = real(*given)
            if self.asked <= self._fails + self._loses:
                raise self._error
            return answer

        return request


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(patience_module.time, "sleep", seconds.append)
    return seconds


def stumble(store: Store, name: str, error: Exception, **how: int) -> Stumbling:
    store.blobs.put("warm", b"up")
    stumbling = Stumbling(store.blobs._backend, name, error, **how)
    store.blobs._backend = stumbling  # type: ignore[assignment]
    return stumbling


PASSING = [
    OSError(errno.EBUSY, "SlowDown"),
    OSError(getattr(errno, "EREMOTEIO", errno.EIO), "InternalError"),
    TimeoutError("read timed out"),
    ConnectionResetError(errno.ECONNRESET, "reset"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda e: type(e).__name__)
def test_a_request_that_fails_in_passing_is_made_again(store: Store, slept: list[float], error: Exception) -> None:
    stumbling = stumble(store, "put", error, fails=3)
    store.blobs.put("x", b"1")
    assert store.blobs.get("x") == b"1"
    assert stumbling.asked == 4
    assert all(0.5 * want <= got <= 1.5 * want for want, got in zip(DELAYS, slept, strict=False))


def test_after_some_tries_it_is_an_error_that_says_so(store: Store, slept: list[float]) -> None:
    stumbling = stumble(store, "get", TimeoutError("read timed out"), fails=99)
    with pytest.raises(StoreError, match=r"warm: TimeoutError: read timed out; it was asked several times: run the"):
        store.blobs.get("warm")
    assert stumbling.asked == len(slept) + 1 == len(DELAYS) + 1


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_what_will_not_pass_is_not_tried_again(store: Store, slept: list[float], code: int) -> None:
    stumbling = stumble(store, "put", OSError(code, "no"), fails=1)
    with pytest.raises(StoreError):
        store.blobs.put("x", b"1")
    assert (stumbling.asked, slept) == (1, [])


def test_a_store_that_never_answered_is_not_waited_for(store: Store, slept: list[float]) -> None:
    """A wrong address is said after seconds, not after a minute."""
    fresh = Store.attach(store.url)
    fresh.blobs._backend = stumbling = Stumbling(  # type: ignore[assignment]
        fresh.blobs._backend, "put", ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), fails=99
    )
    with pytest.raises(StoreError, match="Connection refused"):
        fresh.blobs.put("probe", b"1")
    assert stumbling.asked == 2


def test_a_create_whose_reply_was_lost_was_ours(store: Store, slept: list[float]) -> None:
    stumble(store, "put_new", TimeoutError("no reply"), loses=1)
    assert store.blobs.put_new("x", b"mine")
    assert not store.blobs.put_new("x", b"mine")


def test_a_create_that_another_won_meanwhile_was_not_ours(store: Store, slept: list[float]) -> None:
    stumble(store, "put_new", TimeoutError("no reply"), fails=1)
    Store.attach(store.url).blobs.put("x", b"theirs")
    assert not store.blobs.put_new("x", b"mine")


def test_a_lease_whose_reply_was_lost_is_held(store: Store, slept: list[float]) -> None:
    stumble(store, "put_new", TimeoutError("no reply"), loses=1)
    with Lease.acquire(store, KEY, heartbeat=False) as lease:
        lease.check()
        assert lease.epoch == 1


def test_a_store_that_cannot_be_asked_is_an_error_not_an_absence(store: Store, slept: list[float]) -> None:
    """Taken for an absence, it would have finished work done again."""
    store.publish(KEY, [store.write_part(KEY, "x", b"1")])
    stumble(store, "get", OSError(errno.EACCES, "denied"), fails=99)
    with pytest.raises(StoreError, match="Permission denied"):
        store.lookup(KEY)


def test_commits_that_cannot_be_read_are_not_passed_over(store: Store, slept: list[float]) -> None:
    log = StepLog(store, KEY, windows=1)
    log.commit(1, 0, [log.write(1, 0, b"state")])
    stumble(store, "get", OSError(errno.EACCES, "denied"), fails=99)
    with pytest.raises(StoreError, match="Permission denied"):
        log.newest()


def test_what_an_old_listing_does_not_show_is_asked_for_by_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.blobs._backend, "children", lambda prefix: ({}, []))
    monkeypatch.setattr(store.blobs._backend, "stats", lambda prefix: {})
    made = store.publish(KEY, [store.write_part(KEY, "x", b"1")])
    assert store.lookup(KEY) == made
    log = StepLog(store, KEY, windows=1)
    assert log.commit(1, 0, [log.write(1, 0, b"state")]).step == 1


def test_an_artifact_that_is_gone_is_absent_with_an_old_listing_too(store: Store) -> None:
    made = store.publish(KEY, [store.write_part(KEY, "x", b"1")])
    store.blobs.delete(made.parts[0].path)
    assert store.lookup(KEY) is None
    assert store.lookup(StageKey("denoise", "0" * 32, {})) is None
