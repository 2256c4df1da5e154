"""What became of every seed: one row per trial, and the table of the note. Knows no fault."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from tests.chaos.watching import Reader


@dataclass
class Trial:
    """One seed of one kind of trouble; the invariants are noted before they are asserted."""

    kind: str
    seed: int
    struck: int = 0
    differing: int = 0
    torn: int = 0
    made_again: int = 0
    left: int = 0

    def judge(self, result: dict[str, Any], undisturbed: dict[str, Any], reader: Reader | None = None) -> None:
        """The end must be the undisturbed one, and no reader may have seen half a thing or finished work done again."""
        told, wanted = ((r["latents"], r["rgb"]) for r in (result, undisturbed))
        self.differing += told != wanted
        if reader is not None:
            self.look_at(reader)
        assert told == wanted

    def look_at(self, reader: Reader) -> None:
        """What a reader saw beside the run."""
        assert reader.rounds > 0
        self.torn += len(reader.torn)
        self.made_again += len(reader.made_again())
        assert reader.torn == []
        assert reader.made_again() == []


def table(trials: list[Trial]) -> list[str]:
    """Lines, one per kind and one of all."""
    by_kind: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_kind[trial.kind].append(trial)
    head = f"{'kind':<22}{'seeds':>7}{'struck':>8}{'differing':>11}{'torn':>6}{'made again':>12}{'processes left':>16}"
    return [head, *(_line(kind, rows) for kind, rows in by_kind.items()), _line("all", trials)]


def hardly_struck(trials: list[Trial], fewest: int = 3, share: float = 0.6) -> list[str]:
    """Kinds of trouble that mostly did not happen, so that what came of them says nothing: a sentence each.

    A kill at a moment may come too late for one seed, on a slow or a quick machine. So kinds of fewer than `fewest`
    trials are taken together.
    """
    by_kind: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_kind[trial.kind].append(trial)
    judged = {kind: rows for kind, rows in by_kind.items() if len(rows) >= fewest}
    few = [row for kind, rows in by_kind.items() if kind not in judged for row in rows]
    if len(few) >= fewest:
        judged["the rest"] = few
    counts = {kind: (sum(row.struck > 0 for row in rows), len(rows)) for kind, rows in judged.items()}
    return [f"{kind}: only {hit} of {all_} struck" for kind, (hit, all_) in counts.items() if hit < share * all_]


def _line(name: str, rows: list[Trial]) -> str:
    struck = sum(row.struck > 0 for row in rows)
    sums = [sum(getattr(row, what) for row in rows) for what in ("differing", "torn", "made_again", "left")]
    return f"{name:<22}{len(rows):>7}{struck:>8}{sums[0]:>11}{sums[1]:>6}{sums[2]:>12}{sums[3]:>16}"
