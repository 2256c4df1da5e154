"""The Prefect server, or the process of a served run, dies in the middle: the work is not lost, and the run says so."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.chaos.commands import digests, job_file, server, steadyframe, told, until
from tests.chaos.drive import chaos_job
from tests.chaos.killing import newest_commit
from tests.chaos.ledger import Trial
from tests.chaos.watching import Reader

pytestmark = pytest.mark.timeout(900)  # minutes of waiting for what died, on a busy machine

STEPS, WINDOWS = 8, 6
SLOW = {"path": "dry", "dry_delay": 0.1}

Open = Callable[[str, int], Trial]


def test_a_killed_server_loses_no_work(
    rare_seed: int, clip: Path, undisturbed: dict[str, Any], tmp_path: Path, trial: Open
) -> None:
    """The run survives it or ends with one clear error; the same command then does only what is left."""
    row, draw = trial("server killed", rare_seed), random.Random(f"server {rare_seed}")
    store = tmp_path / "store"
    line = ("restyle", str(clip), "--preset", "dry", "--config", str(job_file(tmp_path, model=SLOW)), "--json")
    line += ("--out", str(tmp_path / "results"))
    with Reader(store) as reader:
        command = steadyframe(tmp_path, *line)
        step = draw.randrange(1, STEPS - 2)
        until(lambda: newest_commit(store) >= step or command.poll() is not None, f"commit {step}")
        os.kill(server(tmp_path).pid, signal.SIGKILL)
        row.struck += command.poll() is None
        code, result = told(command, tmp_path)
        committed = newest_commit(store)
        if code != 0:
            assert len(result["errors"]) == 1, result
            assert "Traceback" not in result["errors"][0]["message"]
            code, result = told(steadyframe(tmp_path, *line), tmp_path)
            assert result["window_steps"]["computed"] <= undisturbed["total"] - max(committed, 0) * WINDOWS
    assert code == 0, result
    (output,) = digests(result)
    row.judge(output, undisturbed, reader)


def test_a_killed_run_of_a_worker_is_shown_as_crashed_and_its_retry_resumes(
    rare_seed: int, clip: Path, undisturbed: dict[str, Any], tmp_path: Path, trial: Open
) -> None:
    row, draw = trial("worker run killed", rare_seed), random.Random(f"worker {rare_seed}")
    store, step = tmp_path / "store", draw.randrange(1, STEPS - 2)
    served = steadyframe(tmp_path, "serve")
    try:
        until(lambda: "Run form" in (tmp_path / "err").read_text() or served.poll() is not None, "the run form")
        assert served.poll() is None, (tmp_path / "err").read_text()[-3000:]
        with httpx.Client(base_url=server(tmp_path).url, timeout=30) as api, Reader(store) as reader:
            deployment = api.get("/deployments/name/restyle/default").raise_for_status().json()["id"]
            asked = {"parameters": {"job": form(clip, tmp_path)}}
            run = api.post(f"/deployments/{deployment}/create_flow_run", json=asked).raise_for_status().json()["id"]

            def state() -> str:
                return str(api.get(f"/flow_runs/{run}").raise_for_status().json()["state"]["type"])

            until(lambda: newest_commit(store) >= step or state() in ("FAILED", "CRASHED"), f"commit {step}")
            for process in runs_of(served):
                process.kill()
                row.struck += 1
            until(lambda: state() == "CRASHED", "the run is shown as Crashed", 60)
            committed = newest_commit(store)
            retry = {"state": {"type": "SCHEDULED", "name": "AwaitingRetry"}, "force": True}
            api.post(f"/flow_runs/{run}/set_state", json=retry).raise_for_status()
            until(lambda: state() in ("COMPLETED", "FAILED", "CRASHED"), "the retry ends")
            assert state() == "COMPLETED", api.get(f"/flow_runs/{run}").json()["state"]
    finally:
        served.send_signal(signal.SIGINT)
        assert served.wait(60) == 0, (tmp_path / "err").read_text()[-3000:]
    results = [json.loads(path.read_text()) for path in store.glob("jobs/*/result.json")]
    (result,) = [r for r in results if r["status"] == "completed"]
    assert result["window_steps"]["computed"] <= undisturbed["total"] - committed * WINDOWS
    (output,) = digests(result)
    row.judge(output, undisturbed, reader)


def form(clip: Path, folder: Path) -> dict[str, Any]:
    """The run form, filled in so that it is the job of `drive`."""
    job = chaos_job("x")
    lines = {
        "num_inference_steps": job.num_inference_steps,
        "guidance_scale": job.guidance_scale,
        "start": job.start,
        "working_size": job.working_size,
        "window.size": job.window.size,
        "deflicker.window": job.deflicker.window,
        "deflicker.steps": list(job.deflicker.steps),
        "report.max_megabytes": job.report.max_megabytes,
        "model.dry_delay": SLOW["dry_delay"],
    }
    settings = [f"{key}={json.dumps(value) if isinstance(value, list) else value}" for key, value in lines.items()]
    named = {"prompt": job.prompt, "style": "none", "preset": "dry", "out": str(folder / "results")}
    return {"sources": [str(clip)], **named, "settings": settings}


def runs_of(served: subprocess.Popen[str]) -> list[psutil.Process]:
    """The processes that `serve` computes in."""
    children = psutil.Process(served.pid).children()
    return [child for child in children if "flows.server_process" not in child.cmdline()]
