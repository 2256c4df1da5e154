"""Content keys of stages: the same question has the same key, in any process, on any machine.

Refuses to know the stages; each stage decides which of its parameters are part of the question.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ABSENT = "(absent)"
_STAGE = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class StageKey:
    """`key` (32 hex digits) names the result of `stage` for `preimage`; equal when stage and key are."""

    stage: str
    key: str
    preimage: dict[str, Any] = field(compare=False, repr=False)


def stage_key(
    stage: str,
    version: int,
    params: Mapping[str, Any],
    models: Mapping[str, str],
    inputs: Sequence[Mapping[str, Any]],
    numerics: Mapping[str, Any] | None,
) -> StageKey:
    """Key of a stage's result from all that may change its bits.

    `version` is raised by hand when the stage's code changes its result; `models` maps name to digest;
    `inputs` are `Ref.as_input()` of what it reads, in order; `numerics` is the numerics class, None where no
    floats are held. Raises TypeError for a value that JSON has no form for (set, tensor, NaN, bytes ...),
    naming its place.
    """
    if not _STAGE.fullmatch(stage):
        raise ValueError(f"stage name {stage!r} must be lower case letters, digits and '_', e.g. 'denoise'")
    preimage = canonical(
        {
            "stage": stage,
            "stage_version": version,
            "params": params,
            "models": models,
            "inputs": list(inputs),
            "numerics": numerics,
        }
    )
    return StageKey(stage, hashlib.sha256(canonical_json(preimage)).hexdigest()[:32], preimage)


def canonical_json(value: Any) -> bytes:
    """The one byte string of a JSON value: sorted keys, no spaces, floats by repr, ASCII escapes."""
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def canonical(value: Any, place: str = "") -> Any:
    """A copy of `value` in plain dict, list, str, int, float, bool and None; TypeError for anything else.

    Tuples become lists. 1 and 1.0 stay different, as do the floats that differ in the last bit.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise TypeError(f"{place or 'value'} is {value!r}, which has no JSON form; keys need finite numbers")
        return float(value)
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise TypeError(f"{place or 'value'} has the key {name!r}; keys of mappings must be strings")
        return {str.__str__(k): canonical(v, f"{place}.{k}" if place else k) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(v, f"{place}.{i}" if place else str(i)) for i, v in enumerate(value)]
    raise TypeError(
        f"{place or 'value'} is a {type(value).__name__}, which cannot be part of a key; "
        "use str, int, float, bool, None, lists and dicts of those"
    )


def diff(pre_a: Any, pre_b: Any) -> list[tuple[str, Any, Any]]:
    """Where two pre-images differ: (dotted path, value in a, in b), sorted by path; `ABSENT` for none."""
    return sorted(_diff("", pre_a, pre_b), key=lambda row: row[0])


def _diff(place: str, a: Any, b: Any) -> list[tuple[str, Any, Any]]:
    pairs: list[tuple[str, Any, Any]]
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        pairs = [(k, a.get(k, ABSENT), b.get(k, ABSENT)) for k in {*a, *b}]
    elif isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        size = max(len(a), len(b))
        pad_a, pad_b = [*a, *[ABSENT] * (size - len(a))], [*b, *[ABSENT] * (size - len(b))]
        pairs = [(str(i), x, y) for i, (x, y) in enumerate(zip(pad_a, pad_b, strict=True))]
    else:
        return [] if type(a) is type(b) and a == b else [(place, a, b)]
    return [row for k, x, y in pairs for row in _diff(f"{place}.{k}" if place else k, x, y)]
