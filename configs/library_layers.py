"""From preset, library file, `--set`, flags and a sidecar to a `LibraryJob` and the strict job of each of its videos.

Precedence: defaults < preset < `settings` of the file < `--config` < `--set` < flags < sidecar. Reads the library file
and nothing else; a sidecar comes as text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import ValidationError

from configs.errors import ConfigError
from configs.job import RestyleJob
from configs.job_errors import sentences
from configs.keys import Loc, field_at, text_to_value
from configs.layers import Layers
from configs.library import LibraryJob, refuse_own_keys
from configs.overrides import parse_config, parse_set, read_config, strict_job
from configs.presets import load_preset

_SETTINGS = "settings"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Sidecar:
    """What the file beside a video says: keys of its job, and where each is written."""

    values: dict[str, Any]
    origins: Mapping[Loc, str] = field(default_factory=dict)
    label: str = "sidecar"


def build_library(
    path: Path | None = None,
    sources: Sequence[str] = (),
    config: Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] = _NOTHING,
) -> LibraryJob:
    """Build the library job from its YAML file, a file of job keys, `key=value` texts and flags (None: not given).

    A key that is the library's own (`out`, `max_in_flight` ...) is set there, any other in `settings`. The job that
    the settings make is checked too. Errors: ConfigError, one line per problem with key, rule, value and origin.
    """
    layers = Layers()
    if path is not None:
        values, origins, label = read_config(path)
        values[_SETTINGS] = _nested(values.get(_SETTINGS) or {}, f"{label}: settings")
        layers.merge(values, origins, label)
    if config is not None:
        values, origins, label = read_config(config)
        layers.merge({_SETTINGS: values}, {(_SETTINGS, *loc): line for loc, line in origins.items()}, label)
    layers.put_all(sets, _placed_set, {_placed(name): value for name, value in flags.items()})
    if sources:
        layers.put(("sources",), list(sources), "arguments")
    try:
        job = LibraryJob.model_validate(layers.values)
    except ValidationError as error:
        raise ConfigError("\n".join(sentences(error, LibraryJob, layers.origins))) from None
    below = {loc[1:]: line for loc, line in layers.origins.items() if loc[0] == _SETTINGS and len(loc) > 1}
    video_job(job, origins=below)
    return job


def video_job(
    job: LibraryJob, sidecar: Sidecar | None = None, origins: Mapping[Loc, str] = MappingProxyType({})
) -> RestyleJob:
    """Return the strict job of a video of the library, with what its sidecar says; its `sources` are not set.

    `origins` say where the settings were written. Errors: ConfigError, one line per problem.
    """
    layers = Layers()
    layers.merge(load_preset(job.preset), {}, f"preset {job.preset}")
    layers.merge(_nested(job.settings, _SETTINGS), origins, _SETTINGS)
    whole = job.model_dump(include={"out", "naming", "gate", "preview"}, exclude_unset=True)
    layers.merge({name: value for name, value in whole.items() if value is not None}, {}, "library")
    layers.merge({"out": job.out, "naming": job.naming}, {}, "library")
    if sidecar is not None:
        try:
            refuse_own_keys(sidecar.values)
        except ValueError as error:
            raise ConfigError(f"{sidecar.label}: {error}") from None
        layers.merge(_nested(sidecar.values, sidecar.label), sidecar.origins, sidecar.label)
    return strict_job(layers.values, layers.origins)


def read_sidecar(text: str, label: str) -> Sidecar:
    """Parse the text of a sidecar. Errors: ConfigError that names it."""
    values, origins = parse_config(text, label.rsplit("/", 1)[-1], label)
    return Sidecar(values, origins, label)


def _nested(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The same keys with `a.b: 1` written as a group; groups merge. Errors: ConfigError for what is no mapping."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where} must be a mapping of job keys, got {values!r}")
    layers = Layers()
    for key, value in values.items():
        parts = str(key).split(".")
        if not all(parts):
            raise ConfigError(f"{where}: {key!r} is no key; write a name, or group.name")
        nested: Any = value
        for part in reversed(parts):
            nested = {part: nested}
        layers.merge(nested, {}, where)
    return layers.values


def _placed(key: str) -> str:
    """Where a key belongs: the library's own fields, else the settings."""
    return key if key.split(".", 1)[0] in LibraryJob.model_fields else f"{_SETTINGS}.{key}"


def _placed_set(text: str) -> tuple[Loc, Any]:
    key, sign, raw = text.partition("=")
    path: Loc = tuple(key.strip().split("."))
    value: Any
    if not sign or path[0] not in LibraryJob.model_fields:
        path, value = parse_set(text)
        return (_SETTINGS, *path), value
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError:
        value = raw.strip()  # `*.mp4` is a pattern here, and something else in YAML
    return path, text_to_value(raw, value, field_at(LibraryJob, path))
