"""What the videos of one job have spent together, and may still: asked before each piece of work, told after it.

A piece that would pass the limit is not begun. Counts only; what a piece will cost is `tasks.forecast`'s business, and
what happens to a run that may not go on is its caller's.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from configs.budget import BudgetConfig
from configs.errors import BudgetReached
from tasks.words import duration, size

DEVICE_STAGES = frozenset({"condition", "invert", "denoise"})
"""Stages that the workers compute; only their seconds are device-seconds."""


@dataclass(frozen=True)
class Cost:
    """Device-seconds (seconds times workers) and bytes that stay in the store."""

    gpu_seconds: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.gpu_seconds + other.gpu_seconds, self.bytes + other.bytes)


class Hold:
    """A share of the purse set aside for a piece of work; what is paid from it is no longer held."""

    def __init__(self, purse: Purse, held: Cost) -> None:
        self.purse, self.held = purse, held
        self.begin(True)

    def begin(self, on_device: bool) -> None:
        """A stage begins; `on_device`: its seconds are device-seconds."""
        self._on_device = on_device
        self._began = self._asked = time.monotonic()

    def check(self, devices: int, what: str) -> None:
        """Asked between two steps: raises `BudgetReached` when one more as long as the last would pass the limit.

        A forecast may be wrong; this is what keeps its error out of the bill. `devices` compute since `begin`.
        """
        limit, now = self.purse.budget.gpu_seconds, time.monotonic()
        step, self._asked = now - self._asked, now
        if limit is None or not self._on_device:
            return
        if self.purse.spent.gpu_seconds + (now - self._began + step) * devices > limit:
            raise BudgetReached(
                f"budget: {what} took longer than forecast and its next step would pass the limit of "
                f"{_device_seconds(limit)}; its commits are kept (the same again may spend as much again)"
            )

    def pay(self, cost: Cost) -> None:
        """Note what a stage really took."""
        with self.purse.lock:
            self.purse.spent += cost
            left = self.held.gpu_seconds - cost.gpu_seconds, self.held.bytes - cost.bytes
            self.held = Cost(*(max(0.0, amount) for amount in left))


class Purse:
    """The budget of one attempt of a job, shared by its videos, also by those in flight at once. Thread-safe."""

    def __init__(self, budget: BudgetConfig | None = None) -> None:
        self.budget = budget or BudgetConfig()
        self.lock = threading.Lock()
        self.spent = Cost()
        self._holds: list[Hold] = []

    @contextmanager
    def hold(self, cost: Cost, what: str) -> Iterator[Hold]:
        """Set `cost` aside for `what` ("shot 2 of clip.mp4") while the block runs.

        Raises `BudgetReached`, before anything is begun, when spent, held and `cost` together pass a limit.
        """
        hold = Hold(self, cost)
        with self.lock:
            taken = sum((other.held for other in self._holds), self.spent)
            self._check(taken, cost, what)
            self._holds.append(hold)
        try:
            yield hold
        finally:
            with self.lock:
                self._holds.remove(hold)

    def _check(self, taken: Cost, cost: Cost, what: str) -> None:
        limits = (
            ("gpu_seconds", self.budget.gpu_seconds, taken.gpu_seconds, cost.gpu_seconds, _device_seconds),
            ("bytes", self.budget.bytes, taken.bytes, cost.bytes, size),
        )
        for name, limit, before, wanted, said in limits:
            if limit is not None and wanted > 0 and before + wanted > limit:
                over = wanted > limit
                then = f"give budget.{name} at least {wanted:.0f}" if over else "the same again may spend as much again"
                raise BudgetReached(
                    f"budget: {what} would take about {said(wanted)} and {said(max(0.0, limit - before))} of "
                    f"{said(limit)} are left, so it was not begun; all before it is kept ({then})"
                )


def _device_seconds(seconds: float) -> str:
    return f"{duration(seconds)} of device time"
