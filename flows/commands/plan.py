"""`plan`: what a job would do to each video, and about how long it would take; decodes nothing, computes nothing."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from flows.commands.options import (
    deflicker_job_of,
    deflicker_options,
    job_of,
    job_options,
    json_option,
    library_options,
    resource_options,
    resources_of,
)
from flows.commands.outcome import Outcome, done, drawn, duration, size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from configs.errors import SteadyframeError
    from configs.job import RestyleJob
    from configs.library import LibraryJob
    from flows.planning import VideoPlan
    from flows.planning_deflicker import DeflickerPlan
    from tasks.correspond_forecast import PairForecast


@click.group()
def plan() -> None:
    """Say what a job would do, and about how long; compute nothing."""


@plan.command("restyle")
@click.argument("sources", nargs=-1, metavar="SRC...")
@job_options
@resource_options
@json_option
def plan_restyle(
    sources: tuple[str, ...], store: str | None, workers: int | None, device: str | None, **job: Any
) -> Outcome:
    """Say what `steadyframe restyle` with the same arguments would do."""
    made = job_of(sources, **job)
    return planned(made, **resources_of(store, workers, device))


@plan.command("library")
@library_options
@resource_options
@json_option
def plan_library(
    sources: tuple[str, ...], store: str | None, workers: int | None, device: str | None, **given: Any
) -> Outcome:
    """Say what `steadyframe library` with the same arguments would do to each video, one after the other."""
    from flows.commands.library import library_of
    from flows.library.plan import plan_videos

    job = library_of(sources, given)
    videos = [(video.uri, video.job, video.error) for video in plan_videos(job)]
    return _planned(videos, job, **resources_of(store, workers, device))


@plan.command("deflicker")
@deflicker_options
@resource_options
@json_option
def plan_deflicker(
    sources: tuple[str, ...], store: str | None, workers: int | None, device: str | None, **job: Any
) -> Outcome:
    """Say what `steadyframe deflicker` with the same arguments would match, and whether the matches fit."""
    from flows import planning_deflicker
    from flows.planning import planned_pool
    from tasks.store import Store

    made, chosen = deflicker_job_of(sources, **job), resources_of(store, workers, device)
    opened = Store.attach(chosen["store"])
    engines = planned_pool(opened.url, chosen["workers"], chosen["device"])
    found = planning_deflicker.plan_deflicker(made, opened, engines)
    payload = {"plans": [found.as_dict()], "job_parameters": made.model_dump(mode="json")}
    return done("plan", payload, _filtering(found))


def planned(job: RestyleJob, store: str | None, workers: int | None = None, device: str | None = None) -> Outcome:
    """Plan every source of a job; `store`, `workers` and `device` default to the settings'. Errors are in the result.

    The payload has one row per video under `plans`, and what all take together under `total`.
    """
    from flows.sources import expand

    videos = [(source.uri, job, source.error) for source in expand(job.sources)]
    return _planned(videos, job, **resources_of(store, workers, device))


def _planned(
    videos: Iterable[tuple[str, RestyleJob, SteadyframeError | None]], named: RestyleJob | LibraryJob, **chosen: Any
) -> Outcome:
    """Plan videos by their own jobs, which `named` led to; those that carry an error are told of."""
    from configs.errors import SteadyframeError
    from flows.planning import plan_video, planned_pool, totals
    from flows.result import ErrorEntry, JobResult
    from tasks.history import History
    from tasks.store import Store

    opened = Store.attach(chosen["store"])
    engines, history = planned_pool(opened.url, chosen["workers"], chosen["device"]), History.read(opened)
    plans, errors = [], []
    for uri, job, dead in videos:
        try:
            if dead is not None:
                raise dead
            plans.append(plan_video(job, uri, opened, engines, history))
        except SteadyframeError as error:
            errors.append(ErrorEntry.of(error, uri))
    status = "completed" if not errors else "partial" if plans else "failed"
    result = JobResult.model_validate({"method": "plan", "status": status, "errors": errors})
    total = totals(plans, history, dt.datetime.now().astimezone())
    payload = {"plans": [p.as_dict() for p in plans], "total": total, "job_parameters": named.model_dump(mode="json")}
    return Outcome(result, payload, _text(plans, total) if plans else "")


def _text(plans: list[VideoPlan], total: dict[str, Any]) -> str:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("video", "frames", "working size", "shots", "windows x steps", "in the store", "about"):
        table.add_column(column, overflow="fold")
    for video in plans:
        there = sum(stage.status == "reused" for stage in video.forecast.stages)
        table.add_row(
            escape(video.source),
            f"{video.frames} of {video.width}×{video.height}",
            f"{video.working_width}×{video.working_height}",
            f"{video.shots}" if video.shots_known else f"{video.shots} or more",
            f"{video.windows} x {video.steps} = {video.window_steps}",
            f"{there} of {len(video.forecast.stages)} stages",
            duration(video.forecast.seconds),
        )
    whole = f"\nabout {duration(total['seconds'])} ({duration(total['low'])} to {duration(total['high'])})"
    if total["beside"]:
        whole += f", {duration(total['beside'])} of it start-up"
    device = f"{duration(total['gpu_seconds'])} of device time, {size(total['bytes'])} written"
    ends = dt.datetime.fromisoformat(total["finish"])
    when = f"{whole}; {device}; done at {ends:%H:%M} if begun now: {_bases(plans)}"
    return drawn(table, when, _matching([video.correspondence for video in plans]))


def _filtering(found: DeflickerPlan) -> str:
    """A deflicker plan for people."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("video", "guide", "frames", "matched at", "shots", "frames in the store"):
        table.add_column(column, overflow="fold")
    table.add_row(
        escape(found.source or f"{found.keyframes} keyframes"),
        escape(found.guide),
        f"{found.frames} of {found.width}×{found.height}",
        f"{found.working_width}×{found.working_height}",
        f"{found.shots}" if found.shots_known else f"{found.shots} or more",
        f"about {size(found.frame_bytes)}",
    )
    lines = [_matching([found.correspondence])]
    if not found.keep_matches:
        lines.append("no match is kept (keep_matches=false)")
    elif not found.fits:
        lines.append(f"the store has {size(found.free or 0)} left: give --set keep_matches=false, which keeps no match")
    return drawn(table, *lines)


def _bases(plans: list[VideoPlan]) -> str:
    """What the forecasts rest on, each once."""
    return "; ".join(dict.fromkeys(video.forecast.basis for video in plans))


def _matching(forecasts: list[PairForecast]) -> str:
    """One line for the correspondence of all videos, whose time and bytes are spent once per clip."""
    pairs, cached = sum(f.pairs for f in forecasts), sum(f.cached for f in forecasts)
    if not pairs:
        return "no correspondence is needed"
    line = f"correspondence ({forecasts[0].method}): {pairs} pairs of frames, {cached} of them in the store"
    if cached < pairs:
        seconds, more = sum(f.seconds for f in forecasts), sum(f.bytes for f in forecasts)
        line += f"; about {duration(seconds)} and {size(more)} for the others: {forecasts[0].basis}"
    return line
