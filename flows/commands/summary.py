"""The few lines a finished job leaves on a terminal: where things are, how good, how long, what failed."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table
from rich.text import Text

from flows.commands.outcome import drawn, duration
from flows.result import JobResult
from tasks.run import VideoOutput

_HEAD = {
    "completed": ("green", "done"),
    "reused": ("green", "nothing to do, all of it was there"),
    "partial": ("yellow", "done, but not all"),
    "failed": ("red", "failed"),
    "interrupted": ("yellow", "stopped; the same command goes on from here"),
}
_FIGURES = {
    "pixel_mse": "flicker",
    "excess_flicker": "excess flicker",
    "excess_over_style": "excess flicker over the steady style",
    "seam_ratio": "seam ratio",
    "sharpness_ratio": "sharpness ratio",
    "fidelity_psnr": "fidelity (dB)",
}


def summary(result: JobResult) -> str:
    """Return the summary; errors are printed apart, on stderr."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for preview in result.previews:
        table.add_row("preview", f"[bold]{escape(preview.sheet)}[/bold]")
    if result.previews:
        table.add_row("", "the same without preview makes the whole")
    for output in result.outputs:
        for name, value in _lines(result, output):
            table.add_row(name, value)
        table.add_row("", "")
    return drawn(head(result), table) if result.outputs or result.previews else drawn(head(result))


def head(result: JobResult) -> Text:
    """Return the first line: how it ended, and the job's name."""
    colour, words = _HEAD[result.status]
    return Text.assemble((words, f"bold {colour}"), (f"   job {result.job}" if result.job else "", "dim"))


def _lines(result: JobResult, output: VideoOutput) -> Iterator[tuple[str, str]]:
    yield "video", f"[bold]{escape(output.uri)}[/bold]"
    if output.report:
        yield "report", escape(output.report)
    sound = f", {output.audio} audio" if output.audio else ""
    shots = f"{output.shots} shot{'s' * (output.shots != 1)}"
    yield "frames", f"{output.frames} of {output.width}×{output.height}, {shots}{sound}"
    figures = output.metrics
    named = [f"{words} {figures[key]:.3g}" for key, words in _FIGURES.items() if figures.get(key) is not None]
    if named:
        yield "measured", ", ".join(named)
    stages = [stage for stage in result.stages if stage.source == output.source]
    reused = sum(stage.status == "reused" for stage in stages)
    if stages:
        took = sum(stage.seconds for stage in stages)
        yield "stages", f"{len(stages) - reused} computed, {reused} reused, {duration(took)}"
    if output.review:
        yield "review", "[yellow]worth a look: a figure is outside its usual range[/yellow]"
