"""The judge is frozen by its figures, not by its source: they also come from metrics, soft edges and filters.

`judge_golden.json` holds what version 1 says of two procedural frames, each filter's output whole, damaged and
mirrored. Where this fails, a figure of the judge has changed: undo that, or raise JUDGE_VERSION, write the table anew
and measure again whatever was published. `PYTHONPATH=. python tests/unit/models/test_judge_golden.py` writes it.
"""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from models.judge import JUDGE_VERSION, Judge, Verdict
from models.pocket.scenes import render_clip

TABLE = Path(__file__).with_name("judge_golden.json")
SEEDS = (7100, 7101)


def ghosted(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half the frame, half the frame moved by 2 px to the right and 1 px down: exact on every machine."""
    moved = np.roll(frame, (1, 2), axis=(0, 1))
    return np.asarray((frame.astype(np.uint16) + moved) // 2, np.uint8)


def verdicts() -> dict[str, Any]:
    """Version, and by seed, style wanted and damage all that the judge says; `source` is the frame's mean colour."""
    frames = {}
    for seed in SEEDS:
        source = render_clip(seed, 1, 72, 128).frames_FHWC[0]
        judge = Judge(source)
        said = {
            f"{name}, {damage}": written(judge(picture, name))
            for name, whole in judge.pictures.items()
            for damage, picture in (("whole", whole), ("ghosted", ghosted(whole)), ("mirrored", whole[:, ::-1]))
        }
        frames[str(seed)] = {"source": source.mean(axis=(0, 1)).tolist(), "verdicts": said}
    return {"judge_version": JUDGE_VERSION, "frames": frames}


def written(verdict: Verdict) -> dict[str, Any]:
    """As JSON has it: plain, without NaN."""
    said = {field.name: getattr(verdict, field.name) for field in fields(verdict)}
    plain = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in said.items()}
    return {**plain, "distances": dict(verdict.distances)}


def test_the_judge_says_what_its_version_always_said() -> None:
    """A figure that moved without a new JUDGE_VERSION, or a new version without its table."""
    golden, today = json.loads(TABLE.read_text(encoding="utf-8")), verdicts()
    assert today["judge_version"] == golden["judge_version"], "write the table anew and measure again"
    for seed, frame in golden["frames"].items():
        mine = today["frames"][seed]
        assert mine["source"] == pytest.approx(frame["source"], abs=1e-2), "the scene has changed, not the judge"
        assert set(mine["verdicts"]) == set(frame["verdicts"])
        for case, said in frame["verdicts"].items():
            found = mine["verdicts"][case]
            assert found.pop("style") == said.pop("style"), case
            assert found.pop("distances") == pytest.approx(said.pop("distances"), rel=1e-3, abs=1e-3), case
            assert found == pytest.approx(said, rel=1e-3, abs=1e-3), case


if __name__ == "__main__":
    TABLE.write_text(json.dumps(verdicts(), indent=1) + "\n", encoding="utf-8")
