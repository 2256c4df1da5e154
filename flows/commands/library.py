"""`library`: a YAML file or flags become a library job, `flows.api` runs it, and people get a summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from flows.commands.options import json_option, library_options, resource_options, resources_of
from flows.commands.outcome import Outcome

_SUFFIXES = (".yaml", ".yml")


@click.command()
@library_options
@resource_options
@json_option
def library(
    sources: tuple[str, ...], store: str | None, workers: int | None, device: str | None, **given: Any
) -> Outcome:
    """Restyle a library: what is new or changed in folders, globs or URLs.

    JOB.yaml holds the keys of the library; further SRC take the place of its sources. A file CLIP.mp4.yaml beside
    CLIP.mp4 changes keys for that video. One bad video stops no other: steadyframe replay tries the dead again.
    """
    job = library_of(sources, given)
    resources = resources_of(store, workers, device)
    from configs.settings import load_settings
    from flows import api
    from flows.commands.bars import observer

    with observer(load_settings().log_level) as observe:
        result = api.library(job, **resources, observe=observe)
    return Outcome(result, text=_summary(result))


def library_of(sources: tuple[str, ...], given: dict[str, Any]) -> Any:
    """Build the library job that the arguments describe. Errors: ConfigError, also when no source is named anywhere."""
    from configs.errors import ConfigError
    from configs.library_layers import build_library

    files = [text for text in sources if text.lower().endswith(_SUFFIXES)]
    if len(files) > 1 or (files and sources[0] != files[0]):
        raise ConfigError(f"one library file at most, and before all sources; got {', '.join(files)}")
    rest = sources[1:] if files else sources
    if not files and not rest:
        raise ConfigError("no source given: name a library file (JOB.yaml), or files, folders, globs or URLs")
    flags = {name: given[name] for name in ("out", "preset", "naming", "max_in_flight", "failed_share")}
    flags |= {name: list(given[name]) or None for name in ("include", "exclude")}
    flags |= {name: given[name] for name in ("prompt", "style", "reference", "depth", "seed")}
    config = Path(given["config"]) if given["config"] else None
    return build_library(Path(files[0]) if files else None, rest, config, given["sets"], flags)


def _summary(result: Any) -> str:
    """Return what a finished library leaves on a terminal: counts, what wants a look, where the page is."""
    from rich.table import Table
    from rich.text import Text

    from flows.commands.outcome import drawn, duration
    from flows.commands.summary import head

    facts = result.library
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    counts = [(facts.computed, "computed"), (facts.reused, "there already"), (facts.dead, "dead")]
    counts.append((facts.waiting, "not reached"))
    told = ", ".join(f"{count} {word}" for count, word in counts if count) or "none"
    table.add_row("videos", f"{facts.videos}: {told}")
    if look := sum(output.review for output in result.outputs):
        table.add_row("review", f"{look} worth a look: a figure is outside its usual range")
    table.add_row("took", duration(facts.seconds))
    if facts.page:
        table.add_row("page", Text(facts.page, style="bold"))
    if facts.dead:
        only = "" if facts.dead_before else f" --job {result.job}"  # letters of earlier jobs wait there
        table.add_row("then", f"after the repair: steadyframe replay{only}")
    return drawn(head(result), table)
