"""A slice of the fuzz: no mutated file hangs, crashes or eats the process, and what is refused is refused by its class.

`python -m tests.fuzz --count 1000` is the whole; docs/security.md has its figures.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.fuzz.campaign import Figures, base_clips, cases, run
from tests.fuzz.clips import Kind
from tests.fuzz.guard import Guarded

COUNT = 46
MOST_BYTES = 1_500 << 20  # frames of 8 MP and what a decoder keeps of them; the worst of 1000 is in docs/security.md


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, bytes]:
    return base_clips(tmp_path_factory.mktemp("fuzz"))


def test_most_kinds_of_files_can_be_made_here(clips: dict[Kind, bytes]) -> None:
    assert {"mp4", "mkv", "avi", "ts"} <= {kind.family for kind in clips}
    assert len(clips) >= 15


def test_a_case_is_made_again_by_its_number(clips: dict[Kind, bytes]) -> None:
    assert list(cases(clips, [7, 31])) == list(cases(clips, [7, 31]))


def test_mutated_files_end_as_promised(clips: dict[Kind, bytes], tmp_path: Path) -> None:
    figures = Figures()
    for figures in run(clips, range(COUNT), tmp_path):  # noqa: B007  (the last one is of all)
        pass
    assert figures.ended.total() == COUNT
    assert figures.bad == []
    assert figures.peak < MOST_BYTES, figures.peak_of
    assert figures.ended["clip"] > 0
    assert len(figures.ended) >= 3


def test_the_guard_notices_a_hang_and_a_crash(clips: dict[Kind, bytes], tmp_path: Path) -> None:
    """And the next file is answered by another child."""
    kind, data = next(iter(clips.items()))
    good = tmp_path / f"good{kind.suffix}"
    good.write_bytes(data)
    with Guarded(seconds=5.0) as guarded:
        for sent, ended, said in ((signal.SIGSTOP, "hang", "no answer in 5 s"), (signal.SIGSEGV, "crash", "SIGSEGV")):
            assert guarded.ask(good, 0).ended == "clip"
            assert guarded.pid is not None
            os.kill(guarded.pid, sent)
            verdict = guarded.ask(good, 0)
            assert (verdict.ended, verdict.said, verdict.ours) == (ended, said, False)
        assert guarded.started == 2
    assert guarded.pid is None
