"""What a Prefect server holds before deployments: the work pool, its queues with priorities, the limit on GPU gangs.

    python -m infra.provision [--gangs 2] [--store s3://bucket/store]

Speaks to the server of PREFECT_API_URL. Run it as often as you like: what is there is brought up to date, what others
made is left alone. `infra/prefect.yaml` relies on these names; automations are `infra.automations`.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from types import MappingProxyType

import fsspec
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists

POOL = "steadyframe"
QUEUES: Mapping[str, int] = MappingProxyType({"people": 1, "nightly": 10})
"""Priority by queue, 1 first: a run that somebody waits for goes before the night's library."""
GANG_LIMIT = "gpu-gang"


def provision(client: SyncPrefectClient, gangs: int = 1, runs: int | None = None) -> None:
    """Create or update everything. `gangs`: jobs that may hold workers at the same time; `runs`: flow runs at a time in
    the whole pool, None for no limit.
    """
    try:
        client.create_work_pool(WorkPoolCreate(name=POOL, type="process", concurrency_limit=runs))
    except ObjectAlreadyExists:
        client.update_work_pool(POOL, WorkPoolUpdate(concurrency_limit=runs))
    there = {queue.name: queue for queue in client.read_work_queues(work_pool_name=POOL)}
    for name, priority in QUEUES.items():
        if name not in there:
            client.create_work_queue(name, priority=priority, work_pool_name=POOL)
        elif there[name].priority != priority:
            client.update_work_queue(there[name].id, priority=priority)
    client.upsert_global_concurrency_limit_by_name(GANG_LIMIT, gangs)


def create_bucket(url: str) -> None:
    """Create the bucket of an object store URL unless it is there; the credentials are the environment's."""
    files, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    bucket = path.split("/", 1)[0]
    if not files.exists(bucket):
        files.mkdir(bucket)


def main() -> None:
    """Provision the server that the environment names."""
    parser = argparse.ArgumentParser(description="Create the work pool, its queues and the limit on GPU gangs.")
    parser.add_argument("--gangs", type=int, default=1, help="jobs that may hold GPUs at the same time [1]")
    parser.add_argument("--runs", type=int, help="flow runs at a time in the whole pool [no limit]")
    parser.add_argument("--store", metavar="URL", help="object store whose bucket is created if it is not there")
    arguments = parser.parse_args()
    if arguments.store:
        create_bucket(arguments.store)
    with get_client(sync_client=True) as client:
        provision(client, arguments.gangs, arguments.runs)
    print(f"work pool {POOL}, queues {', '.join(QUEUES)}, global limit {GANG_LIMIT} = {arguments.gangs}")


if __name__ == "__main__":
    main()
