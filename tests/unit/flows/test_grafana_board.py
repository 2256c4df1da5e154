"""The board and the alerts ask only for figures that are really exported, by labels that they really have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client import Metric

from configs.job import RestyleJob
from flows.result import Status
from flows.telemetry import Telemetry
from tasks.engine.meter import EXPORTED
from tasks.run import Run, StageRecord, VideoOutput, VideoResult, WindowSteps

DONE = VideoResult(
    output=VideoOutput(
        source="a", uri="b", key="k", frames=1, width=2, height=2, shots=1, audio=0, latents_digest="", rgb_digest=""
    ),
    stages=[StageRecord(source="a", stage="denoise", key="k", status="computed", seconds=1.0, bytes=1)],
    window_steps=WindowSteps(),
    deflicker_steps=[],
)
ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "infra" / "grafana"
BY_RAY = {"WorkerId", "NodeAddress", "Component", "SessionName", "Version"}
WORDS = {
    *("by", "without", "ignoring", "on", "group_left", "group_right", "and", "or", "unless", "offset", "bool"),
    *("sum", "max", "min", "avg", "count", "rate", "increase", "histogram_quantile", "time", "max_over_time", "absent"),
}


def exported() -> dict[str, set[str]]:
    """Name of a series -> its labels: of the driver as a registry shows them, of workers as the meter declares."""
    figures = Telemetry()
    for end in ("completed", "failed"):
        figures.job(end)
    figures.dead("bug")
    figures.measured(lambda run: DONE)(Run(RestyleJob(prompt="x"), "a.mp4", None, None))  # type: ignore[arg-type]
    figures._recoveries.labels("denoise").inc(0)
    figures._window_steps.labels("denoise").inc(0)
    found: dict[str, set[str]] = {}
    metric: Metric
    for metric in figures.registry.collect():
        for sample in metric.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    for name, labels in EXPORTED.items():
        series = [name] if name.endswith("load_seconds") else [f"{name}_{end}" for end in ("sum", "count", "bucket")]
        for one in series:
            found[one] = {*labels, *BY_RAY, *(("le",) if one.endswith("_bucket") else ())}
    return found


def board() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((FOLDER / "steadyframe.json").read_text())
    return loaded


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]


def book() -> Iterator[str]:
    """PromQL of the page for operators: the lines of its promql blocks."""
    text = (ROOT / "docs" / "operations.md").read_text()
    for block in re.findall(r"```promql\n(.*?)```", text, re.DOTALL):
        yield from (line for line in block.splitlines() if line.strip() and not line.startswith("#"))


def expressions() -> list[str]:
    panels = [target["expr"] for panel in board()["panels"] for target in panel.get("targets", ())]
    return [*panels, *(rule["expr"] for rule in alerts()), *book()]


def series_and_labels(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Each series that PromQL names, with the labels its matchers ask for."""
    plain = re.sub(r"\[[^\]]*\]", "", expression)
    grouped = {
        label.strip() for inner in re.findall(r"\b(?:by|ignoring)\s*\(([^)]*)\)", plain) for label in inner.split(",")
    }
    plain = re.sub(r"\b(?:by|ignoring|on|group_left)\s*\([^)]*\)", "", plain)
    for name, matchers in re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?", re.sub(r'"[^"]*"', '""', plain)):
        if name not in WORDS:
            asked = set(re.findall(r"([a-zA-Z_]\w*)\s*[=!]~?", matchers))
            yield name, asked | {label for label in grouped if label}


@pytest.mark.parametrize("expression", expressions())
def test_every_series_and_label_exists(expression: str) -> None:
    known = exported()
    named = list(series_and_labels(expression))
    assert named, expression
    for name, labels in named:
        assert name in known, f"{expression} asks for {name}, which nobody exports"
        assert labels <= known[name], f"{name} has no label {labels - known[name]}"


def test_silence_and_a_night_with_some_dead_videos_are_judged_rightly() -> None:
    """`time() - max(nothing)` is nothing and would never fire; `partial` is a night that was done."""
    rules = {rule["alert"]: rule for rule in alerts()}
    good = 'steadyframe_job_ended_timestamp_seconds{status=~"completed|reused|partial"}'
    for name in ("SteadyframeNoGoodJob", "SteadyframeSilent"):
        assert good in rules[name]["expr"]
    assert rules["SteadyframeSilent"]["expr"] == f"absent({good})"
    assert rules["SteadyframeSilent"]["for"] == "26h"
    assert set(get_args(Status)) - {"completed", "reused", "partial"} == {"failed", "interrupted"}


def test_what_alerts_ask_for_is_there_before_it_happens() -> None:
    """`increase` of a series that first appears with its first count is 0: the first bug would wake nobody."""
    shown = {(s.name, *s.labels.values()): s.value for m in Telemetry().registry.collect() for s in m.samples}
    assert shown["steadyframe_dead_letters_total", "bug"] == 0
    assert shown["steadyframe_videos_total", "failed", "poison"] == 0
    assert shown["steadyframe_window_steps_total", "denoise"] == 0
    assert shown["steadyframe_recoveries_total", "denoise"] == 0
    assert not [name for name, *_ in shown if "job_ended" in name], "its absence is what the alert about silence sees"


def test_the_parser_sees_what_is_wrong() -> None:
    asked = dict(series_and_labels('sum by (stage) (rate(steadyframe_nothing_total{end="x"}[5m])) / time()'))
    assert asked == {"steadyframe_nothing_total": {"end", "stage"}}


def test_the_board_shows_every_figure() -> None:
    shown = {name for e in expressions() for name, _ in series_and_labels(e)}
    families = {re.sub(r"_(sum|count|bucket)$", "", name) for name in exported()}
    missing = families - {re.sub(r"_(sum|count|bucket)$", "", name) for name in shown}
    assert missing <= {"steadyframe_window_steps_reused_total"}
    ids = [panel["id"] for panel in board()["panels"]]
    assert len(ids) == len(set(ids))


def test_every_figure_is_on_the_page_for_operators() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    for name in exported():
        family = re.sub(r"_(sum|count|bucket)$", "", name)
        assert f"`{family}`" in page, f"docs/operations.md does not list {family}"


def test_alerts_lead_to_headings_of_the_page() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    anchors = {
        re.sub(r"[^a-z0-9 -]", "", line.lstrip("# ").lower()).replace(" ", "-")
        for line in page.splitlines()
        if line.startswith("#")
    }
    for rule in alerts():
        where, _, anchor = rule["annotations"]["runbook"].partition("#")
        assert where == "docs/operations.md"
        assert anchor in anchors, anchor


def test_the_scrape_example_is_one() -> None:
    scraped = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert {job["job_name"] for job in scraped["scrape_configs"]} == {"steadyframe", "ray"}
    assert [FOLDER / name for name in scraped["rule_files"] if not (FOLDER / name).is_file()] == []
