"""Presets and styles that ship with the package: named starting points of a job, and prompt templates.

Reads the packaged YAML files beside it; knows nothing of models, so a style is words only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from configs.errors import ConfigError

DEFAULT_PRESET = "pocket"
_STYLES_FILE = "styles"


class Style(BaseModel):
    """A named look: `template` holds `{prompt}`, `about` is one line for people."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    template: str
    about: str


def nearest(name: str, known: Iterable[str]) -> str:
    """Say what may have been meant: `; did you mean x?`, or else `; known: a, b, c`."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(names)}"


def list_presets() -> tuple[str, ...]:
    """Names of the packaged presets, sorted."""
    folder = resources.files("configs") / "presets"
    names = (entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))
    return tuple(sorted(name for name in names if name != _STYLES_FILE))


def load_preset(name: str) -> dict[str, Any]:
    """Return the job keys a preset sets, as fresh plain nested dicts. Errors: ConfigError if unknown."""
    job: dict[str, Any] = _preset_file(name)["job"]
    return job


def preset_about(name: str) -> str:
    """One line that says what a preset is for. Errors: ConfigError if unknown."""
    return str(_preset_file(name)["description"])


def list_styles() -> Mapping[str, Style]:
    """Return all styles by name, in the order of the file."""
    entries = _read(_STYLES_FILE)
    return MappingProxyType({name: Style(name=name, **entry) for name, entry in entries.items()})


def styled_prompt(prompt: str | None, style: str | None) -> str:
    """Return the text the model is given: the prompt inside the style's template.

    `styled_prompt("a red car", "watercolor")` is "a red car, watercolor painting"; without a prompt the
    template stands alone ("watercolor painting"). Errors: ConfigError for an unknown style.
    """
    text = (prompt or "").strip()
    if not style:
        return text
    check_style(style)
    # replace, not format: a prompt or template may hold other braces
    return list_styles()[style].template.replace("{prompt}", text).strip(" ,")


def check_style(style: str) -> None:
    """Raise ConfigError unless the style exists."""
    if style not in list_styles():
        raise ConfigError(f"style {style!r} does not exist{nearest(style, list_styles())}")


def _preset_file(name: str) -> dict[str, Any]:
    if name not in list_presets():
        raise ConfigError(f"preset {name!r} does not exist{nearest(name, list_presets())}")
    return _read(name)


def _read(name: str) -> dict[str, Any]:
    text = (resources.files("configs") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content
