"""Percent and seconds left, without a server."""

from __future__ import annotations

import pytest

from flows.progress import SHARES, Gauge
from tasks.run import Progress


def fed(*signs: tuple[str, int, int, float]) -> Gauge:
    gauge = Gauge()
    for stage, done, total, now in signs:
        gauge.update(Progress("clip", stage, done, total), now)
    return gauge


def test_shares_are_a_whole() -> None:
    assert sum(SHARES.values()) == 100


def test_seconds_left_come_from_the_rate_of_this_run() -> None:
    assert fed(("denoise", 0, 40, 0.0), ("denoise", 10, 40, 20.0)).seconds_left(20.0) == pytest.approx(60.0)


def test_work_that_was_restored_does_not_make_the_rate_look_good() -> None:
    resumed = fed(("denoise", 30, 40, 0.0), ("denoise", 32, 40, 4.0))
    assert resumed.seconds_left(4.0) == pytest.approx(16.0)


def test_nothing_is_promised_before_the_first_unit() -> None:
    assert fed(("denoise", 0, 40, 0.0)).seconds_left(5.0) is None
    assert fed(("denoise", 0, 40, 0.0)).describe(5.0) == "denoise 0/40"


def test_words_say_part_and_time() -> None:
    gauge = fed(("denoise", 0, 40, 0.0), ("denoise", 10, 40, 100.0))
    assert gauge.describe(100.0, "shot 2") == "denoise (shot 2) 10/40, about 5 min left in this stage"


def test_a_stage_that_was_skipped_counts_as_done() -> None:
    before = sum(share for name, share in SHARES.items() if name not in ("denoise", "encode", "evaluate", "report"))
    assert fed(("denoise", 0, 40, 0.0)).percent() == before
    assert fed(("denoise", 20, 40, 0.0)).percent() == before + SHARES["denoise"] / 2


def test_a_second_shot_starts_its_own_rate() -> None:
    gauge = fed(("denoise", 0, 10, 0.0), ("denoise", 10, 10, 10.0), ("denoise", 0, 10, 10.0), ("denoise", 1, 10, 15.0))
    assert gauge.seconds_left(15.0) == pytest.approx(45.0)


def test_signs_without_units_move_nothing() -> None:
    assert Gauge().update(Progress("clip", "denoise", message="hello"), 0.0) is False
