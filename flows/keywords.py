"""Keyword arguments of the Python API as the `key=value` texts of the command line, so that both build jobs one way.

Knows plain values; which keys there are is the job's business.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as Files
from typing import TYPE_CHECKING, Any

import yaml

from configs.errors import ConfigError

if TYPE_CHECKING:
    from configs.job import RestyleJob
    from configs.library import LibraryJob

Path = str | os.PathLike[str]


def as_sets(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """`{"steps": 4, "output": {"crf": 20}}` as `steps=4`, `output.crf=20`. Errors: ConfigError for what is no value.

    Groups merge into what the preset says, lists replace lists; None is a value.
    """
    return tuple(f"{key}={_text(key, value)}" for key, value in _leaves("", settings))


def as_texts(paths: Path | Sequence[Path]) -> tuple[str, ...]:
    """One path or several, as texts."""
    several = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    return tuple(os.fspath(path) for path in several)


def as_text(path: Path | None) -> str | None:
    """A path as text; None stays None."""
    return None if path is None else os.fspath(path)


def restyle_job(
    sources: Path | Sequence[Path],
    style: str | None,
    prompt: str | None,
    out: Path | None,
    preset: str | None,
    config: Path | None,
    settings: Mapping[str, Any],
) -> RestyleJob:
    """Build the strict job that `flows.restyle` was asked for. Errors: ConfigError."""
    from configs.overrides import build_job

    flags = {"sources": as_texts(sources) or None, "style": style, "prompt": prompt, "out": as_text(out)}
    job = build_job(preset, as_text(config), as_sets(settings), flags)
    if "sources" not in job.model_fields_set:
        raise ConfigError("no source given: name at least one file, folder or URL, or 'demo' for the built-in clip")
    return job


def library_job(
    job: Path | None, sources: Path | Sequence[Path], out: Path | None, settings: Mapping[str, Any]
) -> LibraryJob:
    """Build the library job that `flows.restyle_library` was asked for. Errors: ConfigError."""
    from configs.library_layers import build_library

    file = None if job is None else Files(job)
    return build_library(file, as_texts(sources), None, as_sets(settings), {"out": as_text(out)})


def _leaves(above: str, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        # a key with a dot in it, such as a pattern of `priorities`, has no dotted name
        if isinstance(value, Mapping) and value and not any("." in str(inner) for inner in value):
            yield from _leaves(f"{above}{name}.", value)
        else:
            yield f"{above}{name}", value


def _text(key: str, value: Any) -> str:
    try:
        text = yaml.safe_dump(_plain(value), default_flow_style=True, allow_unicode=True, width=float("inf"))
    except yaml.YAMLError:
        raise ConfigError(f"{key} must be a plain value, a list or a group of them, got {value!r}") from None
    return str(text).removesuffix("...\n").strip()


def _plain(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
