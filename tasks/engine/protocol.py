"""What an engine is: the few verbs by which a stage runs a program on a shot, whoever computes it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from models.sampling import Exchange, Window
from tasks.engine.records import LogLine
from tasks.programs import ShotSpec


@dataclass(frozen=True)
class Described:
    """What a placed program says of itself: how many steps, what travels in each (`finish` last), notes for people."""

    num_steps: int
    phases: tuple[tuple[Exchange, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepReport:
    """A step is done on every shard; `parts` are its committed windows where a commit was due, else empty."""

    step: int
    windows: int
    parts: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Future:
    """Result of a lane call that may be an argument of another lane's call before it exists."""

    handle: Any = field(repr=False)


class Lane(Protocol):
    """One worker, first in first out."""

    def call(self, method: str, *args: Any, returns: int = 1) -> list[Future]:
        """Queue a method of the `Worker`; arguments may be futures of any lane of the same engine."""


class Engine(Protocol):
    """Runs programs on shots in lockstep. Not thread-safe; one program is placed at a time."""

    def check_room(self, windows: Sequence[Window], size: tuple[int, int]) -> None:
        """Refuse a shot that the workers' memory cannot hold, before work is done for it. Errors: PlanError."""

    def place(self, spec: ShotSpec, windows: Sequence[Window]) -> Described:
        """Put the shot's windows on the workers; raises as `check_room` does."""

    def restore(self, step: int, parts: Mapping[int, Any] | None) -> None:
        """Set every window to the state after `step` steps: from committed parts by window, or the beginning."""

    def run(self, start: int, commit_every: int) -> Iterator[StepReport]:
        """Run from `start` to the end, one step ahead of what is reported; commits are written by the workers."""

    def finish(self) -> list[Any]:
        """Results of all windows, in order."""

    def map(self, method: str, items: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
        """Call a worker method once per item, spread over the workers, results in order of items; a few at a time."""

    def everywhere(self, method: str, *args: Any) -> list[Future]:
        """Queue a worker method on every worker; nobody needs to wait for it."""

    def logs(self) -> list[LogLine]:
        """What the workers logged since the last call; waits for what they are doing."""

    def describe(self) -> dict[str, Any]:
        """Facts of the loaded model, among them the `device` it is on."""

    def heal(self) -> None:
        """Replace dead workers; raises `WorkerLost` when that is not possible."""

    def close(self) -> None:
        """Release the workers."""
