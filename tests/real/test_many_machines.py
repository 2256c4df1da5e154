"""Ray over several machines with logical GPUs: workers are placed by GPU, all machines serve, no bit changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from configs.errors import DeviceError
from tasks.engine.pool import EnginePool
from tasks.pipeline import restyle_video
from tasks.run import Run
from tasks.store import Store
from tests.real.drive import digests, small_job


@pytest.fixture(scope="module")
def machines() -> Iterator[Cluster]:
    """A head without GPUs and two machines with two logical GPUs each."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(2):
        cluster.add_node(num_cpus=2, num_gpus=2)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def test_workers_spread_over_machines_by_gpu_and_change_no_bit(
    machines: Cluster, s3: str, clip: Path, tmp_path: Path
) -> None:
    """The store is on S3: what another machine cannot see is no store of a cluster."""
    here = Store.open(str(tmp_path / "store"), workers=0)
    with EnginePool(here.url, 0, "cpu") as engines:
        alone = restyle_video(Run(small_job(tmp_path / "alone"), str(clip), here, engines))
    shared = Store.open(s3, workers=4)
    with EnginePool(shared.url, 4, "auto", machines.address) as engines:
        together = restyle_video(Run(small_job(tmp_path / "together"), str(clip), shared, engines))
        gpus = {node["NodeID"]: node["Resources"].get("GPU", 0) for node in ray.nodes()}
        actors = [a for a in ray.util.state.list_actors() if a.state == "ALIVE" and a.class_name == "_Actor"]
        left = ray.available_resources().get("GPU", 0)
    assert digests(together) == digests(alone)
    assert sorted(gpus.values()) == [0, 2, 2]
    assert sorted(sum(a.node_id == node for a in actors) for node in gpus) == [0, 2, 2]
    assert left == 0


def test_more_gpus_than_all_machines_have_is_refused_at_once(machines: Cluster, s3: str, clip: Path) -> None:
    with EnginePool(s3, 5, "cuda", machines.address) as engines, pytest.raises(DeviceError, match=r"5 GPU.*has 4"):
        engines.engine(small_job(Path("out")).model)
