"""Commands about this machine: `doctor` checks it, `serve` runs server, UI and worker on it."""

from __future__ import annotations

from dataclasses import asdict

import click
from rich.markup import escape
from rich.table import Table

from flows.commands.options import json_option, store_option, store_url
from flows.commands.outcome import Outcome, drawn


@click.command()
@store_option
@json_option
def doctor(store: str | None) -> Outcome:
    """Check this machine and what it talks to: versions, devices, codecs, ports, disk, store, server, Ray, clocks.

    Every finding that is not ok says what to do. Exit code 0 when a job could run, 2 when something is wrong.
    """
    from configs.errors import ConfigError
    from flows.commands.checks import run_checks
    from flows.result import ErrorEntry, JobResult

    checks = run_checks(store_url(store))
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for check in checks:
        mark = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "bad": "[red]bad[/red]"}[check.state]
        table.add_row(mark, check.name, escape(f"{check.found}; {check.fix}" if check.fix else check.found))
    bad = [ErrorEntry.of(ConfigError(f"{c.name}: {c.found}; {c.fix}")) for c in checks if c.state == "bad"]
    result = JobResult(method="doctor", status="failed" if bad else "completed", errors=bad)
    payload = {"checks": [asdict(check) for check in checks]}
    return Outcome(result, payload, drawn(table))


@click.command()
@click.option("--limit", metavar="N", type=click.IntRange(1), default=1, show_default=True, help="Runs at a time.")
@json_option
def serve(limit: int) -> Outcome:
    """Run server, UI, deployments and worker on the loopback until Ctrl-C."""
    from flows.result import JobResult
    from flows.serve import serve as serve_until_stopped

    serve_until_stopped(lambda line: click.echo(line, err=True), limit)
    return Outcome(JobResult(method="serve", status="completed"))
