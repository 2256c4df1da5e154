"""Without a terminal progress is a few plain lines; with one it is bars, and never stdout."""

from __future__ import annotations

import io

from flows.commands.bars import observer
from tasks.run import Progress


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_stage_leaves_its_first_and_last_line() -> None:
    stream = io.StringIO()
    with observer("info", stream) as observe:
        for done in range(51):
            observe(Progress("a.mp4", "denoise", done, 50))
        observe(Progress("a.mp4", "denoise", 50, 50))
    assert stream.getvalue().splitlines() == ["a.mp4: denoise 0/50", "a.mp4: denoise 50/50"]


def test_messages_below_the_level_are_left_out() -> None:
    stream = io.StringIO()
    with observer("warning", stream) as observe:
        observe(Progress("a.mp4", "denoise", 1, 2, message="chatter", level="info"))
        observe(Progress("a.mp4", "", message="look here", level="error"))
    assert stream.getvalue().splitlines() == ["error: look here"]


def test_a_terminal_gets_a_bar_per_stage() -> None:
    stream = Terminal()
    with observer("info", stream) as observe:
        observe(Progress("clips/a.mp4", "decode", 5, 5))
        observe(Progress("clips/a.mp4", "denoise", 1, 4, message="[not markup]", level="warning"))
    shown = stream.getvalue()
    assert "decode" in shown
    assert "1/4" in shown
    assert "[not markup]" in shown
