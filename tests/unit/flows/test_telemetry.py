"""Figures for operators: what is counted, that files add up over processes, and that nothing ever stops a job."""

from __future__ import annotations

import logging
import socket
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.parser import text_string_to_metric_families

from configs.errors import ConfigError, Interrupted, UnreadableVideo, WorkerLost
from configs.job import RestyleJob
from configs.settings import Settings, load_settings
from flows import telemetry as module
from flows.ended import ending
from flows.telemetry import Telemetry, exported
from flows.telemetry_file import Ledger
from tasks.run import Progress, Run, StageRecord, VideoOutput, VideoResult, WindowSteps
from tasks.stepwise import recovering

OUTPUT = VideoOutput(
    source="a", uri="b", key="k", frames=1, width=2, height=2, shots=1, audio=0, latents_digest="", rgb_digest=""
)


def a_run(observe: Any = lambda progress: None) -> Run:
    return Run(RestyleJob(prompt="x"), "a.mp4", None, None, observe=observe)  # type: ignore[arg-type]


def result(*statuses: str) -> VideoResult:
    stages = [
        StageRecord(source="a", stage=f"denoise (shot {n})", key="k", status=status, seconds=2.0, bytes=10)  # type: ignore[arg-type]
        for n, status in enumerate(statuses)
    ]
    return VideoResult(output=OUTPUT, stages=stages, window_steps=WindowSteps(total=9, reused=4), deflicker_steps=[])


def value(figures: Telemetry, name: str, **labels: str) -> float | None:
    return figures.registry.get_sample_value(name, labels)


def test_an_end_of_a_video_is_counted_with_its_stages() -> None:
    figures = Telemetry()
    seen: list[float | None] = []

    def whole(run: Run, do: object = None) -> VideoResult:
        seen.append(value(figures, "steadyframe_videos_in_flight"))
        return result("computed", "reused")

    assert figures.measured(whole)(a_run(), do=None) == result("computed", "reused")
    figures.measured(lambda run: result("reused"))(a_run())
    figures.found(result("reused"))
    assert seen == [1.0]
    assert value(figures, "steadyframe_videos_in_flight") == 0
    assert value(figures, "steadyframe_videos_total", end="completed", failure="") == 1
    assert value(figures, "steadyframe_videos_total", end="reused", failure="") == 2
    assert value(figures, "steadyframe_stage_seconds_sum", stage="denoise", status="computed") == 2.0
    assert value(figures, "steadyframe_stage_seconds_count", stage="denoise", status="reused") == 3
    assert value(figures, "steadyframe_stage_bytes_total", stage="denoise", status="computed") == 10
    assert value(figures, "steadyframe_window_steps_reused_total") == 12


@pytest.mark.parametrize(
    ("error", "end", "failure"),
    [
        (UnreadableVideo("x"), "failed", "poison"),
        (RuntimeError("x"), "failed", "bug"),
        (Interrupted("x"), "interrupted", ""),
        (KeyboardInterrupt(), "interrupted", ""),
    ],
)
def test_a_failure_is_counted_by_class_and_goes_on_its_way(error: BaseException, end: str, failure: str) -> None:
    figures = Telemetry()

    def whole(run: Run) -> VideoResult:
        raise error

    with pytest.raises(type(error)):
        figures.measured(whole)(a_run())
    assert value(figures, "steadyframe_videos_total", end=end, failure=failure) == 1
    assert value(figures, "steadyframe_video_seconds_count", end=end) == 1
    assert value(figures, "steadyframe_videos_in_flight") == 0


def test_window_steps_count_as_they_happen_and_what_was_committed_is_not_counted_again() -> None:
    figures, heard = Telemetry(), []

    def whole(run: Run) -> VideoResult:
        signs = [(4, 12), (6, 12), (8, 12), (4, 12), (8, 12), (0, 5), (5, 5), (3, 6), (6, 6)]
        for done, total in signs:  # resumed at 4; a worker lost at 8, back to 4; two more shots, one resumed at 3
            run.observe(Progress("a", "denoise", done, total))
        run.observe(Progress("a", "correspond", 1, 2))
        return result("computed")

    figures.measured(whole)(a_run(heard.append))
    assert value(figures, "steadyframe_window_steps_total", stage="denoise") == 2 + 2 + 4 + 5 + 3
    assert value(figures, "steadyframe_window_steps_total", stage="correspond") is None
    assert len(heard) == 10, "all of it is handed on"


def test_recoveries_are_counted_where_they_happen() -> None:
    figures = Telemetry()

    class Healed:
        def heal(self) -> None:
            pass

    def whole(run: Run) -> VideoResult:
        left = iter([True, True, False])

        def work() -> int:
            if next(left):
                raise WorkerLost("gone")
            return 1

        assert recovering(run, Healed(), "denoise", work) == 1  # type: ignore[arg-type]
        run.observe(Progress("a", "denoise", message="less memory", event="oom"))
        return result("computed")

    figures.measured(whole)(a_run())
    assert value(figures, "steadyframe_recoveries_total", stage="denoise") == 2
    assert value(figures, "steadyframe_oom_steps_total") == 1


def families(path: Path) -> dict[str, float]:
    found = {}
    for metric in text_string_to_metric_families(path.read_text()):
        for sample in metric.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}"] = sample.value
    return found


def test_the_file_adds_up_over_processes_and_writes(tmp_path: Path) -> None:
    path = tmp_path / "figures" / "steadyframe.prom"
    for night in range(3):
        figures = Telemetry()
        ledger = Ledger(figures.registry)
        figures.job("completed")
        figures.dead("poison")
        ledger.write(path)
        figures.measured(lambda run: result("computed"))(a_run())
        ledger.write(path)
        ledger.write(path)
        found = families(path)
        assert found["steadyframe_jobs_total{status=completed}"] == night + 1
        assert found["steadyframe_stage_seconds_count{stage=denoise,status=computed}"] == night + 1
        assert found["steadyframe_stage_seconds_bucket{le=+Inf,stage=denoise,status=computed}"] == night + 1
        assert found["steadyframe_stage_seconds_bucket{le=1.0,stage=denoise,status=computed}"] == 0
    other = CollectorRegistry()
    Counter("steadyframe_jobs", "x", ["status"], registry=other).labels("failed").inc()
    Gauge("steadyframe_of_another_version", "x", registry=other).set(7)
    Ledger(other).write(path)
    Ledger(Telemetry().registry).write(path)
    found = families(path)
    assert found["steadyframe_jobs_total{status=completed}"] == 3, "what this process did not count stays"
    assert found["steadyframe_jobs_total{status=failed}"] == 1
    assert found["steadyframe_of_another_version{}"] == 7
    assert sorted(p.name for p in path.parent.iterdir() if p.suffix == ".prom") == ["steadyframe.prom"]


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "steadyframe.prom"

    def one() -> None:
        figures = Telemetry()
        ledger = Ledger(figures.registry)
        for _ in range(5):
            figures.dead("bug")
            ledger.write(path)

    threads = [threading.Thread(target=one) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert families(path)["steadyframe_dead_letters_total{failure=bug}"] == 20


def test_a_file_that_cannot_be_read_begins_anew_and_one_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "steadyframe.prom"
    path.write_text("steadyframe_jobs_total{status= 5\n")
    figures = Telemetry()
    figures.job("failed")
    with caplog.at_level(logging.WARNING, "steadyframe"):
        Ledger(figures.registry).write(path)
        assert families(path)["steadyframe_jobs_total{status=failed}"] == 1
        blocked = path / "below" / "a-file.prom"
        Ledger(figures.registry).write(blocked)
    assert "begin anew" in caplog.text
    assert str(blocked) in caplog.text
    assert "STEADYFRAME_METRICS_FILE" in caplog.text


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Telemetry:
    mine = Telemetry()
    monkeypatch.setattr(module, "telemetry", lambda: mine)
    return mine


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def test_the_port_serves_while_a_job_runs_and_the_file_has_all_at_its_end(
    tmp_path: Path, figures: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    port, path = free_port(), tmp_path / "steadyframe.prom"
    monkeypatch.setenv("STEADYFRAME_METRICS_PORT", str(port))
    monkeypatch.setenv("STEADYFRAME_METRICS_FILE", str(path))
    figures.queue(3, 5000)
    with exported(load_settings()):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        figures.job("completed")
    assert "steadyframe_videos_queued 3.0" in text
    found = families(path)
    assert found["steadyframe_bytes_in_flight{}"] == 5000
    assert found["steadyframe_jobs_total{status=completed}"] == 1
    with exported(load_settings()):  # the port was given back
        pass
    assert families(path)["steadyframe_jobs_total{status=completed}"] == 1


def test_the_file_is_kept_up_to_date_while_a_job_runs(
    tmp_path: Path, figures: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else nobody could be told by it that nothing moves."""
    path = tmp_path / "steadyframe.prom"
    monkeypatch.setattr(module, "FILE_SECONDS", 0.01)

    def shows(videos: float) -> None:
        deadline = time.monotonic() + 60
        while not path.exists() or families(path)["steadyframe_videos_queued{}"] != videos:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    with exported(Settings(metrics_file=path)):
        shows(0)
        figures.queue(3, 5000)
        shows(3)
    assert [thread for thread in threading.enumerate() if thread.name == "steadyframe-metrics"] == []


def test_a_job_that_fails_before_anything_is_open_is_in_the_file(
    tmp_path: Path, figures: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "steadyframe.prom"
    monkeypatch.setenv("STEADYFRAME_METRICS_FILE", str(path))
    monkeypatch.setattr("flows.ended.telemetry", lambda: figures)
    with pytest.raises(ConfigError, match="no such style"), ending("restyle", "j"):
        raise ConfigError("no such style")
    assert families(path)["steadyframe_jobs_total{status=failed}"] == 1


def test_a_file_that_cannot_be_written_is_told_of_twice_and_not_every_quarter_of_a_minute(
    tmp_path: Path, figures: Telemetry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "FILE_SECONDS", 0.0)
    (tmp_path / "file").touch()
    with exported(Settings(metrics_file=tmp_path / "file" / "steadyframe.prom")):
        for writer in threading.enumerate():
            if writer.name == "steadyframe-metrics":
                writer.join(60)
    assert len([row for row in caplog.records if "STEADYFRAME_METRICS_FILE" in row.getMessage()]) == 2


def test_a_taken_port_is_a_warning(figures: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(metrics_port=taken.getsockname()[1])
        ran = []
        with caplog.at_level(logging.WARNING, "steadyframe"), exported(settings):
            ran.append(True)
    assert ran == [True]
    assert "STEADYFRAME_METRICS_PORT" in caplog.text


def test_by_default_nothing_is_opened_and_nothing_written(figures: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    def opens(*_: object) -> None:
        raise AssertionError("nobody asked for it")

    monkeypatch.setattr(module, "start_http_server", opens)
    monkeypatch.setattr(Ledger, "write", opens)
    with exported(Settings()):
        pass
