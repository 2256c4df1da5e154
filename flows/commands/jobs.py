"""`restyle` and `demo`: arguments become a job, `flows.api` does it, and people get a summary."""

from __future__ import annotations

from typing import Any

import click

from flows.commands.options import job_of, job_options, json_option, resource_options, resources_of
from flows.commands.outcome import Outcome


@click.command()
@click.argument("sources", nargs=-1, metavar="SRC...")
@job_options
@resource_options
@json_option
def restyle(
    sources: tuple[str, ...], store: str | None, workers: int | None, device: str | None, **job: Any
) -> Outcome:
    """Restyle videos by text and a named style, without flicker.

    SRC is a video file, a folder, a glob or a URL; `demo` is the built-in clip. Give --prompt, --style or
    both. Run the same command again after a stop: finished work is kept.
    """
    made = job_of(sources, **job)
    return _run(made, resources_of(store, workers, device))


@click.command()
@job_options
@resource_options
@json_option
def demo(store: str | None, workers: int | None, device: str | None, **job: Any) -> Outcome:
    """Render a short procedural clip with sound, restyle it, and say where things are."""
    from configs.presets import DEFAULT_PRESET, load_preset

    named = job["style"] or job["prompt"] or job["reference"] or job["config"]
    if not named and not {"style", "prompt"} & load_preset(job["preset"] or DEFAULT_PRESET).keys():
        job["sets"] = ("style=watercolor", *job["sets"])  # first, so that a `--set style=` of the user's wins
    made = job_of(("demo",), **job)
    return _run(made, resources_of(store, workers, device))


def _run(job: Any, resources: dict[str, Any]) -> Outcome:
    from configs.settings import load_settings
    from flows import api
    from flows.commands.bars import observer

    with observer(load_settings().log_level) as observe:
        result = api.restyle(job, **resources, observe=observe)
    from flows.commands.summary import summary

    return Outcome(result, text=summary(result))
