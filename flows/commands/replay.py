"""`replay`: try the dead videos again, with exactly the inputs they died with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from rich.markup import escape
from rich.table import Table

from flows.commands.options import json_option, resource_options, resources_of
from flows.commands.outcome import Outcome, drawn

if TYPE_CHECKING:
    from flows.replaying import ReplayResult

_COLOURS = {"worked": "green", "died again": "red", "waits": "dim"}


@click.command()
@click.option("--job", metavar="ID", help="Only the dead of this job; see steadyframe runs.")
@click.option("--class", "classes", metavar="CLASS", multiple=True, help="Only of this class; may repeat.")
@click.option("--dry-run", is_flag=True, help="Say which would be tried, and try none.")
@resource_options
@json_option
def replay(
    job: str | None,
    classes: tuple[str, ...],
    dry_run: bool,
    store: str | None,
    workers: int | None,
    device: str | None,
) -> Outcome:
    """Try the dead videos of earlier jobs again, and only those, with exactly the inputs they died with.

    Classes are transient, lost, oom, config, poison and bug. What works is marked and kept in the store's `dead/`;
    what fails again is counted.
    """
    from configs.settings import load_settings
    from flows.commands.bars import observer
    from flows.commands.summary import summary
    from flows.replaying import replay as replayed

    resources = resources_of(store, workers, device)
    with observer(load_settings().log_level) as observe:
        result = replayed(job, classes, dry_run, **resources, observe=observe)
    if not result.letters:
        return Outcome(result, text=f"nothing to replay: no dead letter waits in {resources['store']}")
    return Outcome(result, text=_table(result) + ("" if dry_run else summary(result)))


def _table(result: ReplayResult) -> str:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("video", "class", "tries", "", "cause"):
        table.add_column(column, overflow="fold")
    for row in result.letters:
        colour = _COLOURS[row.outcome]
        cause = "" if row.outcome == "worked" else f"{row.class_name}: {row.message}"
        table.add_row(
            escape(row.source), row.failure, str(row.attempt), f"[{colour}]{row.outcome}[/{colour}]", escape(cause)
        )
    return drawn(table)
