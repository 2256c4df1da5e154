"""Amounts in words."""

from __future__ import annotations

import pytest

from tasks.words import duration, size


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0.00 s"),
        (0.414, "0.41 s"),
        (9.994, "9.99 s"),
        (9.996, "10.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (185.2, "3 min 5 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7440, "2 h 4 min"),
        (7199, "2 h 0 min"),
    ],
)
def test_seconds_never_round_up_to_a_whole_unit_of_the_next(seconds: float, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_951, "1.0 MB"),
        (3_400_000, "3.4 MB"),
        (2e12, "2.0 TB"),
    ],
)
def test_bytes_have_the_largest_unit_they_reach(count: float, words: str) -> None:
    assert size(count) == words
