"""Rows of one call: fixed in number, right in frame, clamped to shot and call."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.attention import around_exchange, call_layout
from models.sampling import Gathered, windows_of

PATTERNS = st.lists(st.sampled_from(["first", "0", "-1", "+1", "-2", "+3"]), min_size=1, max_size=5).map(tuple)


def test_a_middle_window_is_anchor_halo_window_halo() -> None:
    layout = call_layout(windows_of(12, 4)[1], 4, ("first", "-1", "0", "+1"))
    assert layout.frames == (0, 3, 4, 5, 6, 7, 8)
    assert layout.own == slice(2, 6)
    assert layout.attend.tolist() == [
        [0, 0, 0, 0],  # the anchor sees only itself
        [0, 1, 1, 2],  # frame 3: frame 2 is not in this call
        [0, 1, 2, 3],
        [0, 2, 3, 4],
        [0, 3, 4, 5],
        [0, 4, 5, 6],
        [0, 5, 6, 6],  # frame 8: frame 9 is not in this call
    ]


def test_the_first_window_is_padded_at_the_front() -> None:
    layout = call_layout(windows_of(12, 4)[0], 4, ("first", "-1", "0"))
    assert layout.frames == (0, 0, 0, 1, 2, 3)
    # frame 0 has no predecessor: it stands in for it
    assert layout.attend[layout.own].tolist() == [[0, 2, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]]


def test_a_short_last_window_is_padded_at_the_end() -> None:
    layout = call_layout(windows_of(9, 4)[2], 4, ("-1", "0", "+1"))
    assert layout.frames == (7, 8, 8, 8, 8, 8)
    assert layout.own == slice(1, 2)
    assert layout.attend[layout.own].tolist() == [[0, 1, 1]]


def test_pattern_zero_is_plain() -> None:
    layout = call_layout(windows_of(12, 4)[1], 4, ("0",))
    assert layout.alone
    assert layout.frames == (4, 5, 6, 7)
    assert not call_layout(windows_of(12, 4)[1], 4, ("-1",)).alone


def test_exchange_asks_for_what_the_pattern_reaches() -> None:
    exchange = around_exchange(("first", "-3", "0", "+2"))
    assert (exchange.before, exchange.after, exchange.anchors) == (3, 2, (0,))
    assert (exchange.tensor, exchange.phase) == ("latents", "predict")
    assert around_exchange(("0",)).anchors == ()


@given(pattern=PATTERNS, size=st.integers(1, 6), shot=st.integers(1, 20))
def test_every_call_has_one_shape_and_only_frames_it_was_sent(pattern: tuple[str, ...], size: int, shot: int) -> None:
    exchange = around_exchange(pattern)
    shapes = set()
    for window in windows_of(shot, size):
        layout = call_layout(window, size, pattern)
        shapes.add((layout.rows, tuple(layout.attend.shape)))
        gathered = Gathered(exchange.frames(window), torch.tensor(exchange.frames(window)))
        assert gathered.take(layout.frames).tolist() == list(layout.frames)
        assert list(layout.frames[layout.own]) == list(window.frames)
        assert 0 <= int(layout.attend.min()) <= int(layout.attend.max()) < layout.rows
    assert len(shapes) == 1


@given(pattern=PATTERNS, size=st.integers(1, 6), shot=st.integers(1, 20))
def test_own_frames_see_the_pattern_clamped_to_the_shot(pattern: tuple[str, ...], size: int, shot: int) -> None:
    for window in windows_of(shot, size):
        layout = call_layout(window, size, pattern)
        for frame, rows in zip(window.frames, layout.attend[layout.own].tolist(), strict=True):
            wanted = [0 if p == "first" else min(max(frame + int(p), 0), shot - 1) for p in pattern]
            assert [layout.frames[row] for row in rows] == wanted


def test_gathered_refuses_a_frame_it_lacks() -> None:
    with pytest.raises(KeyError):
        Gathered((1, 2), torch.zeros(2)).take((3,))
