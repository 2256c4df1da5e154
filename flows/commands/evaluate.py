"""`evaluate`: the figures of a finished video against its source, or of any by itself; and the judge's verdict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from configs.job import InputConfig
from flows.commands.options import json_option
from flows.commands.outcome import Outcome, done, drawn
from flows.result import finite


@click.command()
@click.argument("video", metavar="A")
@click.option("--source", metavar="B", help="What A was made from: flicker is measured along its motion.")
@click.option(
    "--control", metavar="C", help="The same job without correction: needs B, adds the share of flicker left."
)
@click.option(
    "--convention", type=click.Choice(["masked", "all", "minus_forward"]), default="masked", show_default=True
)
@click.option("--correspondence", is_flag=True, help="Also along matching patches instead of optical flow; slower.")
@click.option("--windows", metavar="N", type=click.IntRange(min=2), help="Frames per window: adds the seam ratio.")
@click.option("--style", metavar="NAME", help="The style A was meant to show: needs B, adds the judge's verdict.")
@click.option("--plot", metavar="FILE", help="Draw flicker per pair of frames, .svg or .html.")
@click.option(
    "--set", "sets", metavar="input.KEY=VALUE", multiple=True, help="How the job read B, e.g. input.hdr=tonemap."
)
@json_option
def evaluate(
    video: str,
    source: str | None,
    control: str | None,
    convention: str,
    correspondence: bool,
    windows: int | None,
    style: str | None,
    plot: str | None,
    sets: tuple[str, ...],
) -> Outcome:
    """Measure flicker, sharpness and fidelity of a video A, along the motion of its source B.

    Without B the motion of A itself is used, which flatters a flickering video: give B where you can. All conventions
    of Pixel-MSE are given, on the 0-255 scale; compare within one only. With a control C, flicker is put between that
    of B (0) and that of C (1). With a style the judge says which style each frame shows, and how far it is from the
    style's own filter.
    """
    from tasks.compare import compare, judged
    from tasks.flicker_plot import check_place, draw

    for name, given in (("--style", style), ("--control", control)):
        if given is not None and source is None:
            raise click.UsageError(f"{name} needs --source: A is judged beside what it was made from")
    if plot is not None:
        check_place(plot)
    read_as = input_of(sets)
    verdict = judged(video, source, style, read_as) if style is not None and source is not None else {}
    figures = compare(
        video,
        source or video,
        control=control,
        convention=convention,  # type: ignore[arg-type]
        window=windows,
        correspondence=correspondence,
        given=read_as,
    )
    measured = finite(figures | verdict)
    names = {"source": source, "video": video, "control": control}
    if plot is not None:
        lines = {
            f"{letter} {PurePath(uri).name}": measured["curves"][arm]
            for letter, (arm, uri) in zip("BAC", names.items(), strict=True)
            if uri is not None and arm in measured["curves"]
        }
        draw(plot, lines, measured["cuts"], measured.get("window_starts", ()), _setting(measured, convention))
    head = f"[bold]{escape(video)}[/bold]  [dim]{_setting(measured, convention)}[/dim]"
    parts: list[Any] = [head, _figures(measured)]
    if source is not None:
        parts.append(_conventions(measured["conventions"], control is not None))
    options = {"convention": convention, "style": style, "control": control, "plot": plot}
    return done("evaluate", {"video": video, "source": source, **options, "metrics": measured}, drawn(*parts))


def input_of(sets: tuple[str, ...]) -> InputConfig:
    """Return the `input` section that `--set input.*` describes. Errors: ConfigError."""
    from configs.errors import ConfigError
    from configs.layers import Layers
    from configs.overrides import parse_set, strict_job

    layers = Layers()
    layers.put_all(sets, parse_set, {})
    if strange := sorted(layers.values.keys() - {"input"}):
        raise ConfigError(f"--set {strange[0]}: evaluate takes keys of input only, e.g. --set input.hdr=tonemap")
    return strict_job({"prompt": "-", **layers.values}, layers.origins).input


_SAID = {
    "pixel_mse": ("flicker", "Pixel-MSE of consecutive frames along the motion, 0-255 scale; lower is steadier"),
    "source_pixel_mse": ("flicker of the source", "the same of B on the same pixels"),
    "ratio": ("flicker ratio", "flicker over the source's own"),
    "excess_flicker": ("excess flicker", "share of C's added flicker that is left: 0 as steady as B, 1 as bad as C"),
    "seam_ratio": ("seam ratio", "flicker across window borders over flicker inside"),
    "sharpness_ratio": ("sharpness ratio", "Laplacian energy over the source's; below 1 is blurred"),
    "sharpness_to_control": ("sharpness beside C", "Laplacian energy over the control's"),
    "sharpness_pulsing": (
        "sharpness pulsing",
        "relative jitter of the sharpness ratio from frame to frame; 0 is steady",
    ),
    "psnr": ("PSNR to the source", "dB; a restyle is meant to differ"),
    "style_accuracy": ("style accuracy", "share of judged frames that show the style"),
    "structure": ("structure", "agreement of contours with the source, 0 to 1"),
    "structure_ratio": ("structure ratio", "over that of the style's own filter"),
    "fidelity_psnr": ("fidelity", "PSNR to the style's own filter, dB"),
    "colour_error": ("colour error", "mean Lab delta E to the filter, blurred"),
    "sharpness_to_filter": ("sharpness beside the filter", "Laplacian energy over the filter's"),
}


def _setting(measured: Mapping[str, Any], convention: str) -> str:
    """What has to be told with every Pixel-MSE, or it cannot be compared."""
    size = f"{measured['width']}x{measured['height']}"
    return f"Pixel-MSE {convention}, {measured['scale']} scale, {size}, {measured['fps']:.4g} fps"


def _figures(measured: Mapping[str, Any]) -> Table:
    table = _table("figure", "value", "")
    for name, (label, about) in _SAID.items():
        if measured.get(name) is not None:
            table.add_row(label, _with_ci(measured, name), f"[dim]{about}[/dim]")
    found = measured.get("correspondence")
    if found is not None:
        size = f"{found['width']}x{found['height']}"
        about = f"mean square along matching patches at {size}, {found['kept'] or 0:.0%} of pixels count"
        table.add_row("flicker by patches", _with_ci(found, "squared"), f"[dim]{about}[/dim]")
        if found["ratio"] is not None:
            table.add_row("its ratio", _with_ci(found, "ratio"), "[dim]over the source's own[/dim]")
    if "styles" in measured:
        table.add_row("styles seen", ", ".join(f"{k} {n}" for k, n in measured["styles"].items()), "[dim]frames[/dim]")
    return table


def _conventions(rows: Mapping[str, Mapping[str, Any]], controlled: bool) -> Table:
    columns = {"pixel_mse": "A", "source_pixel_mse": "B", "ratio": "A over B"}
    columns |= {"control_pixel_mse": "C", "excess_flicker": "excess"} if controlled else {}
    table = _table("convention", *columns.values())
    for convention, row in rows.items():
        cells = ("-" if row[name] is None else f"{row[name]:.4g}" for name in columns)
        table.add_row(convention.replace("_", " "), *cells)
    return table


def _with_ci(row: Mapping[str, Any], name: str) -> str:
    low, high = row.get(f"{name}_ci") or (None, None)
    if row[name] is None:
        return "-"
    return f"{row[name]:.4g}" + (f" ({low:.4g} to {high:.4g})" if low is not None and high is not None else "")


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(column)
    return table
