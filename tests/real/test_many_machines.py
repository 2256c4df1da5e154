"""Ray over several machines with logical GPUs: workers are placed by GPU, all machines serve, no bit changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster
from ray.util import placement_group_table

from configs.errors import DeviceError
from tasks.engine.cluster import connect
from tasks.engine.pool import EnginePool
from tasks.engine.ray import RayEngine
from tasks.pipeline import restyle_video
from tasks.run import Run
from tasks.store import Store
from tests.real.drive import digests, small_job
from tests.real.parts import found_here

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def machines(s3_environment: dict[str, str]) -> Iterator[Cluster]:
    """A head without GPUs and two machines with two logical GPUs each; S3 is in the environment of them all."""
    with found_here(s3_environment):
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
        groups = [group for group in placement_group_table().values() if group["state"] == "CREATED"]
        left = ray.available_resources().get("GPU", 0)
    assert digests(together) == digests(alone)
    assert sorted(gpus.values()) == [0, 2, 2]
    (group,) = groups
    places = list(group["bundles_to_node_id"].values())
    assert sorted(places.count(node) for node in gpus) == [0, 2, 2]
    assert all(bundle["GPU"] == 1 for bundle in group["bundles"].values())
    assert left == 0


def test_more_gpus_than_all_machines_have_is_refused_at_once(machines: Cluster, s3: str, tmp_path: Path) -> None:
    connect(machines.address, 1)
    with pytest.raises(DeviceError, match=r"5 workers need 5 GPU, the Ray cluster has 4; lower --workers"):
        RayEngine(s3, small_job(tmp_path).model, "cuda", 5)
