"""Stopping a run: the process says so and cleans up, and Prefect shows it; nothing waits for the end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.states import Cancelling

RUN = """
import sys
from configs.job import RestyleJob
from flows.api import restyle
from tasks.engine.pool import EnginePool
close = EnginePool.close
EnginePool.close = lambda self: (print("engines closed", file=sys.stderr, flush=True), close(self))
job = RestyleJob(style="watercolor", sources=(sys.argv[1],), out=sys.argv[2])
observe = lambda p: print(p.done, file=sys.stderr, flush=True)
print(restyle(job, store=sys.argv[2] + "/store", workers=0, observe=observe).to_json(), flush=True)
"""


HOWS = ("SIGTERM", "SIGINT", "cancelled")


@pytest.fixture(scope="module")
def endless(
    api: str, fake: ModuleType, child_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, subprocess.Popen[str]]]:
    """Processes in the middle of a video that would take ten minutes, one for each way to stop."""
    folder = tmp_path_factory.mktemp("endless")
    processes = {}
    for how in HOWS:
        fake.write_clip(folder / f"endless-{how}.mp4", 60)
        processes[how] = subprocess.Popen(
            [sys.executable, "-c", RUN, str(folder / f"endless-{how}.mp4"), str(folder)],
            env={**child_environment, "PREFECT_API_URL": api},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
        )
    for process in processes.values():
        assert process.stderr is not None
        assert process.stderr.readline() == "0\n", process.stderr.read()
    yield processes
    for process in processes.values():
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[dict[str, Any], str]:
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return json.loads(out), err


def flow_run(how: str) -> Any:
    with get_client(sync_client=True) as client:
        (run,) = [r for r in client.read_flow_runs(limit=200) if f"endless-{how}" in r.name]
    return run


@pytest.mark.parametrize("how", HOWS)
def test_stopping_interrupts_cleans_up_and_shows(endless: dict[str, subprocess.Popen[str]], how: str) -> None:
    if how == "cancelled":
        with get_client(sync_client=True) as client:
            client.set_flow_run_state(flow_run(how).id, Cancelling())
    else:
        endless[how].send_signal(signal.Signals[how])
    result, err = ended(endless[how])
    assert result["status"] == "interrupted"
    assert [e["class"] for e in result["errors"]] == ["Interrupted"]
    assert "engines closed" in err
    state = flow_run(how).state
    assert (state.type.value, state.name) == ("CANCELLED", "Interrupted")
