"""`evaluate`: the figures of a finished video against its source, or of any by itself; and the judge's verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from flows.commands.options import json_option
from flows.commands.outcome import Outcome, done, drawn

_LONG_SIDE = 512  # flow is measured at most this large: finer is slower and finds the same ranking
_JUDGED_SIDE = 256  # what the judge is calibrated at, and the size at which pocket draws its tiles and strokes


@click.command()
@click.argument("video", metavar="A")
@click.option("--source", metavar="B", help="What A was made from: flicker is measured along its motion.")
@click.option(
    "--convention", type=click.Choice(["masked", "all", "minus_forward"]), default="masked", show_default=True
)
@click.option("--style", metavar="NAME", help="The style A was meant to show: needs B, adds the judge's verdict.")
@json_option
def evaluate(video: str, source: str | None, convention: str, style: str | None) -> Outcome:
    """Measure flicker, sharpness and fidelity of a video A, along the motion of its source B.

    Without B the motion of A itself is used, which flatters a flickering video: give B where you can. With a
    style the judge says which style each frame shows, and how far it is from the style's own filter.
    """
    if style is not None and source is None:
        raise click.UsageError("--style needs --source: a style is judged beside what it was made from")
    verdict = judged(video, source, style) if style is not None and source is not None else {}
    measured = measure(video, source or video, convention) | verdict
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("figure", "value", ""):
        table.add_column(column)
    for name, (label, about) in _SAID.items():
        if measured.get(name) is not None:
            table.add_row(label, f"{measured[name]:.4g}", f"[dim]{about}[/dim]")
    if style is not None:
        table.add_row("styles seen", ", ".join(f"{k} {n}" for k, n in measured["styles"].items()), "[dim]frames[/dim]")
    payload = {"video": video, "source": source, "convention": convention, "style": style, "metrics": measured}
    return done("evaluate", payload, drawn(f"[bold]{escape(video)}[/bold]", table))


_SAID = {
    "pixel_mse": ("flicker", "Pixel-MSE of consecutive frames along the motion, 0-255 scale; lower is steadier"),
    "source_pixel_mse": ("flicker of the source", "the same of B on the same pixels"),
    "ratio": ("flicker ratio", "flicker over the source's own"),
    "sharpness_ratio": ("sharpness ratio", "Laplacian energy over the source's; below 1 is blurred"),
    "psnr": ("PSNR to the source", "dB; a restyle is meant to differ"),
    "style_accuracy": ("style accuracy", "share of judged frames that show the style"),
    "structure": ("structure", "agreement of contours with the source, 0 to 1"),
    "structure_ratio": ("structure ratio", "over that of the style's own filter"),
    "fidelity_psnr": ("fidelity", "PSNR to the style's own filter, dB"),
    "colour_error": ("colour error", "mean Lab delta E to the filter, blurred"),
    "sharpness_to_filter": ("sharpness beside the filter", "Laplacian energy over the filter's"),
}


def measure(video: str, source: str, convention: str) -> dict[str, Any]:
    """Return flicker with its interval, ratio to the source, sharpness and PSNR, frame by frame.

    Errors: VideoError for either video, ConfigError when their numbers of frames differ.
    """
    from configs.errors import ConfigError
    from models.metrics import FlickerMeter, bootstrap_ci, psnr, sharpness

    meter = FlickerMeter(convention)  # type: ignore[arg-type]
    mine, theirs, likeness = 0.0, 0.0, []
    with ExitStack() as stack:
        b_frames, b_count, cuts, size = _opened(stack, source, None)
        a_frames, a_count, _, _ = _opened(stack, video, size)
        if a_count != b_count:
            raise ConfigError(
                f"{video} has {a_count} frames and {source} has {b_count}; give the source it was made from"
            )
        for number, (a, b) in enumerate(zip(a_frames, b_frames, strict=True)):
            if number in cuts:
                meter.cut()
            meter.add(b, video=a)
            mine, theirs = mine + sharpness(a), theirs + sharpness(b)
            likeness.append(psnr(a, b))
    interval = bootstrap_ci(meter.pairs.get("video", []))
    own = meter.mean("source")
    same = video == source
    return {
        "frames": a_count,
        "pixel_mse": _known(interval.mean),
        "pixel_mse_ci": [_known(interval.low), _known(interval.high)],
        "source_pixel_mse": None if same else _known(own),
        "ratio": None if same or not own else _known(interval.mean / own),
        "sharpness_ratio": None if same or not theirs else mine / theirs,
        "psnr": None if same else _known(sum(likeness) / len(likeness)),
        "curves": {name: [_known(v) for v in values] for name, values in meter.pairs.items()},
    }


def judged(video: str, source: str, style: str) -> dict[str, Any]:
    """Return the judge's mean figures over every few frames, its version, and how many frames show which style.

    Errors: ConfigError for a style that is no known filter, VideoError for either video.
    """
    from configs.errors import ConfigError
    from models.judge import JUDGE_VERSION, Judge, summary
    from models.pocket.styles import STYLES
    from tasks.evaluate import JUDGE_EVERY

    if style not in (*STYLES, "photo"):
        raise ConfigError(f"no known filter for style {style!r}; known: {', '.join(STYLES)}, photo")
    with ExitStack() as stack:
        b_frames, _, _, size = _opened(stack, source, None, _JUDGED_SIDE)
        a_frames, _, _, _ = _opened(stack, video, size)
        pairs = islice(zip(a_frames, b_frames, strict=False), 0, None, JUDGE_EVERY)
        said = summary([Judge(b)(a, style) for a, b in pairs], style)
    said["sharpness_to_filter"] = said.pop("sharpness_ratio")
    known = {name: _known(value) if isinstance(value, float) else value for name, value in said.items()}
    return {**known, "judge_version": JUDGE_VERSION, "judge_every": JUDGE_EVERY}


def _opened(
    stack: ExitStack, uri: str, size: tuple[int, int] | None, long_side: int = _LONG_SIDE
) -> tuple[Iterator[Any], int, frozenset[int], tuple[int, int]]:
    """Frames of a video at `size` (default: its own, at most `long_side`), their number, first frames of shots."""
    from configs.job import InputConfig
    from tasks.video.frames import FrameReader, working_size
    from tasks.video.index import build_index
    from tasks.video.source import local_copy, probe

    limits = InputConfig()
    path = stack.enter_context(local_copy(uri))
    facts = probe(uri, limits, path)
    index = build_index(path, facts, limits)
    chosen = size or working_size(facts, long_side, 2)
    reader = stack.enter_context(FrameReader(path, facts, index, chosen))
    frames = (reader.read(n, n + 1)[0] for n in range(index.frames))
    return frames, index.frames, frozenset(start for start, _ in index.shots if start), chosen


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
