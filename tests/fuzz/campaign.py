"""Many mutations, one after the other, and the figures of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.clips import KINDS, Kind, write
from tests.fuzz.guard import Guarded, Verdict
from tests.fuzz.mutate import mutate


@dataclass(frozen=True)
class Case:
    """One mutated file: by its number it can be made again."""

    number: int
    kind: Kind
    damage: str
    data: bytes
    choice: int


@dataclass
class Figures:
    """What a campaign came to; bytes and seconds of the worst file, `bad` are the ends that are not promised."""

    ended: Counter[str] = field(default_factory=Counter)
    by_kind: dict[str, Counter[str]] = field(default_factory=dict)
    bad: list[tuple[Case, Verdict]] = field(default_factory=list)
    base: int = 0
    peak: int = 0
    peak_of: str = ""
    seconds: float = 0.0
    seconds_of: str = ""

    def add(self, case: Case, verdict: Verdict) -> None:
        """Count one file."""
        name = f"{case.number} ({case.kind.name}: {case.damage})"
        self.ended[verdict.ended] += 1
        self.by_kind.setdefault(case.kind.name, Counter())[verdict.ended] += 1
        self.base = max(self.base, verdict.base)
        if verdict.peak > self.peak:
            self.peak, self.peak_of = verdict.peak, name
        if verdict.seconds > self.seconds:
            self.seconds, self.seconds_of = verdict.seconds, name
        if not verdict.ours:
            self.bad.append((case, verdict))

    @property
    def hangs(self) -> int:
        """Files that were not answered in time."""
        return self.ended["hang"]

    @property
    def crashes(self) -> int:
        """Files that ended the process."""
        return self.ended["crash"]


def base_clips(folder: Path) -> dict[Kind, bytes]:
    """The sound clips that can be written here."""
    written = {kind: write(kind, folder) for kind in KINDS}
    return {kind: path.read_bytes() for kind, path in written.items() if path is not None}


def cases(clips: dict[Kind, bytes], numbers: Sequence[int]) -> Iterator[Case]:
    """The mutations of these numbers; which clip, which damage and how it is opened hang on the number alone."""
    kinds, files = list(clips), list(clips.values())
    for number in numbers:
        kind = kinds[number % len(kinds)]
        damage, data = mutate(clips[kind], f"{number} {kind.name}", kind.family, files)
        yield Case(number, kind, damage, data, number // len(kinds) % 2)


def run(clips: dict[Kind, bytes], numbers: Sequence[int], folder: Path, seconds: float = 30.0) -> Iterator[Figures]:
    """Open every case in the guarded process; yields the figures so far after each. Files with bad ends are kept."""
    figures = Figures()
    with Guarded(seconds) as guarded:
        for case in cases(clips, numbers):
            path = folder / f"case-{case.number}{case.kind.suffix}"
            path.write_bytes(case.data)
            verdict = guarded.ask(path, case.choice)
            figures.add(case, verdict)
            if verdict.ours:
                path.unlink()
            yield figures
