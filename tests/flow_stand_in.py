"""A flow run that computes nothing, for tests of what surrounds it: it looks at the file and says how it went."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from configs.errors import UnreadableVideo
from flows import api, replaying
from tasks.run import Run, VideoOutput, VideoResult, WindowSteps

GOOD = b"a video"


def result_of(run: Run, review: bool = False) -> VideoResult:
    """One finished video."""
    output = VideoOutput(
        source=run.source, uri=f"{run.job.out}/{Path(run.source).stem}.mp4", key="ab" * 16, frames=8, width=64,
        height=36, shots=1, audio=0, latents_digest="", rgb_digest="", review=review,
    )  # fmt: skip
    return VideoResult(output=output, stages=[], window_steps=WindowSteps(total=4, computed=4), deflicker_steps=[])


def look(run: Run) -> VideoResult:
    """A file that holds `GOOD` works, any other is no video."""
    path = Path(run.source)
    if not path.is_file() or path.read_bytes() != GOOD:
        raise UnreadableVideo(f"{run.source}: not a video; check the file")
    return result_of(run)


def stand_in(monkeypatch: pytest.MonkeyPatch, one: Callable[[Run], VideoResult] = look) -> list[Run]:
    """Put `one` in the place of flow runs, without a Prefect server; returns the runs it will have been given."""
    runs: list[Run] = []

    def restyle_one(run: Run, stoppable: bool = False, belongs: object = None) -> VideoResult:
        runs.append(run)
        return one(run)

    def deflicker_one(job: Any, run: Run, stoppable: bool = False) -> VideoResult:
        return restyle_one(run, stoppable)

    for name in ("served", "quiet"):
        monkeypatch.setattr(api, name, nullcontext)
    monkeypatch.setattr(replaying, "served", nullcontext)
    flows = SimpleNamespace(restyle_one=restyle_one, deflicker_one=deflicker_one, Belongs=lambda *parts: parts)
    monkeypatch.setitem(sys.modules, "flows.video", flows)
    return runs
