"""`deflicker`: a video made by any tool, or a few keyframes, blended along the motion of its guide."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from flows.commands.options import deflicker_job_of, deflicker_options, json_option, resource_options, resources_of
from flows.commands.outcome import Outcome, drawn


@click.command()
@deflicker_options
@resource_options
@json_option
def deflicker(
    sources: tuple[str, ...], store: str | None, workers: int | None, device: str | None, **job: Any
) -> Outcome:
    """Steady a video that another tool made, along the motion of the video it was made from.

    SRC and the guide have the same number of frames. With --keyframes the guide's other frames are filled in
    between pictures that you painted; keys are kept as they are, and none crosses a cut. Run the same command
    again after a stop: finished work is kept.
    """
    from configs.settings import load_settings
    from flows import api
    from flows.commands.bars import observer

    made = deflicker_job_of(sources, **job)
    resources = resources_of(store, workers, device)
    with observer(load_settings().log_level) as observe:
        result = api.deflicker(made, **resources, observe=observe)
    from flows.commands.summary import summary

    rows = [row for output in result.outputs for row in output.metrics.get("segments", [])]
    return Outcome(result, text=summary(result) + (_segments(rows) if rows else ""))


def _segments(rows: list[dict[str, Any]]) -> str:
    """Where the keys fit and where not, for people."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("frames", "keys", "match error", "worst at"):
        table.add_column(column)
    for row in rows:
        keys = ", ".join(str(key) for key in row["keys"])
        worst = f"{row['worst_frame']} ({row['worst_error']:.1f})"
        table.add_row(f"{row['first']}-{row['stop'] - 1}", escape(keys), f"{row['match_error']:.1f}", worst)
    return drawn(table, "[dim]match error: levels of 255; where it is high, a keyframe is missing[/dim]")
