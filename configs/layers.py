"""Nested job keys laid over one another: groups of keys merge, lists replace lists, and every leaf knows its origin.

Knows plain dicts, lists and paths; refuses to know where layers come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from configs.errors import ConfigError
from configs.keys import Loc, dotted


class Layers:
    """Nested job keys gathered layer by layer; a later layer wins, and every leaf knows its origin."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[Loc, str] = {}

    def merge(self, values: Mapping[str, Any], origins: Mapping[Loc, str], default_origin: str) -> None:
        """Put nested `values` on top; lists replace lists whole."""
        self._merge(self.values, values, (), origins, default_origin)

    def put(self, path: Loc, value: Any, origin: str) -> None:
        """Put one value at a path; a number in the path is a place in a list that is already there."""
        here: Any = self.values
        for depth, part in enumerate(path[:-1]):
            if isinstance(here, list):
                here = self._item(here, part, path, origin)
                continue
            following = here.get(part)
            if not isinstance(following, (dict, list)):
                following = {}
            # our own copy: a preset's list must not change under the next job
            here[part] = list(following) if isinstance(following, list) else dict(following)
            here = here[part]
            self.origins[path[: depth + 1]] = origin
        if isinstance(here, list):
            self._item(here, path[-1], path, origin)
            here[int(path[-1])] = value
        else:
            here[path[-1]] = value
        self._forget_below(path)
        self.origins[path] = origin

    def put_all(self, sets: Sequence[str], parse: Callable[[str], tuple[Loc, Any]], flags: Mapping[str, Any]) -> None:
        """Put `key=value` texts, then flags by dotted key (None: not given), each under the name people typed."""
        for text in sets:
            path, value = parse(text)
            self.put(path, value, f"--set {text.split('=', 1)[0].strip()}")
        for key, value in flags.items():
            if value is not None:
                self.put(tuple(key.split(".")), value, f"--{key.rsplit('.', 1)[-1].replace('_', '-')}")

    @staticmethod
    def _item(items: list[Any], part: str | int, path: Loc, origin: str) -> Any:
        if not str(part).isdigit() or int(part) >= len(items):
            raise ConfigError(
                f"{dotted(path)}: {part!r} is no place in a list of {len(items)}; "
                f"count from 0, or set the whole list ({origin})"
            )
        index = int(part)
        if isinstance(items[index], dict):
            items[index] = dict(items[index])
        return items[index]

    def _merge(
        self,
        into: dict[str, Any],
        values: Mapping[str, Any],
        at: Loc,
        origins: Mapping[Loc, str],
        default: str,
    ) -> None:
        for key, value in values.items():
            path = (*at, str(key))
            self.origins[path] = origins.get(path, default)
            if isinstance(value, Mapping):
                below = into.get(str(key))
                into[str(key)] = dict(below) if isinstance(below, dict) else {}
                self._merge(into[str(key)], value, path, origins, default)
            else:
                into[str(key)] = value
                self._forget_below(path)
                self.origins.update({loc: name for loc, name in origins.items() if loc[: len(path)] == path})

    def _forget_below(self, path: Loc) -> None:
        for loc in [loc for loc in self.origins if len(loc) > len(path) and loc[: len(path)] == path]:
            del self.origins[loc]
