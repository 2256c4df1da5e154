"""Turns pydantic's findings about a job into our sentences: key, rule, value, where it was written."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from configs.keys import Loc, all_keys, dotted, keys_at
from configs.presets import nearest

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "finite": "a finite number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
    "list": "a list",
    "model": "a group of keys",
    "dict": "a group of keys",
}
_BOUNDS = {
    "greater_than_equal": (">=", "ge"),
    "greater_than": (">", "gt"),
    "less_than_equal": ("<=", "le"),
    "less_than": ("<", "lt"),
}
_SHOWN = 80


def origin_of(path: Loc, origins: Mapping[Loc, str]) -> str:
    """Return ' (job.yaml:12)' for the nearest key above or at the path that has an origin, else ''."""
    for length in range(len(path), 0, -1):
        # a path given as text has its list places as text too
        for candidate in (path[:length], tuple(str(part) for part in path[:length])):
            if candidate in origins:
                return f" ({origins[candidate]})"
    return ""


def sentences(error: ValidationError, model: type[BaseModel], origins: Mapping[Loc, str]) -> Iterator[str]:
    """Yield one sentence per finding, e.g. `guidance_scale must be >= 1, got 0.3 (job.yaml:12)`."""
    for item in error.errors(include_url=False):
        path: Loc = tuple(item["loc"])
        said = _sentence(path, item["type"], item.get("ctx", {}), item["input"], item["msg"], model)
        yield said + origin_of(path, origins)


def _sentence(
    path: Loc,
    kind: str,
    ctx: Mapping[str, Any],
    value: object,
    msg: str,
    model: type[BaseModel],
) -> str:
    name, got = dotted(path), _short(value)
    if kind == "extra_forbidden":
        return f"unknown key {name}{_suggest(path, model)}"
    if kind == "missing":
        return f"{name} is missing; give it a value"
    if kind in _BOUNDS:
        sign, key = _BOUNDS[kind]
        return f"{name} must be {sign} {ctx[key]:g}, got {got}"
    if kind == "literal_error":
        known = [part.strip("' ") for part in str(ctx["expected"]).replace(" or ", ", ").split(",")]
        return f"{name} must be one of {', '.join(known)}, got {got}" + (
            nearest(value, known) if isinstance(value, str) and "did you" in nearest(value, known) else ""
        )
    if kind == "string_pattern_mismatch":
        return f"{name} must match {ctx['pattern']}, got {got}"
    if kind in ("too_short", "too_long", "missing_argument"):
        return f"{name} {msg[0].lower()}{msg[1:]}, got {got}"
    if kind == "value_error":
        said = str(ctx.get("error", msg))
        return f"{name}: {said}" if name else said
    word = _KINDS.get(kind.split("_", 1)[0])
    return f"{name} must be {word}, got {got}" if word else f"{name}: {msg}, got {got}"


def _suggest(path: Loc, model: type[BaseModel]) -> str:
    beside = keys_at(model, path[:-1])
    hint = nearest(str(path[-1]), beside)
    if "did you mean" in hint:
        return hint.replace("mean ", "mean " + "".join(f"{part}." for part in path[:-1]))
    # `crf` alone is `output.crf`: look for the word in any group
    homes: dict[str, list[str]] = {}
    for key in all_keys(model):
        homes.setdefault(key.rsplit(".", 1)[-1], []).append(key)
    close = difflib.get_close_matches(str(path[-1]), homes, n=1, cutoff=0.75)
    return f"; did you mean {' or '.join(homes[close[0]])}?" if close else hint


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
