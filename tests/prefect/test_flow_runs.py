"""What Prefect shows of a job: runs, tasks, states, messages, logs and artifacts."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, LogFilter, LogFilterFlowRunId

from configs.job import RestyleJob
from flows.result import JobResult

NAMES = ("good", "bad", "missing", "flaky", "reused", "bug")


@dataclass(frozen=True)
class Job:
    result: JobResult
    stdout: str
    seen: list[Any]
    store: Path
    client: SyncPrefectClient

    def run(self, name: str) -> Any:
        (found,) = [r for r in self.client.read_flow_runs(limit=200) if r.name == f"{name}.mp4 · watercolor"]
        return found

    def tasks(self, name: str) -> list[Any]:
        run_id = self.run(name).id
        found = [t for t in self.client.read_task_runs(limit=200) if t.flow_run_id == run_id]
        return sorted(found, key=lambda t: t.start_time)

    def artifacts(self, name: str, kind: str) -> list[Any]:
        chosen = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self.run(name).id]))
        return [a for a in self.client.read_artifacts(artifact_filter=chosen) if a.type == kind]


@pytest.fixture(scope="module")
def job(
    api: str, fake: ModuleType, tmp_path_factory: pytest.TempPathFactory, eventually: Callable[..., Any]
) -> Iterator[Job]:
    """One job with a source of every kind, run once."""
    from flows.api import restyle

    folder = tmp_path_factory.mktemp("job")
    sources = [folder / f"{name}.mp4" for name in NAMES]
    fake.write_clip(folder / "good.mp4", 60)
    for source in sources[1:]:
        if "missing" not in source.name:
            shutil.copy(folder / "good.mp4", source)
    made = RestyleJob(style="watercolor", sources=tuple(map(str, sources)), out=str(folder / "out"))
    seen: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tasks.pipeline", _stand_in(fake))
        patch.setattr("flows.video.pipeline", fake)
        with _captured() as printed:
            result = restyle(made, store=str(folder / "store"), workers=0, observe=seen.append)
    with get_client(sync_client=True) as client:
        made_job = Job(result, printed[0], seen, folder / "store", client)
        # the server writes task records a moment after it hears of them
        eventually(lambda: all(t.state.is_final() for t in made_job.tasks("reused")))
        eventually(lambda: len(made_job.tasks("reused")) == len(fake.STAGES))
        yield made_job


def _stand_in(fake: ModuleType) -> ModuleType:
    module = types.ModuleType("tasks.pipeline")
    module.restyle_video = fake.restyle_video  # type: ignore[attr-defined]
    return module


class _captured:  # noqa: N801
    """Whatever reaches sys.stdout."""

    def __enter__(self) -> list[str]:
        import io

        self._real, self._text = sys.stdout, [""]
        sys.stdout = self._to = io.StringIO()
        return self._text

    def __exit__(self, *_: object) -> None:
        sys.stdout = self._real
        self._text[0] = self._to.getvalue()


def test_one_bad_video_does_not_stop_the_others(job: Job) -> None:
    assert [Path(o.source).stem for o in job.result.outputs] == ["good", "flaky", "reused"]
    assert [(Path(e.source).stem, e.class_name) for e in job.result.errors] == [
        ("bad", "UnreadableVideo"),
        ("missing", "UnreadableVideo"),
        ("bug", "ZeroDivisionError"),
    ]
    assert (job.result.status, job.result.exit_code) == ("partial", 3)
    assert (job.result.window_steps.total, job.result.deflicker_steps) == (60, [5])


def test_nothing_is_printed_on_stdout(job: Job) -> None:
    assert job.stdout == ""


def test_each_video_is_a_flow_run_and_each_stage_a_task_run(job: Job, fake: ModuleType) -> None:
    names = [f"{stage} ({part})" if part else stage for stage, part in fake.STAGES]
    assert [t.name for t in job.tasks("good")] == names
    assert job.run("good").state.name == "Completed"


def test_found_stages_are_shown_as_reused(job: Job) -> None:
    assert [t.state.name for t in job.tasks("good")][:3] == ["Reused", "Reused", "Completed"]
    assert {t.state.name for t in job.tasks("reused")} == {"Reused"}
    assert job.run("reused").state.name == "Reused"


def test_a_failure_carries_our_message(job: Job) -> None:
    state = job.run("bad").state
    assert state.type.value == "FAILED"
    assert state.message.startswith("UnreadableVideo: ")
    assert state.message.endswith("bad.mp4: not a video; check the file")
    assert "ZeroDivisionError: a fault of ours" in job.run("bug").state.message


def test_only_passing_faults_are_tried_again(job: Job) -> None:
    tries = {t.name: t.run_count for t in job.tasks("flaky")}
    assert tries["condition (shot 1)"] == 2
    assert tries["probe"] == 1
    assert [t.run_count for t in job.tasks("bad")] == [1]


def test_progress_is_an_artifact_with_words(job: Job) -> None:
    (progress,) = job.artifacts("good", "progress")
    assert progress.key == "progress-good-mp4"
    assert progress.description.startswith("done in ")
    assert progress.data == 100


def test_lines_of_engine_threads_are_in_the_log_of_the_run(job: Job, eventually: Callable[..., Any]) -> None:
    run_id = job.run("good").id

    def lines() -> set[str]:
        chosen = LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run_id]))
        return {line.message for line in job.client.read_logs(chosen, limit=200)}

    assert eventually(lambda: "denoise: window-step 20 done" in lines())
    assert any(line.startswith("denoise (shot 2): computed") for line in lines())


def test_the_caller_sees_progress_too(job: Job) -> None:
    assert {p.done for p in job.seen if p.source.endswith("good.mp4")} == set(range(21))


def test_tables_of_stages_and_figures(job: Job, fake: ModuleType) -> None:
    stages, figures = sorted(job.artifacts("good", "table"), key=lambda a: a.key, reverse=True)
    rows = json.loads(stages.data)
    assert [r["stage"] for r in rows] == [*(stage for stage, _ in fake.STAGES), "all"]
    assert (rows[0]["reused"], rows[2]["reused"], rows[-1]["bytes"]) == ("yes", "no", 9 * 1234)
    shown = json.loads(figures.data)
    assert [r["result"] for r in shown] == [0.31, 27.4, 0.97, 1.04, 2.5]
    assert [r["source"] for r in shown] == ["", "", "", 1.0, 1.5]


def test_image_of_the_middle_frame_is_small_and_inline(job: Job) -> None:
    (image,) = job.artifacts("good", "image")
    assert image.data.startswith("data:image/jpeg;base64,")
    assert 500 < len(image.data) < 100_000


def test_where_the_report_is(job: Job) -> None:
    (text,) = job.artifacts("good", "markdown")
    assert "report.html" in text.data
    assert f"`{job.result.outputs[0].uri}`" in text.data


def test_keys_of_artifacts_are_what_the_ui_accepts(job: Job) -> None:
    import re

    keys = {a.key for a in job.client.read_artifacts(limit=200)}
    assert keys
    assert all(re.fullmatch("[a-z0-9-]+", key) for key in keys)


def test_the_store_keeps_job_and_result(job: Job) -> None:
    from flows.records import jobs
    from tasks.store import Store

    ((job_id, asked, result),) = jobs(Store.open(str(job.store), workers=0))
    assert job_id == job.result.job
    assert asked is not None
    assert asked["style"] == "watercolor"
    assert result == job.result.to_dict()
