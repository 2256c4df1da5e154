"""Keys are made of the question alone, and differences between two questions can be told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given

from tasks.store.keys import ABSENT, canonical_json, diff, stage_key
from tests.strategies import finite, params, stage_names, untimed


def _reversed(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _reversed(v) for k, v in reversed(value.items())}
    return [_reversed(v) for v in value] if isinstance(value, list) else value


@untimed
@given(stage_names, params, params)
def test_order_of_a_dict_is_irrelevant(stage: str, a: dict[str, Any], b: dict[str, Any]) -> None:
    one = stage_key(stage, 1, a, {"unet": "x", "vae": "y"}, [b], None)
    two = stage_key(stage, 1, _reversed(a), {"vae": "y", "unet": "x"}, [_reversed(b)], None)
    assert one == two
    assert len(one.key) == 32
    assert set(one.key) <= set("0123456789abcdef")


@untimed
@given(finite)
def test_floats_are_exact(x: float) -> None:
    assert json.loads(canonical_json(x)) == x
    assert stage_key("s", 1, {"x": x}, {}, [], None) != stage_key("s", 1, {"x": np.nextafter(x, 9e9)}, {}, [], None)


@untimed
@given(params)
def test_preimage_survives_json(a: dict[str, Any]) -> None:
    key = stage_key("s", 1, a, {}, [], None)
    again = json.loads(json.dumps(key.preimage))
    assert canonical_json(again) == canonical_json(key.preimage)
    assert diff(again, key.preimage) == []


@pytest.mark.parametrize(
    "change",
    [
        {"stage": "t"},
        {"version": 2},
        {"params": {"g": 7.5}},
        {"params": {"g": 7}},
        {"models": {"unet": "2"}},
        {"inputs": [{"stage": "decode", "key": "b"}]},
        {"numerics": {"dtype": "float16"}},
        {"numerics": None},
    ],
)
def test_each_part_of_the_question_counts(change: dict[str, Any]) -> None:
    question: dict[str, Any] = {
        "stage": "s",
        "version": 1,
        "params": {"g": 7.0},
        "models": {"unet": "1"},
        "inputs": [{"stage": "decode", "key": "a"}],
        "numerics": {"dtype": "float32"},
    }
    assert stage_key(**question) != stage_key(**{**question, **change})


@pytest.mark.parametrize(
    "value",
    [{1, 2}, frozenset(), torch.ones(1), np.float32(1), b"x", float("nan"), float("inf"), {1: 2}, object()],
)
def test_values_without_json_form_are_refused_by_place(value: Any) -> None:
    with pytest.raises(TypeError, match=r"params\.mask"):
        stage_key("s", 1, {"mask": {"inner": [value]}}, {}, [], None)


def test_same_key_in_another_process() -> None:
    """A frozenset hashes differently in each process; nothing of that kind may leak in."""
    call = "stage_key('s', 1, {'b': 0.1, 'a': 'ü'}, {'m': 'd'}, [], None)"
    code = f"from tasks.store.keys import stage_key; print({call}.key)"
    env = {**os.environ, "PYTHONHASHSEED": "7"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == stage_key("s", 1, {"a": "ü", "b": 0.1}, {"m": "d"}, [], None).key


def test_key_is_pinned() -> None:
    """A change of the canonical form would make every store look empty: raise stage versions instead."""
    assert stage_key("probe", 1, {"a": [1, 2.5, None, True, "é"]}, {}, [], None).key == (
        "f576cf77f049b75162075b1d1b34bbd0"
    )


def test_diff_tells_where_and_what() -> None:
    a = {"params": {"guidance": 7.0, "steps": [1, 2]}, "stage_version": 3, "same": {"x": 1}}
    b = {"params": {"guidance": 7.5, "steps": [1]}, "stage_version": 3.0, "same": {"x": 1}, "new": "n"}
    assert diff(a, b) == [
        ("new", ABSENT, "n"),
        ("params.guidance", 7.0, 7.5),
        ("params.steps.1", 2, ABSENT),
        ("stage_version", 3, 3.0),
    ]


@pytest.mark.parametrize("stage", ["", "Denoise", "../x", "a-b", "1a"])
def test_stage_names_are_plain(stage: str) -> None:
    with pytest.raises(ValueError, match="stage name"):
        stage_key(stage, 1, {}, {}, [], None)
