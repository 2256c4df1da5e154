"""Presets and styles that ship with the package: named starting points of a job, and prompt templates.

A preset file holds `job` keys, a `description`, and may say `extends: pocket`: then only what differs is in it.
Reads the packaged YAML files beside it; knows nothing of models, so a style is words only.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from configs.errors import ConfigError
from configs.layers import Layers

DEFAULT_PRESET = "pocket"
PLAIN = "{prompt}"
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


def list_presets(folder: Traversable | None = None) -> tuple[str, ...]:
    """Names of the presets in `folder` (default: the packaged ones), sorted."""
    names = (entry.name.removesuffix(".yaml") for entry in _home(folder).iterdir() if entry.name.endswith(".yaml"))
    return tuple(sorted(name for name in names if name != _STYLES_FILE))


def load_preset(name: str, folder: Traversable | None = None) -> dict[str, Any]:
    """Return the job keys a preset sets, over those of the presets it extends, as fresh plain nested dicts.

    Groups of keys merge, lists replace lists whole. Errors: ConfigError for a name that does not exist, here or
    behind an `extends`, and for presets that extend each other in a circle.
    """
    layers = Layers()
    for content in reversed(_lineage(name, folder)):
        layers.merge(content.get("job", {}), {}, f"preset {name}")
    return layers.values


def preset_about(name: str, folder: Traversable | None = None) -> str:
    """One line that says what a preset is for; a look without a description of its own is described by its style.

    Errors: ConfigError if unknown.
    """
    written = _lineage(name, folder)[0].get("description")
    return str(written or list_styles()[load_preset(name, folder)["style"]].about)


def preset_extends(name: str, folder: Traversable | None = None) -> str | None:
    """Return the preset that this one builds on, if any. Errors: ConfigError if unknown."""
    return _lineage(name, folder)[0].get("extends")


def list_styles() -> Mapping[str, Style]:
    """Return all styles by name, in the order of the file."""
    entries = _read(_STYLES_FILE)
    return MappingProxyType({name: Style(name=name, **entry) for name, entry in entries.items()})


def styled_prompt(prompt: str | None, style: str | None) -> str:
    """Return the text the model is given: the prompt inside the style's template.

    `styled_prompt("a red car", "watercolor")` is "a red car, watercolor painting"; without a prompt the
    template stands alone ("watercolor painting"). Errors: ConfigError for an unknown style.
    """
    return filled(template_of(style), prompt or "")


def template_of(style: str | None) -> str:
    """Return the template of a style, and the prompt alone without one. Errors: ConfigError for an unknown style."""
    if not style:
        return PLAIN
    check_style(style)
    return list_styles()[style].template


def filled(template: str, prompt: str) -> str:
    """Return the template with the prompt in its place; without a prompt it stands alone ("oil painting")."""
    if template == PLAIN:
        return prompt.strip()
    # replace, not format: a prompt or template may hold other braces
    return template.replace(PLAIN, prompt.strip()).strip(" ,")


def check_style(style: str) -> None:
    """Raise ConfigError unless the style exists."""
    if style not in list_styles():
        raise ConfigError(f"style {style!r} does not exist{nearest(style, list_styles())}")


def _lineage(name: str, folder: Traversable | None) -> list[dict[str, Any]]:
    """Contents of the preset's file, then of the one it extends, and so on."""
    path, found = [name], []
    while True:
        if path[-1] not in list_presets(folder):
            behind = f" (preset {path[-2]!r} extends it)" if len(path) > 1 else ""
            raise ConfigError(f"preset {path[-1]!r} does not exist{behind}{nearest(path[-1], list_presets(folder))}")
        found.append(_read(path[-1], folder))
        base = found[-1].get("extends")
        if base is None:
            return found
        path.append(base)
        if base in path[:-1]:
            raise ConfigError(f"preset {base!r} extends itself ({' -> '.join(path)}); take one `extends` out")


def _home(folder: Traversable | None) -> Traversable:
    return folder or resources.files("configs") / "presets"


def _read(name: str, folder: Traversable | None = None) -> dict[str, Any]:
    text = (_home(folder) / f"{name}.yaml").read_text(encoding="utf-8")
    content: dict[str, Any] = yaml.safe_load(text)
    return content
