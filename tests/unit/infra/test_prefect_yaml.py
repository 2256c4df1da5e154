"""`infra/prefect.yaml` by Prefect's own models, and what makes schedules safe; and rules of the automations."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.cli.deploy._models import PrefectYamlModel
from prefect.flows import Flow
from prefect.states import Cancelled, Cancelling, Completed, Crashed, Failed, Paused, Suspended

from configs.errors import ConfigError
from configs.form import form_schema_violations, form_signature_violations
from configs.settings import PREFIX, Settings
from flows.serve import DEPLOYED
from infra.automations import FLOWS, zombies
from infra.automations import main as automations
from infra.provision import GANG_LIMIT, POOL, QUEUES

ROOT = Path(__file__).parents[3]
OURS = ["Reused", "Interrupted", "Completed, 3 failed", "Completed with 2 dead", "Over budget", "Preview", "Rejected"]
PREFECTS = [
    state.name for state in (Completed(), Failed(), Crashed(), Cancelled(), Cancelling(), Suspended(), Paused())
]
SILENT = [*OURS, *map(str, PREFECTS)]


@pytest.fixture(scope="module")
def raw() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "infra/prefect.yaml").read_text())
    return loaded


@pytest.fixture(scope="module")
def file(raw: dict[str, Any]) -> PrefectYamlModel:
    return PrefectYamlModel.model_validate(raw)


def test_it_deploys_what_serve_serves(file: PrefectYamlModel) -> None:
    assert {deployment.entrypoint for deployment in file.deployments} == set(DEPLOYED)


@pytest.mark.parametrize("entrypoint", DEPLOYED)
def test_every_form_can_be_sent_untouched(entrypoint: str) -> None:
    module, _, name = entrypoint.rpartition(".")
    flow = getattr(import_module(module), name)
    assert isinstance(flow, Flow)
    assert flow.name in FLOWS
    schema = flow.parameters.model_dump_for_openapi()
    assert form_schema_violations(schema) == []
    assert form_signature_violations(flow.fn) == []
    flow.validate_parameters({"job": schema["properties"]["job"]["default"]})


def test_no_key_is_one_that_prefect_would_pass_over(raw: dict[str, Any]) -> None:
    """Prefect's models ignore what they do not know: a misspelt `concurency_limit` would be no limit."""
    from prefect.cli.deploy._models import ConcurrencyLimitSpec, DeploymentConfig, RawScheduleConfig, WorkPoolConfig

    for deployment in raw["deployments"]:
        assert set(deployment) <= set(DeploymentConfig.model_fields)
        assert set(deployment["work_pool"]) <= set(WorkPoolConfig.model_fields)
        assert set(deployment["concurrency_limit"]) <= set(ConcurrencyLimitSpec.model_fields)
        for schedule in deployment["schedules"]:
            assert set(schedule) <= set(RawScheduleConfig.model_fields)


def test_schedules_are_paused_and_keep_their_slugs(raw: dict[str, Any]) -> None:
    for deployment in raw["deployments"]:
        assert [(s["slug"], s["active"]) for s in deployment["schedules"]] == [("nightly", False)]
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_pool_queues_and_limit_are_those_that_are_provisioned(raw: dict[str, Any]) -> None:
    for deployment in raw["deployments"]:
        pool = deployment["work_pool"]
        assert pool["name"] == POOL
        assert pool["work_queue_name"] in QUEUES
        assert pool["job_variables"]["env"]["STEADYFRAME_GANG_LIMIT"] == GANG_LIMIT
    assert QUEUES["people"] < QUEUES["nightly"], "1 goes first"


def test_job_variables_are_settings_that_exist_and_hold_no_secret(raw: dict[str, Any]) -> None:
    for deployment in raw["deployments"]:
        for name in deployment["work_pool"]["job_variables"]["env"]:
            assert not name.endswith(("KEY", "TOKEN", "SECRET", "PASSWORD", "AUTH_STRING"))
            if name.startswith(PREFIX):
                assert name.removeprefix(PREFIX).lower() in Settings.model_fields


def test_options_that_are_named_exist(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["infra.automations", "--help"])
    with pytest.raises(SystemExit):
        automations()
    known = set(re.findall(r"--[a-z]+", capsys.readouterr().out))
    texts = [ROOT / "infra/prefect.yaml", ROOT / "infra/automations.py", *sorted((ROOT / "docs").glob("*.md"))]
    lines = [line for text in texts for line in text.read_text().splitlines() if "infra.automations" in line]
    named = {option for line in lines for option in re.findall(r"--[a-z]+", line.partition("infra.automations")[2])}
    assert named
    assert named <= known


def test_a_zombie_is_not_called_before_three_heartbeats(raw: dict[str, Any]) -> None:
    beat = float(raw["deployments"][0]["work_pool"]["job_variables"]["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"])
    assert zombies(beat).trigger.within.total_seconds() >= 3 * beat
    with pytest.raises(ConfigError, match="3 or more, got 2"):
        zombies(beat, heartbeats=2)


@pytest.mark.parametrize("ending", SILENT)
def test_a_run_that_ended_or_waits_is_no_zombie(ending: str) -> None:
    """Events carry the state's *name*, and both questions of the server must say yes: its `covers` wants a character
    where `expects` takes none for a `*`, so `Completed*` alone once called every completed run dead.
    """
    from prefect.server.events.schemas.automations import EventTrigger

    trigger = EventTrigger.model_validate(zombies().trigger.model_dump())
    event = f"prefect.flow-run.{ending}"
    assert trigger.expects(event)
    assert trigger.event_pattern.match(event)
    assert not trigger.starts_after(event)
