"""Gangs and who uses them: lent one use at a time, first come first served, a warm one before a cold one.

Knows engines as something that can be closed; opens none.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from configs.errors import Interrupted
from tasks.engine.protocol import Engine

_LOOK_SECONDS = 0.2  # how often one who waits for a gang asks whether to stop


@dataclass(frozen=True)
class Loan:
    """One use of a gang: whether an engine had to be opened for it, and the seconds until it could be used.

    `waited` is the time until a gang was free; it is not part of `seconds`.
    """

    gang: int
    model: str
    opened: bool
    seconds: float
    waited: float


@dataclass
class Gang:
    """Workers that serve one shot together, and the engine that is open on them."""

    number: int
    busy: bool = False
    model: str = ""
    engine: Engine | None = None

    def close(self) -> None:
        """Let the workers go."""
        engine, self.engine, self.model = self.engine, None, ""
        if engine is not None:
            engine.close()


class Queue:
    """Who waits for one of `gangs`; thread-safe."""

    def __init__(self, gangs: Sequence[Gang]) -> None:
        self._gangs = gangs
        self._changed = threading.Condition()
        self._tickets: deque[object] = deque()

    def take(self, model: str, should_stop: Callable[[], bool]) -> Gang:
        """Wait for our turn, then take the free gang that suits best: warm, else unused, else of another model.

        Raises Interrupted when `should_stop()` says so while waiting.
        """
        ticket = object()
        with self._changed:
            self._tickets.append(ticket)
            try:
                while True:
                    free = [gang for gang in self._gangs if not gang.busy]
                    if free and self._tickets[0] is ticket:
                        best = min(free, key=lambda gang: (gang.model != model, gang.model != "", gang.number))
                        best.busy = True
                        return best
                    if should_stop():
                        raise Interrupted("stopped while waiting for workers; run the same command again to go on")
                    self._changed.wait(_LOOK_SECONDS)
            finally:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def give_back(self, gang: Gang) -> None:
        """The next in the queue may have it."""
        with self._changed:
            gang.busy = False
            self._changed.notify_all()
