"""`deflicker`: a video made by any tool, or a few keyframes, blended along the motion of its guide."""

from __future__ import annotations

from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from flows.commands.options import json_option, resource_options, resources_of
from flows.commands.outcome import Outcome, drawn


@click.command()
@click.argument("sources", nargs=-1, metavar="[SRC]")
@click.option("--guide", metavar="SOURCE", help="The video that SRC or the keyframes were made from.")
@click.option("--out", metavar="DIR", help="Folder for the result. [default: steadyframe-out]")
@click.option(
    "--keyframes",
    metavar="IMG...",
    multiple=True,
    help="Pictures for some frames of the guide, instead of SRC: key_000012.png, 12=any.png, or a folder.",
)
@click.option("--config", metavar="FILE", help="A YAML file of job keys.")
@click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="One key of the job; may repeat.")
@click.option("--seed", metavar="N", type=int, help="Another seed, other matches where several are as good.")
@resource_options
@json_option
def deflicker(
    sources: tuple[str, ...],
    guide: str | None,
    out: str | None,
    keyframes: tuple[str, ...],
    config: str | None,
    sets: tuple[str, ...],
    seed: int | None,
    store: str | None,
    workers: int | None,
    device: str | None,
) -> Outcome:
    """Steady a video that another tool made, along the motion of the video it was made from.

    SRC and the guide have the same number of frames. With --keyframes the guide's other frames are filled in
    between pictures that you painted; keys are kept as they are, and none crosses a cut. Run the same command
    again after a stop: finished work is kept.
    """
    from configs.deflicker_job import build_deflicker_job
    from configs.settings import load_settings
    from flows import api
    from flows.commands.bars import observer

    flags: dict[str, Any] = {"guide": guide, "out": out, "deflicker.seed": seed}
    if keyframes:  # what a shell made of `--keyframes keys/*.png` arrives as one option and arguments
        flags["keyframes"] = (*keyframes, *sources)
    elif len(sources) > 1:
        raise click.UsageError(f"one video at a time has one guide, got {len(sources)}: {', '.join(sources)}")
    elif sources:
        flags["source"] = sources[0]
    job = build_deflicker_job(config, sets, flags)
    resources = resources_of(store, workers, device)
    with observer(load_settings().log_level) as observe:
        result = api.deflicker(job, **resources, observe=observe)
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
