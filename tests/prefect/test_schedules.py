"""A cron schedule by a real server and `steadyframe serve`: runs are created, and no night is taken for another.

Crons have a sixth field here, seconds, so that nights are short. The library is real, its model is `dry`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

EVERY_FEW_SECONDS = "* * * * * */6"
KEPT = ("PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS",)


@dataclass(frozen=True)
class Serving:
    """A running `steadyframe serve` with its own server, store and outputs in `folder`."""

    process: subprocess.Popen[str]
    api: str
    folder: Path
    wait: Callable[..., Any]

    def ask(self, path: str, body: dict[str, Any] | None = None, method: str = "") -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.api}/{path}",
            data,
            {"content-type": "application/json"},
            method=method or ("POST" if data else "GET"),
        )
        for patience in (1.0, 3.0, 9.0, 0.0):
            try:
                with urllib.request.urlopen(request, timeout=20) as answer:
                    text = answer.read()
                break
            except urllib.error.HTTPError as refused:
                # SQLite behind a busy server is "unavailable" for a moment; Prefect's own client asks again too
                if refused.code != 503 or not patience:
                    refused.add_note(refused.read().decode())
                    raise
                time.sleep(patience)
        return json.loads(text) if text else None

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        found = self.ask("flow_runs/filter", {"deployments": {"id": {"any_": [deployment]}}, "sort": "START_TIME_ASC"})
        return [run for run in found if run["start_time"]]

    def ended(self, run: str, seconds: float = 120) -> dict[str, Any]:
        final = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
        self.wait(lambda: self.ask(f"flow_runs/{run}")["state_type"] in final, seconds)
        state: dict[str, Any] = self.ask(f"flow_runs/{run}")
        return state

    def kill_runs(self) -> None:
        """As a machine that loses power: every process of a run, at once."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            if "flows.server_process" not in child.cmdline():
                child.kill()


@pytest.fixture(scope="module")
def serving(
    warm_folder: Path, tmp_path_factory: pytest.TempPathFactory, eventually: Callable[..., Any]
) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("nights")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_") or k in KEPT}
    environment = {
        **kept,
        "STEADYFRAME_SERVER_DIR": str(warm_folder),
        "STEADYFRAME_STORE": str(folder / "store"),
        "STEADYFRAME_WORKERS": "0",
    }
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("steadyframe")), "serve"],
        env=environment,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: list[str] = []
    assert process.stderr is not None
    threading.Thread(
        target=lambda stream: lines.extend(iter(stream.readline, "")), args=(process.stderr,), daemon=True
    ).start()
    try:
        assert eventually(lambda: any("Ctrl-C" in line for line in lines) or process.poll() is not None, 120), lines
        page = re.search(r"UI:\s+(\S+)", "".join(lines))
        assert page, lines
        yield Serving(process, f"{page[1]}/api", folder, eventually)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(40)
        finally:
            process.kill()


def test_serve_registers_a_run_form_for_every_flow(serving: Serving) -> None:
    from configs.form import form_schema_violations

    found = serving.ask("deployments/filter", {})
    assert {deployment["entrypoint"].rpartition(".")[2] for deployment in found} == {"restyle", "library", "deflicker"}
    for deployment in found:
        assert form_schema_violations(deployment["parameter_openapi_schema"]) == []
        assert deployment["enforce_parameter_schema"] is True


def test_a_secret_in_a_form_never_reaches_the_database(serving: Serving) -> None:
    """The server checks parameters against the stored schema before it stores a run."""
    for deployment in serving.ask("deployments/filter", {}):
        field = "source" if deployment["entrypoint"].endswith(".deflicker") else "sources"
        bad = "https://me:planted-in-a-form@host/clip.mp4"
        parameters = {"job": {field: bad if field == "source" else [bad]}}
        with pytest.raises(urllib.error.HTTPError) as refused:
            serving.ask(f"deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})
        assert refused.value.code == 409


@pytest.fixture(scope="module")
def nights(serving: Serving, fake: ModuleType) -> dict[str, Any]:
    """Three nights of a scheduled library: the first is killed at work, before the third a video is added."""
    videos = serving.folder / "videos"
    videos.mkdir()
    fake.write_clip(videos / "first.mp4", 60)
    (library,) = [d for d in serving.ask("deployments/filter", {}) if d["entrypoint"].endswith(".library")]
    # long enough that the kill meets it at work, short enough for a test
    job = {
        "sources": [str(videos)],
        "out": str(serving.folder / "out"),
        "preset": "dry",
        "settings": ["num_inference_steps=10", "model.dry_delay=0.3", "window.size=4", "deflicker.enabled=false"],
    }
    schedule = {
        "active": False,
        "slug": "nights-of-seconds",  # the server may know the deployments of infra with their own "nightly"
        "schedule": {"cron": EVERY_FEW_SECONDS, "timezone": "UTC"},
        "parameters": {"job": job},
    }
    ((made,),) = (serving.ask(f"deployments/{library['id']}/schedules", [schedule]),)  # type: ignore[arg-type]
    seen: set[str] = set()

    def begin() -> str:
        """Let the schedule start one run, and no second."""
        at = f"deployments/{library['id']}/schedules/{made['id']}"
        serving.ask(at, {"active": True, "parameters": {"job": job}}, "PATCH")
        new = serving.wait(lambda: [run["id"] for run in serving.runs(library["id"]) if run["id"] not in seen], 60)
        serving.ask(at, {"active": False}, "PATCH")
        assert new, "no run came of the schedule"
        seen.update(new)
        return str(new[0])

    def committed() -> int:
        return sum(1 for _ in (serving.folder / "store/steps").rglob("commit-*.json"))

    told: dict[str, Any] = {"library": library["id"]}
    first = begin()
    assert serving.wait(lambda: committed() >= 2, 90), serving.ended(first, 1)
    serving.kill_runs()
    told["first"] = serving.ended(first)
    told["second"] = serving.ended(begin())
    shutil.copy(videos / "first.mp4", videos / "second.mp4")
    with (videos / "second.mp4").open("ab") as file:
        file.write(b"\0")  # another file, so another video
    told["third"] = serving.ended(begin())
    told["results"] = [
        json.loads(path.read_text()) for path in sorted((serving.folder / "store/jobs").glob("*/result.json"))
    ]
    return told


def test_the_schedule_created_and_ran_every_night(nights: dict[str, Any]) -> None:
    three = [nights[name] for name in ("first", "second", "third")]
    assert len({run["id"] for run in three}) == 3
    for run in three:
        assert run["auto_scheduled"] is True
        assert run["deployment_id"] == nights["library"]
        assert run["idempotency_key"].startswith("scheduled ")
    assert len({run["idempotency_key"] for run in three}) == 3


def test_the_killed_night_is_shown_as_crashed(nights: dict[str, Any]) -> None:
    assert nights["first"]["state_type"] == "CRASHED"


def test_the_night_after_the_crash_really_runs_and_resumes(nights: dict[str, Any]) -> None:
    assert nights["second"]["state_type"] == "COMPLETED", nights["second"]["state"]
    steps = nights["results"][0]["window_steps"]
    assert steps["computed"] > 0
    assert steps["reused"] >= 1, "what the killed night committed is not computed again"
    assert steps["computed"] + steps["reused"] == steps["total"]


def test_the_second_night_after_the_crash_runs_again_and_finds_what_is_new(nights: dict[str, Any]) -> None:
    """No stale answer: had the third night been handed the second's, the new video would be missing."""
    assert nights["third"]["state_type"] == "COMPLETED", nights["third"]["state"]
    assert [Path(output["source"]).name for output in nights["results"][-1]["outputs"]].count("second.mp4") == 1
    assert nights["third"]["start_time"] > nights["second"]["end_time"]


def test_nothing_of_the_refused_forms_was_kept(nights: dict[str, Any], serving: Serving, warm_folder: Path) -> None:
    for file in [*warm_folder.rglob("*"), *serving.folder.rglob("*")]:
        if file.is_file():
            assert b"planted-in-a-form" not in file.read_bytes(), file
