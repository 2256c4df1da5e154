"""Runs of deployments that stop to ask: the preview is approved or not, the budget is raised; nothing waits meanwhile.

The real pipeline with the model that computes nothing, picked up by a runner (as `serve` does) and by a process worker.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId
from prefect.client.schemas.responses import SetStateStatus

from tests.unit.tasks.shot_clips import cut_clip

PATIENCE = 150.0  # a start is a poll and a process that loads torch, on a machine that does other things too
SERVE = """
import asyncio, sys
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType
from flows.deploy import restyle

async def main():
    made = await restyle.ato_deployment("asking", entrypoint_type=EntrypointType.MODULE_PATH)
    runner = Runner(name="asking", limit=2, query_seconds=1)
    print(await runner.aadd_deployment(made), flush=True)
    await runner.start()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("asking")


@pytest.fixture(scope="module")
def clip(folder: Path) -> Path:
    return cut_clip(folder / "clip.mp4", (8, 6))


@pytest.fixture(scope="module")
def environment(api: str, folder: Path) -> dict[str, str]:
    return {
        **{k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        "PREFECT_API_URL": api,
        "DO_NOT_TRACK": "1",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "STEADYFRAME_STORE": str(folder / "store"),
        "STEADYFRAME_WORKERS": "0",
        "STEADYFRAME_DEVICE": "cpu",
    }


@pytest.fixture(scope="module")
def client(api: str) -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture(scope="module")
def served(environment: dict[str, str], folder: Path) -> Iterator[str]:
    """A deployment that a runner looks after: its id."""
    with _process([sys.executable, "-c", SERVE], environment, folder) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


class _process:  # noqa: N801
    """A child in its own session, ended with all that it started."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        self._arguments = {"args": command, "env": environment, "cwd": folder}
        self._said = folder / f"said-{len(list(folder.glob('said-*')))}.txt"

    def __enter__(self) -> subprocess.Popen[str]:
        with self._said.open("w") as said:
            self.process = subprocess.Popen(
                **self._arguments, text=True, stdout=subprocess.PIPE, stderr=said, start_new_session=True
            )
        return self.process

    def __exit__(self, *_: object) -> None:
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()


def begin(client: SyncPrefectClient, deployment: str, clip: Path, folder: Path, *settings: str) -> Any:
    form = {
        "sources": [str(clip)], "out": str(folder / "out"), "prompt": "x", "style": "none", "preset": "dry",
        "settings": ["window.size=4", "report.max_megabytes=0.2", *settings],
    }  # fmt: skip
    return client.create_flow_run_from_deployment(deployment, parameters={"job": form})


def reached(client: SyncPrefectClient, run_id: Any, *names: str) -> Any:
    """The state of a run once it has one of these names, or is at an end."""
    deadline = time.monotonic() + PATIENCE
    while True:
        state = client.read_flow_run(run_id).state
        if state.name in names or state.is_final() or time.monotonic() > deadline:
            return state
        time.sleep(0.3)


def resume(client: SyncPrefectClient, run_id: Any, **answer: Any) -> None:
    """Answer a suspended run. Prefect shows it as suspended a moment before it takes an answer: a person is slower."""
    deadline = time.monotonic() + PATIENCE
    while True:
        said = client.resume_flow_run(run_id, run_input=answer)
        if said.status == SetStateStatus.ACCEPT:
            return
        assert said.details.reason == "Run input schema not found.", said.details.reason
        assert time.monotonic() < deadline
        time.sleep(0.3)


def artifacts(client: SyncPrefectClient, run_id: Any, kind: str) -> list[Any]:
    chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]))
    return [found for found in client.read_artifacts(artifact_filter=chosen) if found.type == kind]


def window_steps(message: str) -> int:
    """How many were computed, by the run's last word."""
    return int(message.split("; ")[1].split(" of ")[0])


def test_an_approved_preview_becomes_the_whole_and_a_rejected_one_ends(
    client: SyncPrefectClient, served: str, clip: Path, folder: Path
) -> None:
    good = begin(client, served, clip, folder, "preview=true", "seed=1")
    bad = begin(client, served, clip, folder, "preview=true", "seed=2")
    for run in (good, bad):
        assert reached(client, run.id, "Suspended").name == "Suspended"
        (image,) = artifacts(client, run.id, "image")
        assert image.data.startswith("data:image/jpeg;base64,")
        assert len(image.data) < 100_000
    sheets = sorted((folder / "out").glob("clip--preview--*.png"))
    assert len(sheets) == 2, "another seed is another sheet"
    assert not list((folder / "out").glob("*.mp4")), "nothing but the preview is made before somebody agrees"

    resume(client, good.id, approved=True, word="")
    resume(client, bad.id, approved=False, word="too blue")
    ended = reached(client, bad.id, "Rejected")
    assert (ended.type.value, ended.name) == ("CANCELLED", "Rejected")
    assert "too blue" in ended.message
    state = reached(client, good.id, "Completed")
    assert state.name == "Completed", state.message
    assert len(list((folder / "out").glob("*.mp4"))) == 1
    decodes = [t for t in client.read_task_runs(limit=200) if t.flow_run_id == good.id and t.name == "decode"]
    last = max(decodes, key=lambda task: task.start_time)
    assert last.state.name == "Reused", "the second time the decode pass was there"


def test_a_budget_suspends_before_it_is_passed_and_more_lets_it_go_on(
    client: SyncPrefectClient, served: str, clip: Path, folder: Path
) -> None:
    run = begin(client, served, clip, folder, "seed=3", "budget.bytes=1000")
    state = reached(client, run.id, "Suspended")
    assert state.name == "Suspended", state.message
    children = [r for r in client.read_flow_runs(limit=200) if r.parent_task_run_id and "clip.mp4" in r.name]
    assert any(r.state.name == "Over budget" and "left" in r.state.message for r in children)
    resume(client, run.id, gpu_seconds=0, bytes=10**9)
    state = reached(client, run.id, "Completed")
    assert state.name == "Completed", state.message
    assert window_steps(state.message) > 0


def test_a_command_line_over_its_budget_ends_interrupted_and_goes_on(run: Callable[..., Any], clip: Path) -> None:
    small = ("--set", "window.size=4", "--seed", "9")
    code, result = run(str(clip), *small, "--set", "budget.bytes=1000")
    assert (code, result["status"]) == (130, "interrupted")
    (error,) = result["errors"]
    assert error["class"] == "BudgetReached"
    assert "budget.bytes" in error["message"]
    code, result = run(str(clip), *small)
    assert (code, result["status"]) == (0, "completed")
    assert {stage["status"] for stage in result["stages"] if stage["stage"] == "decode"} == {"reused"}
