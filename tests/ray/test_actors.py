"""What only real actors can show: their logs reach the driver, their refusals stay clear sentences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from configs.errors import DeviceError, StoreError, WeightsError
from configs.job import ModelConfig
from tasks.engine.ray import RayEngine, connect
from tasks.store import Store


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    connect(None, 2)
    yield
    ray.shutdown()


def test_actor_logs_reach_the_driver_once(cluster: None, tmp_path: Path) -> None:
    engine = RayEngine(Store.open(str(tmp_path), workers=2).url, ModelConfig(path="dry"), "cpu", 2)
    said = [text for _, text in engine.logs()]
    assert sum("dry loaded on cpu" in text for text in said) == 2
    assert engine.logs() == []
    engine.close()


def test_a_constructor_that_refuses_says_our_sentence(cluster: None, tmp_path: Path) -> None:
    store = Store.open(str(tmp_path), workers=1)
    with pytest.raises(WeightsError, match="/nowhere"):
        RayEngine(store.url, ModelConfig(path="/nowhere"), "cpu", 1)


def test_more_workers_than_the_cluster_has_is_refused_at_once(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"99 workers need 99 CPU"):
        RayEngine(Store.open(str(tmp_path), workers=1).url, ModelConfig(path="dry"), "cpu", 99)


def test_a_store_that_workers_do_not_share_is_refused(
    cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when `file://` means another disk on every machine: what the driver writes, no worker sees."""
    elsewhere = Store.open(str(tmp_path / "elsewhere"), workers=1)
    monkeypatch.setattr("tasks.engine.ray.Store.attach", lambda url: elsewhere)
    with pytest.raises(StoreError, match="not one store on every machine: 1 of 1"):
        RayEngine(Store.open(str(tmp_path / "here"), workers=1).url, ModelConfig(path="dry"), "cpu", 1)
