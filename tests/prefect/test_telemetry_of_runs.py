"""Through the whole command: what flow runs did is in the metrics file, night after night."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows import telemetry


def sums(path: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in text_string_to_metric_families(path.read_text()):
        for sample in metric.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()) if k != "stage")
            found[f"{sample.name}{{{labels}}}"] = found.get(f"{sample.name}{{{labels}}}", 0.0) + sample.value
    return found


def test_jobs_add_up_in_the_file(
    run: Callable[..., tuple[int, dict[str, Any]]], fake: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "steadyframe.prom"
    monkeypatch.setenv("STEADYFRAME_METRICS_FILE", str(path))
    monkeypatch.setattr("flows.video.pipeline", fake)
    telemetry.telemetry.cache_clear()
    telemetry._ledger.cache_clear()
    clips = tmp_path / "clips"
    clips.mkdir()
    for name in ("good", "bad", "bug", "reused"):
        fake.write_clip(clips / f"{name}.mp4", 60)
    assert run(str(clips / "good.mp4"), str(clips / "bad.mp4"))[0] == 3
    assert run(str(clips / "bug.mp4"))[0] == 1
    assert run(str(clips / "reused.mp4"))[0] == 0
    found = sums(path)
    assert found["steadyframe_videos_total{end=completed,failure=}"] == 1
    assert found["steadyframe_videos_total{end=failed,failure=poison}"] == 1
    assert found["steadyframe_videos_total{end=failed,failure=bug}"] == 1
    assert found["steadyframe_videos_total{end=reused,failure=}"] == 1
    assert found["steadyframe_dead_letters_total{failure=poison}"] == 1
    assert found["steadyframe_jobs_total{status=partial}"] == found["steadyframe_jobs_total{status=reused}"] == 1
    assert found["steadyframe_stage_seconds_count{status=reused}"] == 2 + len(fake.STAGES)
    assert found["steadyframe_window_steps_total{}"] == 2 * 2 * 20
    assert found["steadyframe_videos_in_flight{}"] == 0
