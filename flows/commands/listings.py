"""Commands that only look: `presets`, `runs`, `explain`."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.commands.options import json_option, store_option, store_url
from flows.commands.outcome import Outcome, done, drawn


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
    """List the jobs of the store, newest first, with their dead and what the quality gate flagged."""
    from itertools import islice

    from flows.dead import dead_letters
    from flows.records import jobs
    from tasks.store import Store

    url = store_url(store)
    opened = Store.attach(url)
    rows = []
    for job_id, asked, result in islice(jobs(opened), last):
        dead = sum(1 for _ in dead_letters(opened, job_id))
        rows.append({**_run_row(job_id, asked or {}, result or {}), "dead": dead})
    table = _table("job", "what", "status", "videos", "dead", "to look at", "style or prompt", "window steps")
    for row in rows:
        colour = {"completed": "green", "reused": "green", "running or killed": "dim"}.get(row["status"], "yellow")
        table.add_row(
            row["job"],
            row["method"],
            f"[{colour}]{row['status']}[/{colour}]",
            f"{len(row['outputs'])} of {row['videos']}",
            f"[red]{row['dead']}[/red]" if row["dead"] else "",
            str(row["review"] or ""),
            escape(row["style"] or (row["prompt"] or "")[:40]),
            f"{row['window_steps'].get('computed', 0)} of {row['window_steps'].get('total', 0)} computed",
        )
    waiting = sum(row["dead"] for row in rows)
    hint = f"[dim]{waiting} dead; after the repair: steadyframe replay[/dim]" if waiting else ""
    text = drawn(table, *([hint] if hint else [])) if rows else f"no jobs in {url}"
    return done("runs", {"store": url, "runs": rows}, text)


def _run_row(job_id: str, asked: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    outputs, errors = result.get("outputs", []), result.get("errors", [])
    settings = asked.get("settings") or {}  # a library keeps the keys of its videos' jobs there
    return {
        "job": job_id,
        "method": asked.get("method", ""),
        # no result yet and killed before one could be written look alike from here
        "status": result.get("status", "running or killed"),
        "sources": asked.get("sources") or [name for name in (asked.get("source"), asked.get("guide")) if name][:1],
        "videos": max(len(asked.get("sources", [])), len(outputs) + len(errors)),
        "style": asked.get("style", settings.get("style")),
        "prompt": asked.get("prompt", settings.get("prompt")),
        "outputs": [output["uri"] for output in outputs],
        "review": sum(bool(output.get("review")) for output in outputs),
        "window_steps": result.get("window_steps", {}),
        "errors": len(errors),
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
