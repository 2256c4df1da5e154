"""The page of the five tasks: every look is measured, a clip counts once, and the page says which looks it covers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.pocket.styles import STYLES
from tests.benchmarks.five_tasks import bench
from tests.benchmarks.five_tasks.__main__ import shown
from tests.benchmarks.five_tasks.bench import Bench, Row, mean_by_arm


@pytest.mark.parametrize("clips", [1, 3, 4, 8, 10])
def test_every_clip_and_every_style_has_its_turn(clips: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "render_clip", lambda seed, *_, **__: seed)
    monkeypatch.setattr(bench, "unseen_seeds", range)
    nothing: Any = None
    one = Bench(Path(), nothing, nothing, clips, 1)
    pairs = one.looks()
    assert {style for _, style in pairs} == set(STYLES)
    assert {name for name, _ in pairs} == set(one.scenes())
    assert len(set(pairs)) == len(pairs) == max(clips, len(STYLES))


def test_a_clip_in_two_looks_counts_once_and_each_look_is_named() -> None:
    rows = [
        Row("a", "result", {"accuracy": 1.0}, "oil"),
        Row("a", "result", {"accuracy": 0.0}, "neon"),
        Row("b", "result", {"accuracy": 1.0}, "oil"),
        Row("a", "control", {"accuracy": 0.0}, "oil"),
    ]
    assert mean_by_arm(rows) == {"result": {"accuracy": [0.5, 1.0]}, "control": {"accuracy": [0.0]}}
    text = shown(rows)
    assert "| result | 2 | 0.75 [0.5, 1] |" in text
    assert "| oil | 2 | 1 |" in text
    assert "| neon | 1 | 0 |" in text
    assert "look" not in shown([Row("a", "result", {"accuracy": 1.0})])
