"""A machine of the cluster goes away in the middle: its workers come up elsewhere and the result is the same."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray.cluster_utils import Cluster

from tests.chaos.killing import Moment, newest_commit, outcome, start, wait_for
from tests.chaos.ledger import Trial

pytestmark = pytest.mark.timeout(900)  # minutes of waiting for what died, on a busy machine

STEPS, WINDOWS = 8, 6

Open = Callable[[str, int], Trial]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head that computes nothing and three machines with one logical GPU and one worker's place each."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(3):
            made.add_node(num_cpus=1, num_gpus=1)
        made.wait_for_nodes()
        yield made
    finally:
        made.shutdown()


def test_a_lost_machine_costs_at_most_one_interval(
    rare_seed: int, clip: Path, undisturbed: dict[str, Any], tmp_path: Path, trial: Open, cluster: Cluster
) -> None:
    row, draw = trial("node lost", rare_seed), random.Random(f"node {rare_seed}")
    store, interval = tmp_path / "store", draw.choice([1, 2])
    options = ("--workers", "2", "--commit-every", str(interval), "--address", cluster.address)
    driver = start(clip, store, *options)
    if wait_for(Moment(draw.randrange(interval, STEPS - 2, interval), draw.uniform(0, 0.2)), driver, store):
        row.struck += 1
        cluster.remove_node(draw.choice(working(cluster)), allow_graceful=False)
    result = outcome(driver)
    row.judge(result, undisturbed)
    assert result["computed"] <= undisturbed["total"] + row.struck * WINDOWS * (interval + 1)
    assert newest_commit(store) == -1, "a finished shot keeps no commits"


def working(cluster: Cluster) -> list[Any]:
    """The nodes on which an actor of ours computes."""
    return [node for node in cluster.worker_nodes if any(map(_computes, _below(node)))]


def _below(node: Any) -> list[psutil.Process]:
    (raylet,) = node.all_processes["raylet"]
    return psutil.Process(raylet.process.pid).children()


def _computes(process: psutil.Process) -> bool:
    try:
        return any(part.startswith("ray::") and "Actor" in part for part in process.cmdline())
    except psutil.Error:
        return False
