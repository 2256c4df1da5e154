"""Which Ray a run works on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tasks.engine import cluster


@pytest.mark.parametrize(
    ("address", "joined", "ours"), [(None, "local", True), ("10.0.0.7:6379", "10.0.0.7:6379", False)]
)
def test_a_ray_that_somebody_else_started_here_is_not_joined_unasked(
    monkeypatch: pytest.MonkeyPatch, address: str | None, joined: str, ours: bool
) -> None:
    """Without an address Ray would join the last one started on the machine, and refuse our number of slots."""
    asked: list[dict[str, Any]] = []
    stand_in = SimpleNamespace(is_initialized=lambda: False, init=lambda **given: asked.append(given))
    monkeypatch.setattr(cluster, "ray", stand_in)
    assert cluster.connect(address, cpus=2) is ours
    assert [given["address"] for given in asked] == [joined]
