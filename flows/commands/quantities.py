"""Ages and sizes as people write them on a command line: `30d`, `12h`, `500GB`."""

from __future__ import annotations

import re
from typing import Any

import click

_SECONDS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_BYTES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_BYTES |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_NUMBER = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*")


class Age(click.ParamType[float]):
    """A number with s, m, h, d or w; becomes seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return seconds, or fail with what is understood."""
        if isinstance(value, (int, float)):
            return float(value)
        match = _NUMBER.fullmatch(value)
        if match is None or match[2].lower() not in _SECONDS:
            self.fail(f"{value!r} is not an age: give a number and s, m, h, d or w, such as 30d", param, ctx)
        return float(match[1]) * _SECONDS[match[2].lower()]


class Bytes(click.ParamType[int]):
    """A number with B, kB, MB, GB, TB (powers of 1000) or KiB ... TiB; becomes bytes."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes, or fail with what is understood."""
        if isinstance(value, int):
            return value
        match = _NUMBER.fullmatch(value)
        if match is None or match[2].lower() not in _BYTES:
            self.fail(f"{value!r} is not a size: give a number and kB, MB, GB or TB, such as 200GB", param, ctx)
        return int(float(match[1]) * _BYTES[match[2].lower()])


AGE = Age()
BYTES = Bytes()
