"""A chaos suite in which nothing was struck must not pass."""

from __future__ import annotations

from tests.chaos.ledger import Trial, hardly_struck


def trials(kind: str, *struck: int) -> list[Trial]:
    return [Trial(kind, seed, struck=hit) for seed, hit in enumerate(struck)]


def test_kinds_that_mostly_missed_are_named() -> None:
    assert hardly_struck([*trials("kill", 1, 1, 1, 0, 0), *trials("node", 1, 0, 0)]) == ["node: only 1 of 3 struck"]
    assert hardly_struck(trials("kill", 0, 0)) == [], "one seed or two may be unlucky"
    assert hardly_struck([*trials("kill", 0), *trials("node", 1), *trials("server", 0)]) == [
        "the rest: only 1 of 3 struck"
    ]
    assert hardly_struck([]) == []
