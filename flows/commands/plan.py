"""`plan`: what a job would do to each video, and about how long it would take; decodes nothing, computes nothing."""

from __future__ import annotations

import math
import statistics
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from flows.commands.options import job_of, job_options, json_option, resource_options, resources_of
from flows.commands.outcome import Outcome, drawn, duration, size

if TYPE_CHECKING:
    from configs.job import ModelConfig, RestyleJob
    from tasks.correspond_forecast import PairForecast
    from tasks.store import Manifest, Store
    from tasks.video.facts import ClipFacts, ClipIndex

# pocket's budget on two CPU cores (issue 2, bar 10): 1.5 s per frame of 256x144 in 10 steps
_ENOUGH = 5
_SECONDS_PER_PIXEL_STEP = 1.5 / (256 * 144 * 10)


@dataclass(frozen=True)
class VideoPlan:
    """What one video takes; `shots` and `windows` are lower bounds until `shots_known` (found while decoding).

    `bytes` are latents committed per step, `seconds` the time to denoise, `basis` where that figure comes from;
    `correspondence` is what matching the frames takes, apart from these.
    """

    source: str
    frames: int
    width: int
    height: int
    working_width: int
    working_height: int
    shots: int
    shots_known: bool
    windows: int
    steps: int
    window_steps: int
    deflicker_steps: tuple[int, ...]
    bytes: int
    seconds: float
    basis: str
    correspondence: PairForecast


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
    from configs.errors import SteadyframeError
    from flows.result import ErrorEntry, JobResult
    from flows.sources import expand
    from tasks.store import Store

    made = job_of(sources, **job)
    opened = Store.attach(resources_of(store, workers, device)["store"])
    plans, errors = [], []
    for source in expand(made.sources):
        try:
            if source.error is not None:
                raise source.error
            plans.append(plan_video(made, source.uri, opened))
        except SteadyframeError as error:
            errors.append(ErrorEntry.of(error, source.uri))
    status = "completed" if not errors else "partial" if plans else "failed"
    result = JobResult.model_validate({"method": "plan", "status": status, "errors": errors})
    payload = {"plans": [asdict(p) for p in plans], "job_parameters": made.model_dump(mode="json")}
    return Outcome(result, payload, _text(plans) if plans else "")


def plan_video(job: RestyleJob, uri: str, store: Store) -> VideoPlan:
    """Plan one video from its header, and from its decode pass where the store has that. Errors: VideoError."""
    from models.methods.restyle import deflicker_steps, run_length
    from tasks.correspond_forecast import forecast
    from tasks.video.frames import working_size
    from tasks.video.source import probe

    facts = probe(_located(uri), job.input)
    index = _decoded(store, facts, job)
    first, last = job.input.frames or (0, facts.frames)
    frames = index.frames if index else max(0, min(last, facts.frames) - first)
    shots = index.shots if index else ((0, frames),)
    cells = _cells(job.model)
    height, width = working_size(facts, job.working_size, cells.multiple)
    windows = sum(math.ceil((stop - start) / job.window.size) for start, stop in shots)
    steps = run_length(job)
    rate, basis = _rate(store, job)
    matched = shots if deflicker_steps(job) or job.deflicker.filters_after else ()
    digests = index.digests if index else None
    return VideoPlan(
        source=uri,
        frames=frames,
        width=facts.width,
        height=facts.height,
        working_width=width,
        working_height=height,
        shots=len(shots),
        shots_known=index is not None,
        windows=windows,
        steps=steps,
        window_steps=windows * steps,
        deflicker_steps=deflicker_steps(job),
        bytes=_latent_bytes(job, cells, frames, height, width),
        seconds=rate * frames * height * width * steps,
        basis=basis,
        correspondence=forecast(store, job.deflicker, matched, (height, width), job.window.size, digests),
    )


def _located(uri: str) -> str:
    from flows.sources import DEMO

    if uri != DEMO:
        return uri
    from flows.demo import demo_clip

    return str(demo_clip())


def _decoded(store: Store, facts: ClipFacts, job: RestyleJob) -> ClipIndex | None:
    """The decode pass of these bytes, if the store has one made with the same choices."""
    from tasks.store import StageKey
    from tasks.video.facts import ClipIndex

    probes = {m.key for m in store.manifests("probe") if {"file": facts.digest} in m.inputs}
    for manifest in store.manifests("decode"):
        of_this_file = any(item.get("key") in probes for item in manifest.inputs)
        same_choices = manifest.preimage["params"]["input"] == job.model_dump(mode="json")["input"]
        if of_this_file and same_choices and store.lookup(StageKey("decode", manifest.key, {})):
            return ClipIndex.model_validate_json(store.read_part(manifest, "index.json"))
    return None


def _rate(store: Store, job: RestyleJob) -> tuple[float, str]:
    """Seconds per pixel and step of denoising, and where the figure comes from."""
    from flows.records import jobs

    if job.model.path == "dry":
        return 0.0, "the dry backbone computes nothing"
    seen: list[float] = []
    for _, asked, result in jobs(store):
        if not asked or not result or asked.get("model", {}).get("path") != job.model.path:
            continue
        for stage in result["stages"]:
            if stage["stage"].startswith("denoise") and stage["status"] == "computed":
                seen += [per for m in store.find(stage["key"]) if (per := _seconds_per(m)) > 0]
        if len(seen) >= _ENOUGH:
            break
    if seen:
        return statistics.median(seen), f"measured here ({len(seen)} shots of earlier jobs)"
    return _SECONDS_PER_PIXEL_STEP, "a rule of thumb for pocket on 2 CPU cores; the first run will tell"


def _seconds_per(manifest: Manifest) -> float:
    params = manifest.preimage["params"]
    first, stop = params["shot"]
    height, width = params["size"]
    return manifest.seconds / max(1, (stop - first) * height * width * params["num_inference_steps"])


@dataclass(frozen=True)
class _Cells:
    """Latent channels of a model, pixels per latent, and the multiple a frame's sides must have."""

    channels: int
    factor: int
    multiple: int


def _cells(model: ModelConfig) -> _Cells:
    """Read from the files of an embedded model; of others, which may be gigabytes elsewhere, as Stable Diffusion 1."""
    from models.backbone import describe

    if model.path not in ("pocket", "dry"):
        return _Cells(4, 8, 64)
    known = describe(model)
    return _Cells(known.latent_channels, known.factor, known.size_multiple)


def _latent_bytes(job: RestyleJob, cells: _Cells, frames: int, height: int, width: int) -> int:
    """Bytes of latents committed per step."""
    values = frames * cells.channels * (height // cells.factor) * (width // cells.factor)
    return values * (4 if job.model.dtype == "float32" else 2)


def _text(plans: list[VideoPlan]) -> str:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("video", "frames", "working size", "shots", "windows x steps", "per commit", "about"):
        table.add_column(column, overflow="fold")
    for video in plans:
        table.add_row(
            escape(video.source),
            f"{video.frames} of {video.width}×{video.height}",
            f"{video.working_width}×{video.working_height}",
            f"{video.shots}" if video.shots_known else f"{video.shots} or more",
            f"{video.windows} x {video.steps} = {video.window_steps}",
            size(video.bytes),
            duration(video.seconds),
        )
    total = sum(video.seconds for video in plans)
    denoising = f"\nabout {duration(total)} of denoising: {plans[0].basis}"
    return drawn(table, denoising, _matching([video.correspondence for video in plans]))


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
