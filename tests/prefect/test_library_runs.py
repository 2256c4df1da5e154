"""A library on a real server: its own run above those of its videos, honest states, every night a run of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags

from configs.form_library import LibraryForm
from configs.library_layers import build_library
from flows.library.ends import LibraryResult

NAMES = ("good", "bad", "slow", "bug", "flaky")


@dataclass
class Night:
    """One run of the library through the Python API, and the server that saw it."""

    folder: Path
    client: SyncPrefectClient

    def run(self, *sets: str, out: str = "out") -> LibraryResult:
        from flows.api import library

        flags = {"style": "watercolor", "preset": "dry", "out": str(self.folder / out)}
        job = build_library(None, [str(self.folder / "in")], sets=sets, flags=flags)
        return library(job, store=str(self.folder / "store"), workers=0)

    def above(self, state_name: str | None = None) -> list[Any]:
        found = [r for r in self.client.read_flow_runs(limit=200) if r.name == "in"]
        return [r for r in found if state_name is None or r.state.name == state_name]

    def videos(self, job_id: str) -> dict[str, Any]:
        tagged = FlowRunFilter(tags=FlowRunFilterTags(all_=[job_id]))
        found = self.client.read_flow_runs(flow_run_filter=tagged, limit=200)
        return {run.name.split(".mp4")[0]: run for run in found}


@pytest.fixture(scope="module")
def night(api: str, fake: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    folder = tmp_path_factory.mktemp("library")
    (folder / "in").mkdir()
    fake.write_clip(folder / "in" / "good.mp4", 60)
    for name in NAMES[1:]:
        shutil.copy(folder / "in" / "good.mp4", folder / "in" / f"{name}.mp4")
    with pytest.MonkeyPatch.context() as patch, get_client(sync_client=True) as client:
        patch.setattr("flows.video.pipeline", fake)
        patch.setattr("flows.library.batch.answered", lambda run: None)
        yield Night(folder, client)


@pytest.fixture(scope="module")
def first(night: Night) -> LibraryResult:
    return night.run()


def test_every_video_ends_for_itself(first: LibraryResult) -> None:
    assert (first.status, first.method, first.exit_code) == ("partial", "library", 3)
    assert sorted(Path(o.source).stem for o in first.outputs) == ["flaky", "good", "slow"]
    assert {Path(e.source).stem: e.class_name for e in first.errors} == {
        "bad": "UnreadableVideo",
        "bug": "ZeroDivisionError",
    }
    assert first.library.most_in_flight == 2


def test_videos_are_runs_below_the_librarys_own(first: LibraryResult, night: Night) -> None:
    runs = night.videos(first.job)
    assert sorted(runs) == sorted(NAMES)
    (above,) = night.above()
    assert above.state.name == "Completed, 2 dead"
    assert "3 computed, 0 reused, 2 dead" in above.state.message
    placeholders = {t.id for t in night.client.read_task_runs(limit=200) if t.flow_run_id == above.id}
    assert {run.parent_task_run_id for run in runs.values()} == placeholders
    assert len(placeholders) == len(NAMES)


def test_runs_in_threads_keep_their_own_tasks_states_and_logs(
    first: LibraryResult, night: Night, fake: ModuleType, eventually: Callable[..., Any]
) -> None:
    runs = night.videos(first.job)
    assert {name: run.state.name for name, run in runs.items()} == {
        "good": "Completed",
        "slow": "Completed",
        "flaky": "Completed",
        "bad": "Failed",
        "bug": "Failed",
    }

    def stages(name: str) -> list[str]:
        found = [t for t in night.client.read_task_runs(limit=200) if t.flow_run_id == runs[name].id]
        return [t.name for t in sorted(found, key=lambda t: t.start_time)]

    names = [f"{stage} ({part})" if part else stage for stage, part in fake.STAGES]
    for name in ("good", "slow"):
        assert eventually(lambda name=name: stages(name) == names), stages(name)


def test_the_same_night_again_is_a_run_of_its_own(first: LibraryResult, night: Night) -> None:
    second = night.run("include=good.mp4,bug.mp4")
    assert second.job != first.job
    assert sorted(night.videos(second.job)) == ["bug", "good"]
    assert {r.id for r in night.videos(first.job).values()}.isdisjoint(
        {r.id for r in night.videos(second.job).values()}
    )


def test_above_the_set_share_the_library_failed(night: Night) -> None:
    result = night.run("failed_share=0.2", "include=good.mp4,bad.mp4")
    assert (result.status, result.exit_code) == ("failed", 3)
    assert len(night.above("Failed")) == 1


def test_a_crashed_night_and_the_next_really_run_twice(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deployed flow: the first run dies in the middle, then the same run again, then the next night."""
    from prefect.flow_engine import run_flow_sync

    from flows import deploy_library

    monkeypatch.setenv("STEADYFRAME_STORE", str(night.folder / "store"))
    monkeypatch.setenv("STEADYFRAME_WORKERS", "0")
    other = shutil.copy(night.folder / "in" / "good.mp4", night.folder / "other.mp4")
    form = LibraryForm(
        sources=[str(night.folder / "in" / "good.mp4"), str(other)],
        out=str(night.folder / "out"),
        preset="dry",
        max_in_flight=1,
    )
    given = {"job": form}
    real, done = deploy_library.create_table_artifact, []

    def dies(*args: Any, **more: Any) -> None:
        if not done:
            done.append(True)
            raise SystemExit("the machine went away")
        real(*args, **more)

    monkeypatch.setattr(deploy_library, "create_table_artifact", dies)
    run = night.client.create_flow_run(deploy_library.library, parameters={"job": form.model_dump()})
    with pytest.raises(SystemExit):
        run_flow_sync(deploy_library.library, run, given)
    assert night.client.read_flow_run(run.id).state.name == "Crashed"

    def below(parent: Any) -> list[Any]:
        tasks = {t.id for t in night.client.read_task_runs(limit=200) if t.flow_run_id == parent.id}
        return [r for r in night.client.read_flow_runs(limit=200) if r.parent_task_run_id in tasks]

    assert len(below(run)) == 2
    night.client.set_flow_run_state(run.id, _scheduled(), force=True)
    state: Any = run_flow_sync(deploy_library.library, night.client.read_flow_run(run.id), given, return_type="state")
    assert state.name == "Completed"
    assert len(below(run)) == 4, "the second try was handed the first one's runs"
    state = deploy_library.library(form, return_state=True)
    assert state.name == "Completed"


def _scheduled() -> Any:
    from prefect.states import Scheduled

    return Scheduled()


def test_a_polite_kill_ends_videos_in_threads_and_resumes(
    night: Night, child_environment: dict[str, str], eventually: Callable[..., Any], api: str
) -> None:
    """SIGTERM reaches the main thread alone; the videos stop at a commit and say so."""
    folder = night.folder / "endless"
    folder.mkdir()
    for name in ("endless-1", "endless-2", "later"):
        shutil.copy(night.folder / "in" / "good.mp4", folder / f"{name}.mp4")
    command = [
        sys.executable,
        "-c",
        "from flows.cli import main; main()",
        "library",
        str(folder),
        "--preset",
        "dry",
        "--style",
        "watercolor",
    ]
    command += ["--store", str(night.folder / "store2"), "--out", str(folder / "out"), "--workers", "0", "--json"]
    child = subprocess.Popen(
        command,
        env={**child_environment, "PREFECT_API_URL": api},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )

    def running() -> bool:
        found = [r for r in night.client.read_flow_runs(limit=200) if r.name.startswith("endless-")]
        return sum(r.state.is_running() for r in found) == 2

    try:
        assert eventually(running, 90), child.poll()
        time.sleep(0.5)
        os.kill(child.pid, signal.SIGTERM)
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    told = json.loads(out)
    assert (child.returncode, told["status"]) == (130, "interrupted"), err[-2000:]
    assert told["library"]["waiting"] == 3
    found = [r for r in night.client.read_flow_runs(limit=200) if r.name.startswith("endless-")]
    assert {r.state.name for r in found} == {"Interrupted"}
    (above,) = [r for r in night.client.read_flow_runs(limit=200) if r.name == "endless"]
    assert above.state.name == "Interrupted"
