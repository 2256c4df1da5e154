"""Options that several commands share, and the job and the resources they name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from configs.job import RestyleJob

if TYPE_CHECKING:
    from configs.deflicker_job import DeflickerJob

Function = TypeVar("Function", bound=Callable[..., Any])

_JSON = click.option(
    "--json", "as_json", is_flag=True, expose_value=False, help="Print exactly one JSON object on stdout."
)
_STORE = click.option("--store", metavar="URL", help="Folder or fsspec URL of the store. [default: user data folder]")

_DEVICE = click.option("--device", metavar="D", help="auto, cpu, cuda or cuda:N.")


def json_option(function: Function) -> Function:
    """Add `--json` (the command line itself acts on it)."""
    return _JSON(function)


def store_option(function: Function) -> Function:
    """Add `--store`."""
    return _STORE(function)


def device_option(function: Function) -> Function:
    """Add `--device`."""
    return _DEVICE(function)


def job_options(function: Function) -> Function:
    """Add what describes a job."""
    return _added(
        setting_options(function),
        click.option("--out", metavar="DIR", help="Folder for the results. [default: steadyframe-out]"),
        click.option("--style", metavar="NAME", help="A named look; see steadyframe styles."),
    )


def library_options(function: Function) -> Function:
    """Add what describes a library of videos, its sources first."""
    return _added(
        job_options(function),
        click.argument("sources", nargs=-1, metavar="JOB.yaml|SRC..."),
        click.option("--include", metavar="GLOB", multiple=True, help="Only videos whose path fits; may repeat."),
        click.option("--exclude", metavar="GLOB", multiple=True, help="Not videos whose path fits; may repeat."),
        click.option(
            "--naming", metavar="TEXT", help="Name of a result below --out: {relative}/{stem}--{style}--{key8}"
        ),
        click.option("--max-in-flight", metavar="N", type=int, help="Videos at a time. [default: 2]"),
        click.option(
            "--failed-share", metavar="X", type=float, help="Failed above this share of dead videos. [default: 0.5]"
        ),
    )


def setting_options(function: Function) -> Function:
    """Add what describes a job of any style."""
    return _added(
        function,
        click.option("--prompt", metavar="TEXT", help="What the pictures show."),
        click.option("--reference", metavar="FILE", help="A picture whose look is wanted (--preset reference)."),
        click.option("--depth", metavar="DIR", help="Depth maps, one PNG per frame (--preset render3d)."),
        click.option("--preset", metavar="NAME", help="Where settings start from. [default: pocket]"),
        click.option("--config", metavar="FILE", help="A YAML file of job keys."),
        click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="One key of the job; may repeat."),
        click.option("--seed", metavar="N", type=int, help="Another seed, another picture."),
    )


def deflicker_options(function: Function) -> Function:
    """Add what describes a deflicker job, its source first."""
    return _added(
        function,
        click.argument("sources", nargs=-1, metavar="[SRC]"),
        click.option("--guide", metavar="SOURCE", help="The video that SRC or the keyframes were made from."),
        click.option("--out", metavar="DIR", help="Folder for the result. [default: steadyframe-out]"),
        click.option(
            "--keyframes",
            metavar="IMG...",
            multiple=True,
            help="Pictures for some frames of the guide, instead of SRC: key_000012.png, 12=any.png, or a folder.",
        ),
        click.option("--config", metavar="FILE", help="A YAML file of job keys."),
        click.option("--set", "sets", metavar="KEY=VALUE", multiple=True, help="One key of the job; may repeat."),
        click.option("--seed", metavar="N", type=int, help="Another seed, other matches where several are as good."),
    )


def resource_options(function: Function) -> Function:
    """Add what says where to compute and keep things."""
    workers = "Processes; 0 = in this one. [default: per GPU or core]"
    return _added(function, _STORE, click.option("--workers", metavar="N", type=int, help=workers), _DEVICE)


def _added(function: Function, *options: Callable[[Function], Function]) -> Function:
    """Add options so that `--help` shows them in this order."""
    for option in reversed(options):
        function = option(function)
    return function


def job_of(
    sources: tuple[str, ...],
    *,
    out: str | None,
    prompt: str | None,
    style: str | None,
    reference: str | None,
    depth: str | None,
    preset: str | None,
    config: str | None,
    sets: tuple[str, ...],
    seed: int | None,
) -> RestyleJob:
    """Build the job that the options describe. Errors: ConfigError, also when no source is named anywhere."""
    from configs.errors import ConfigError
    from configs.overrides import build_job

    named = {"prompt": prompt, "style": style, "reference": reference, "depth": depth}
    flags = {"sources": sources or None, "out": out, "seed": seed, **named}
    job = build_job(preset, Path(config) if config else None, sets, flags)
    if "sources" not in job.model_fields_set:
        raise ConfigError("no source given: name at least one file, folder or URL, or `demo` for the built-in clip")
    return job


def deflicker_job_of(
    sources: tuple[str, ...],
    *,
    guide: str | None,
    out: str | None,
    keyframes: tuple[str, ...],
    config: str | None,
    sets: tuple[str, ...],
    seed: int | None,
) -> DeflickerJob:
    """Build the deflicker job that the options describe. Errors: ConfigError."""
    from configs.deflicker_job import build_deflicker_job

    flags: dict[str, Any] = {"guide": guide, "out": out, "deflicker.seed": seed}
    if keyframes:  # what a shell made of `--keyframes keys/*.png` arrives as one option and arguments
        flags["keyframes"] = (*keyframes, *sources)
    elif len(sources) > 1:
        raise click.UsageError(f"one video at a time has one guide, got {len(sources)}: {', '.join(sources)}")
    elif sources:
        flags["source"] = sources[0]
    return build_deflicker_job(config, sets, flags)


def resources_of(store: str | None, workers: int | None, device: str | None) -> dict[str, Any]:
    """Check and complete store, workers and device from STEADYFRAME_*. Errors: ConfigError."""
    from configs.errors import ConfigError, DeviceError
    from configs.settings import check_device, load_settings

    settings = load_settings()
    if workers is not None and workers < 0:
        raise ConfigError(f"--workers must be >= 0 (0 computes in this process), got {workers}")
    try:
        chosen = check_device(device or settings.device)
    except ValueError as error:
        raise DeviceError(f"--device {error}") from None
    return {
        "store": store or settings.store,
        "workers": settings.workers if workers is None else workers,
        "device": chosen,
    }


def store_url(store: str | None) -> str:
    """Return the store a command looks into."""
    from configs.settings import load_settings

    return store or load_settings().store
