"""An actor is lost when its count stands still, not when a call takes long."""

from __future__ import annotations

import pytest

from tasks.engine.pulse import SILENT_SECONDS, Pulses


class Cluster:
    def __init__(self) -> None:
        self.now, self.counts = 1000.0, {"a": 1, "b": 1}

    def read(self, name: str) -> bytes | None:
        count = self.counts.get(name.rsplit(":", 1)[-1])
        return None if count is None else str(count).encode()


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def pulses(cluster: Cluster) -> Pulses:
    return Pulses(cluster.read, lambda: cluster.now)


def test_who_counts_on_is_alive_for_hours(cluster: Cluster, pulses: Pulses) -> None:
    for _ in range(1000):
        assert pulses.silent(["a", "b"]) == []
        cluster.now += 10
        cluster.counts = {name: count + 1 for name, count in cluster.counts.items()}
    assert pulses.moving("a")


def test_who_stands_still_is_silent_after_a_minute(cluster: Cluster, pulses: Pulses) -> None:
    assert pulses.silent(["a", "b"]) == []
    assert not pulses.moving("a")  # seen once tells nothing
    cluster.now += SILENT_SECONDS - 1
    cluster.counts["a"] += 1
    assert pulses.silent(["a", "b"]) == []
    assert pulses.moving("a")
    cluster.now += 1
    assert pulses.silent(["a", "b"]) == ["b"]
    assert not pulses.moving("b")


def test_who_never_counted_is_silent_too(cluster: Cluster, pulses: Pulses) -> None:
    assert pulses.silent(["c"]) == []
    cluster.now += SILENT_SECONDS
    assert pulses.silent(["c"]) == ["c"]
