"""`styles`: what looks there are, in words, or on a frame of the user's own clip as a contact sheet."""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.markup import escape
from rich.table import Table

from flows.commands.options import device_option, job_of, json_option, resources_of, setting_options, store_option
from flows.commands.outcome import Outcome, done, drawn, duration

if TYPE_CHECKING:
    from configs.job import RestyleJob
    from tasks.frame_styles import StyledFrames


@click.command()
@click.argument("clip", required=False, metavar="[CLIP]")
@click.option("--demo", is_flag=True, help="Preview on the built-in clip.")
@click.option("--frame", metavar="N", type=click.IntRange(0), help="Which frame to preview. [default: 0, the first]")
@click.option("--out", metavar="FILE|DIR", help="Where the sheet goes. [default: <out>/<clip>--styles.png]")
@setting_options
@store_option
@device_option
@json_option
def styles(
    clip: str | None,
    demo: bool,
    frame: int | None,
    out: str | None,
    store: str | None,
    device: str | None,
    **settings: Any,
) -> Outcome:
    """List the named styles; with a CLIP, preview them all on its first frame.

    The sheet is a PNG with the source first. Each picture is what a job with the same settings makes of that
    frame before the deflicker, by the same stages: finished ones are kept in the store and found again.
    """
    from configs.errors import ConfigError, VideoError
    from flows.result import JobResult

    if clip is None and not demo:
        given = {"frame": frame, "out": out, "store": store, "device": device, **settings}
        for name, value in given.items():
            if value not in (None, ()):
                option = "set" if name == "sets" else name
                raise ConfigError(f"--{option} is for a preview, and no clip is named; name one, or give --demo")
        return _listed()
    if clip is not None and demo:
        raise ConfigError(f"got the clip {clip} and --demo; give one of them")
    clip = _one_clip(clip or "demo")
    job = job_of((clip,), out=None, style=_names()[0], **settings)
    try:
        return _previewed(clip, frame or 0, out, job, store, device)
    except VideoError as error:
        return Outcome(JobResult.failure("styles", error, clip))


def _names() -> list[str]:
    from configs.presets import list_styles

    return list(list_styles())


def _listed() -> Outcome:
    from configs.presets import list_presets, list_styles, preset_about

    named = list_styles()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("style", "what it looks like", "prompt"):
        table.add_column(column, overflow="fold")
    for style in named.values():
        table.add_row(f"[bold]{style.name}[/bold]", style.about, f"[dim]{escape(style.template)}[/dim]")
    hint = "[dim]see them on your own video: steadyframe styles CLIP; starting points: steadyframe presets[/dim]"
    payload = {
        "styles": [style.model_dump() for style in named.values()],
        "presets": [{"name": preset, "about": preset_about(preset)} for preset in list_presets()],
    }
    return done("styles", payload, drawn(table, "", hint))


def _one_clip(text: str) -> str:
    """The one video that `text` names. Errors: UnreadableVideo, or ConfigError when it names several."""
    from configs.errors import ConfigError
    from flows.sources import expand

    found = expand((text,))
    if found[0].error is not None:
        raise found[0].error
    if len(found) > 1:
        raise ConfigError(f"{text} is {len(found)} videos and a sheet shows one; name one, e.g. {found[0].uri}")
    return found[0].uri


def _previewed(
    clip: str, frame: int, out: str | None, job: RestyleJob, store: str | None, device: str | None
) -> Outcome:
    from configs.settings import load_settings
    from flows.commands.bars import observer
    from flows.demo import demo_clip
    from flows.resources import resources
    from flows.result import JobResult
    from flows.sources import DEMO
    from tasks.frame_styles import style_frame
    from tasks.publish import write_whole
    from tasks.run import Run
    from tasks.sheet import contact_sheet

    began = time.perf_counter()
    target = _target(out, job.out, clip)
    chosen = resources_of(store, 0, device)
    uri = str(demo_clip()) if clip == DEMO else clip
    with observer(load_settings().log_level) as observe, resources(**chosen) as (opened, engines):
        made = style_frame(Run(job, uri, opened, engines, observe=observe), frame, _names())
    pictures = [("source", made.source), *((style.style, style.picture) for style in made.styled)]
    says = f"AI-generated: restyled by Steadyframe with {job.model.path}"
    write_whole(target, contact_sheet(pictures, {"Comment": says, "steadyframe_model": job.model.path}))
    seconds = time.perf_counter() - began
    status = "reused" if all(stage.status == "reused" for stage in made.stages) else "completed"
    result = JobResult(method="styles", status=status, stages=made.stages, window_steps=made.window_steps)
    return Outcome(result, {"sheet": _sheet(target, clip, made, seconds)}, _words(target, clip, made, seconds))


def _target(out: str | None, folder: str, clip: str) -> Path:
    """The file the sheet goes to: `--out` where it is a PNG, else a name of ours in that folder or the job's."""
    from configs.errors import ConfigError
    from configs.names import sheet_name
    from flows.sources import is_url

    if is_url(out or folder):
        raise ConfigError(f"--out {out or folder}: the sheet is for the eye; give a folder or a PNG of this machine")
    path = Path(out or folder).expanduser().absolute()
    if out is None or path.is_dir() or not path.suffix:
        return path / sheet_name(clip)
    if path.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: the sheet is a PNG; name it {path.with_suffix('.png').name}, or a folder")
    return path


def _sheet(target: Path, clip: str, made: StyledFrames, seconds: float) -> dict[str, Any]:
    height, width = made.source.shape[:2]
    return {
        "uri": str(target),
        "source": clip,
        "frame": made.frame,
        "width": width,
        "height": height,
        "seconds": seconds,
        "styles": [
            {"name": style.style, "prompt": style.prompt, "key": style.key, "seconds": style.seconds}
            for style in made.styled
        ],
    }


def _words(target: Path, clip: str, made: StyledFrames, seconds: float) -> str:
    height, width = made.source.shape[:2]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    table.add_row("sheet", f"[bold]{escape(str(target))}[/bold]")
    table.add_row("shows", f"frame {made.frame} of {escape(clip)} at {width}×{height} in {len(made.styled)} styles")
    table.add_row("took", duration(seconds))
    table.add_row("then", f"steadyframe restyle {escape(shlex.quote(clip))} --style NAME, with the same settings")
    return drawn(table)
