"""From preset, job file, `--set` and flags to one strict job; remembers where each value came from.

Precedence: defaults < preset < `--config` < `--set` < flags. Reads the job file and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from configs.errors import ConfigError
from configs.job import RestyleJob
from configs.job_errors import sentences
from configs.keys import Loc, dotted, field_at, text_to_value
from configs.layers import Layers
from configs.pins import check_job
from configs.presets import DEFAULT_PRESET, load_preset

SHORT_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "steps": "num_inference_steps",
        "guidance": "guidance_scale",
        "size": "working_size",
        "window": "window.size",
        "deflicker": "deflicker.enabled",
        "attention": "attention.pattern",
        "model": "model.path",
        "codec": "output.codec",
        "crf": "output.crf",
    }
)


def build_job(
    preset: str | None = None,
    config_path: str | Path | None = None,
    sets: Sequence[str] = (),
    flags: Mapping[str, Any] = MappingProxyType({}),
) -> RestyleJob:
    """Build the strict job from all layers.

    `sets` are `key=value` texts with YAML values and dotted keys; `flags` maps dotted keys to values, None
    meaning not given. A job file may name its preset (`preset: sd15`), which `preset` overrides. Errors:
    ConfigError, one line per problem with key, rule, value and origin, e.g. `guidance_scale must be >= 1,
    got 0.3 (job.yaml:12)`.
    """
    values, lines, label = read_config(Path(config_path)) if config_path is not None else ({}, {}, "")
    named = values.pop("preset", None)
    if named is not None and not isinstance(named, str):
        raise ConfigError(f"preset must be a name, got {named!r} ({lines.get(('preset',), label)})")
    name = preset or named or DEFAULT_PRESET
    layers = Layers()
    layers.merge(load_preset(name), {}, f"preset {name}")
    layers.merge(values, lines, label)
    layers.put_all(sets, parse_set, flags)
    return strict_job(layers.values, layers.origins)


def strict_job(values: Mapping[str, Any], origins: Mapping[Loc, str] = MappingProxyType({})) -> RestyleJob:
    """Validate nested keys as a job, with the start that they imply. Errors: ConfigError, one line per problem."""
    try:
        job = RestyleJob.model_validate({**values, **_implied_start(values, origins)})
    except ValidationError as error:
        raise ConfigError("\n".join(sentences(error, RestyleJob, origins))) from None
    check_job(job, origins)
    return job


def _implied_start(values: Mapping[str, Any], origins: Mapping[Loc, str]) -> dict[str, str]:
    """Who asks for a strength and says nothing of the start, which then is the preset's, means the noised source."""
    asked, said = (not origins.get((key,), "preset ").startswith("preset ") for key in ("strength", "start"))
    return {"start": "noised"} if asked and not said and values["strength"] != 1.0 else {}


def parse_set(text: str) -> tuple[Loc, Any]:
    """Split `a.b=c` into the path and the YAML-typed value, typed by the field where YAML guesses wrong.

    `prompt=1984` stays text, `deflicker.steps=0.5,1.0` is a list. Errors: ConfigError.
    """
    return split_set(text, RestyleJob, SHORT_KEYS, "--set guidance_scale=3 or --set output.crf=20")


def split_set(text: str, job: type[BaseModel], short: Mapping[str, str], example: str) -> tuple[Loc, Any]:
    """`parse_set` for any kind of job and its short keys; a short key stands for its long one unless the value is a
    mapping (`deflicker={...}` is the whole section). `example` is what the message on a missing `=` shows.
    """
    key, sign, raw = text.partition("=")
    key = key.strip()
    if not sign or not key or not all(key.split(".")):
        raise ConfigError(f"--set needs key=value, got {text!r}; e.g. {example}")
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        if field_at(job, tuple(short.get(key, key).split("."))) is not str:
            raise ConfigError(f"--set {key}: {raw!r} is not a YAML value: {_first_line(error)}") from None
        value = raw
    if not isinstance(value, dict):
        key = short.get(key, key)
    path: Loc = tuple(key.split("."))
    return path, text_to_value(raw, value, field_at(job, path))


def read_config(path: Path) -> tuple[dict[str, Any], dict[Loc, str], str]:
    """Values, the origin (`job.yaml:12`) of every key, and the file's short name."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"--config {path}: cannot be read ({reason}); give a YAML file of job keys") from None
    values, origins = parse_config(text, path.name, f"--config {path}")
    return values, origins, path.name


def parse_config(text: str, label: str, named: str) -> tuple[dict[str, Any], dict[Loc, str]]:
    """Values of a YAML text and the origin (`label:12`) of every key. Errors: ConfigError that begins with `named`."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{named}: is not valid YAML: {_first_line(error)}") from None
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise ConfigError(f"{named}: must be a mapping of job keys, got a {type(values).__name__}")
    if strange := [key for key in values if not isinstance(key, str)]:
        raise ConfigError(f"{named}: keys must be words, got {strange[0]!r}; put it in quotes")
    origins: dict[Loc, str] = {}
    _lines(node, (), label, origins)
    return values, origins


def _lines(node: yaml.Node | None, at: Loc, name: str, origins: dict[Loc, str]) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            where = f"{name}:{key.start_mark.line + 1}"
            if key.value in seen:
                raise ConfigError(f"{dotted((*at, key.value))} is given twice; keep one ({where})")
            seen.add(key.value)
            origins[(*at, key.value)] = where
            _lines(value, (*at, key.value), name, origins)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            origins[(*at, index)] = f"{name}:{value.start_mark.line + 1}"
            _lines(value, (*at, index), name, origins)


def _first_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} at line {error.problem_mark.line + 1}, column {error.problem_mark.column + 1}"
    return str(error).splitlines()[0]
