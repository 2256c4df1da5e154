"""Commands that only look: `presets`, `runs`, `explain`, `verify`."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.commands.options import json_option, store_option, store_url
from flows.commands.outcome import Outcome, done, drawn, size


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@click.command()
@json_option
def presets() -> Outcome:
    """List the presets: where the settings of a job start from."""
    from configs.presets import DEFAULT_PRESET, list_presets, load_preset, preset_about, preset_extends

    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "about": preset_about(name),
            "extends": preset_extends(name),
            "style": load_preset(name).get("style"),
            "default": name == DEFAULT_PRESET,
        }
        for name in list_presets()
    ]
    table = _table("preset", "builds on", "style", "what it is for")
    # what others build on comes first
    for row in sorted(rows, key=lambda row: (row["extends"] is not None, not row["default"], row["name"])):
        name = f"[bold]{row['name']}[/bold]" + " [dim](default)[/dim]" * row["default"]
        table.add_row(name, row["extends"] or "", row["style"] or "", row["about"])
    return done("presets", {"presets": rows}, drawn(table))


@click.command()
@store_option
@click.option("--last", metavar="N", type=click.IntRange(1), default=20, show_default=True, help="How many jobs.")
@json_option
def runs(store: str | None, last: int) -> Outcome:
    """List the jobs of the store, newest first."""
    from itertools import islice

    from flows.records import jobs
    from tasks.store import Store

    url = store_url(store)
    rows = [_run_row(*record) for record in islice(jobs(Store.attach(url)), last)]
    table = _table("job", "status", "videos", "style or prompt", "window steps", "errors")
    for row in rows:
        colour = {"completed": "green", "reused": "green", "running or killed": "dim"}.get(row["status"], "yellow")
        table.add_row(
            row["job"],
            f"[{colour}]{row['status']}[/{colour}]",
            f"{len(row['outputs'])} of {len(row['sources'])}",
            escape(row["style"] or (row["prompt"] or "")[:40]),
            f"{row['window_steps'].get('computed', 0)} of {row['window_steps'].get('total', 0)} computed",
            str(row["errors"] or ""),
        )
    text = drawn(table) if rows else f"no jobs in {url}"
    return done("runs", {"store": url, "runs": rows}, text)


def _run_row(job_id: str, asked: dict[str, Any] | None, result: dict[str, Any] | None) -> dict[str, Any]:
    asked, result = asked or {}, result or {}
    return {
        "job": job_id,
        # no result yet and killed before one could be written look alike from here
        "status": result.get("status", "running or killed"),
        "sources": asked.get("sources", []),
        "style": asked.get("style"),
        "prompt": asked.get("prompt"),
        "outputs": [output["uri"] for output in result.get("outputs", [])],
        "window_steps": result.get("window_steps", {}),
        "errors": len(result.get("errors", [])),
    }


@click.command()
@click.argument("output", metavar="OUTPUT")
@click.option("--against", metavar="OUTPUT|KEY", help="What to compare with. [default: the run before it]")
@store_option
@json_option
def explain(output: str, against: str | None, store: str | None) -> Outcome:
    """Say why stages of a result were computed or reused.

    OUTPUT is a video Steadyframe made, or the beginning of a key.
    """
    from flows.explain import explain as explained
    from tasks.store import Store

    found = explained(Store.attach(store_url(store)), output, against)
    table = _table("stage", "key", "", "why")
    for stage in found.stages:
        colour = "green" if stage.status == "reused" else "cyan"
        why = stage.sentence if found.against_key else ""
        table.add_row(stage.stage, stage.key[:8], f"[{colour}]{stage.status}[/{colour}]", escape(why))
    head = f"job {found.job or '(no record)'}, output {found.key[:8]}"
    head += f", beside job {found.against_job or '(no record)'}, output {found.against_key[:8]}" * bool(
        found.against_key
    )
    if not found.against_key:
        head += "; no earlier run of this source to compare with"
    payload = {
        "key": found.key,
        "explained_job": found.job,
        "against": {"job": found.against_job, "key": found.against_key} if found.against_key else None,
        "explained": [
            {
                "stage": s.stage,
                "key": s.key,
                "status": s.status,
                "before": s.before,
                "changes": [{"name": name, "before": old, "after": new} for name, old, new in s.changes],
                "because": list(s.because),
            }
            for s in found.stages
        ],
    }
    return done("explain", payload, drawn(Text(head, style="dim"), table))


@click.command()
@store_option
@json_option
def verify(store: str | None) -> Outcome:
    """Read every artifact of the store again and check its digest.

    A damaged one is no harm: it counts as absent and is computed again when it is needed.
    """
    from flows.result import ErrorEntry, JobResult
    from tasks.store import StageKey, Store, TornArtifact

    opened = Store.attach(store_url(store))
    checked, read, torn = 0, 0, []
    for manifest in opened.manifests():
        checked += 1
        read += manifest.bytes
        if opened.lookup(StageKey(manifest.stage, manifest.key, {}), verify="digests") is None:
            torn.append(f"{manifest.stage} {manifest.key}")
    message = "is damaged; it counts as absent and will be computed again"
    errors = [ErrorEntry.of(TornArtifact(f"{name} {message}"), source=name) for name in torn]
    result = JobResult(method="verify", status="partial" if torn else "completed", errors=errors)
    payload = {"store": opened.url, "artifacts": checked, "bytes": read, "damaged": torn}
    text = f"{checked} artifacts, {size(read)} in {opened.url}: {f'{len(torn)} damaged' if torn else 'all whole'}"
    return Outcome(result, payload, text)
