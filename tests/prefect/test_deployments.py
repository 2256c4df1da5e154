"""Deployments: their form, their schedules, and `infra/prefect.yaml` as it is written."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule

from configs.form import RestyleForm, form_schema_violations, form_signature_violations
from flows.deploy import restyle

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


def test_the_flow_has_a_form_that_can_be_sent_untouched() -> None:
    schema = restyle.parameters.model_dump_for_openapi()
    assert form_schema_violations(schema) == []
    assert form_signature_violations(restyle.fn) == []
    default = schema["properties"]["job"]["default"]
    assert RestyleForm.model_validate(default).to_job().sources == ("demo",)


def test_prefect_yaml_deploys_with_a_paused_schedule_and_the_form(api: str) -> None:
    environment = {"PREFECT_API_URL": api, "DO_NOT_TRACK": "1", "PATH": "/usr/bin:/bin", "HOME": str(ROOT.parent)}
    prefect = str(Path(sys.executable).with_name("prefect"))
    with get_client(sync_client=True) as client:
        client._client.post("/work_pools/", json={"name": "steadyframe", "type": "process"})
        done = subprocess.run(
            [prefect, "--no-prompt", "deploy", "--prefect-file", str(ROOT / "infra/prefect.yaml"), "--all"],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        deployment = client.read_deployment_by_name("restyle/default")
    assert deployment.work_pool_name == "steadyframe"
    assert [(s.slug, s.active) for s in deployment.schedules] == [("nightly", False)]
    assert deployment.entrypoint == "flows.deploy.restyle"
    assert deployment.pull_steps in (None, [])
    assert deployment.path is None or not Path(deployment.path).is_absolute(), deployment.path
    assert form_schema_violations(deployment.parameter_openapi_schema) == []


def test_what_serve_deploys_has_the_same_form(api: str) -> None:
    from prefect.deployments.runner import EntrypointType

    made: Any = asyncio.run(restyle.ato_deployment("served", entrypoint_type=EntrypointType.MODULE_PATH))
    assert made.entrypoint == "flows.deploy.restyle"
    assert form_schema_violations(made._parameter_openapi_schema.model_dump_for_openapi()) == []
