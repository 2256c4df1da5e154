"""Deployments: their form, their schedules, and `infra/prefect.yaml` as it is written."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule

from configs.form import form_schema_violations
from flows.serve import DEPLOYED, deployed_flows
from infra.provision import POOL, QUEUES, provision

ROOT = Path(__file__).parents[2]


def test_a_cron_schedule_really_creates_runs(api: str, eventually: Callable[..., Any]) -> None:
    """With SQLAlchemy 2.1 the server starts, but its scheduler creates no run (design/orchestration.md 0.1)."""
    with get_client(sync_client=True) as client:
        flow_id = client.create_flow_from_name("scheduled")
        deployment_id = client.create_deployment(
            flow_id, "cron", schedules=[DeploymentScheduleCreate(schedule=CronSchedule(cron="0 2 * * *"), active=True)]
        )

        def planned() -> list[Any]:
            return [r for r in client.read_flow_runs(limit=200) if r.deployment_id == deployment_id]

        assert eventually(lambda: len(planned()) >= 3, 40)
        soonest = min(r.expected_start_time for r in planned())
        assert soonest <= datetime.now(UTC) + timedelta(days=1)
        assert soonest.hour == 2
        client._client.delete(f"/deployments/{deployment_id}")


def test_prefect_yaml_deploys_with_paused_schedules_queues_and_forms(api: str) -> None:
    environment = {"PREFECT_API_URL": api, "DO_NOT_TRACK": "1", "PATH": "/usr/bin:/bin", "HOME": str(ROOT.parent)}
    prefect = str(Path(sys.executable).with_name("prefect"))
    with get_client(sync_client=True) as client:
        provision(client)
        done = subprocess.run(
            [prefect, "--no-prompt", "deploy", "--prefect-file", str(ROOT / "infra/prefect.yaml"), "--all"],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        queues = {queue.name: queue.priority for queue in client.read_work_queues(work_pool_name=POOL)}
        for entrypoint in DEPLOYED:
            deployment = client.read_deployment_by_name(f"{entrypoint.rpartition('.')[2]}/default")
            assert deployment.entrypoint == entrypoint
            assert deployment.work_pool_name == POOL
            assert queues[str(deployment.work_queue_name)] == QUEUES[str(deployment.work_queue_name)]
            assert [(s.slug, s.active) for s in deployment.schedules] == [("nightly", False)]
            assert deployment.global_concurrency_limit is not None
            assert deployment.global_concurrency_limit.limit == 1
            assert deployment.pull_steps in (None, [])
            assert deployment.path is None or not Path(deployment.path).is_absolute(), deployment.path
            assert form_schema_violations(deployment.parameter_openapi_schema) == []


@pytest.mark.parametrize("flow", deployed_flows(), ids=lambda flow: flow.name)
def test_what_serve_deploys_has_the_same_form(api: str, flow: Any) -> None:
    from prefect.deployments.runner import EntrypointType

    made: Any = asyncio.run(flow.ato_deployment("served", entrypoint_type=EntrypointType.MODULE_PATH))
    assert made.entrypoint in DEPLOYED
    assert form_schema_violations(made._parameter_openapi_schema.model_dump_for_openapi()) == []
