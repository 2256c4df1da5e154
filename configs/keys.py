"""What a dotted key of a model means: its type, its neighbours, and how a text becomes its value."""

from __future__ import annotations

import types
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel

Loc = tuple[str | int, ...]


def field_at(model: type[BaseModel], path: Loc) -> Any:
    """Return the type at a path with `| None` and bounds stripped, or None where there is no such key."""
    here: Any = model
    for part in path:
        if isinstance(here, type) and issubclass(here, BaseModel) and part in here.model_fields:
            here = _bare(here.model_fields[str(part)].annotation)
        elif get_origin(here) is tuple and str(part).isdigit():
            here = _bare(get_args(here)[0])
        elif get_origin(here) is dict:
            here = _bare(get_args(here)[1])
        else:
            return None
    return here


def keys_at(model: type[BaseModel], path: Loc) -> tuple[str, ...]:
    """Return the keys allowed below a path; () where it is no group."""
    here = field_at(model, path)
    return tuple(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else ()


def dotted(path: Loc) -> str:
    """Return ('deflicker', 'steps', 0) as 'deflicker.steps.0'."""
    return ".".join(str(part) for part in path)


def all_keys(model: type[BaseModel], prefix: str = "") -> tuple[str, ...]:
    """Return every dotted key of a model that is not inside a list."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        names.append(prefix + name)
        below = _bare(field.annotation)
        if isinstance(below, type) and issubclass(below, BaseModel):
            names.extend(all_keys(below, f"{prefix}{name}."))
    return tuple(names)


def text_to_value(raw: str, value: Any, kind: Any) -> Any:
    """Mend what YAML guessed from `raw` by the field's type: text stays text, lists split at commas."""
    if kind is str and value is not None and not isinstance(value, str):
        return raw.strip()
    if get_origin(kind) is tuple and value is not None and not isinstance(value, (list, tuple, dict)):
        item = _bare(get_args(kind)[0])
        text = value if isinstance(value, str) else raw
        parts = [part.strip() for part in text.split(",")]
        return [part if item is str else yaml.safe_load(part) for part in parts if part]
    return value


def _bare(annotation: Any) -> Any:
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not type(None)]
        return _bare(members[0]) if len(members) == 1 else annotation
    return annotation
