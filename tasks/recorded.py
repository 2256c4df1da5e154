"""Running the stages of one video one by one: each noted, each paid for, a stop asked for obeyed between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from configs.errors import Interrupted
from tasks.purse import DEVICE_STAGES, Cost, Hold
from tasks.ref import Ref
from tasks.run import Run, StageRecord


class Do(Protocol):
    """Runs one stage: `do("denoise", "shot 2", work)` returns what `work()` returns."""

    def __call__(self, stage: str, part: str, work: Callable[[], Ref]) -> Ref:
        """Run the stage now, in this process, and return its artifact."""


def directly(stage: str, part: str, work: Callable[[], Ref]) -> Ref:
    """Run a stage with nothing around it."""
    return work()


@dataclass
class Recorded:
    """`do`, with a record of every stage kept, a stop asked for between stages obeyed, and the purse told."""

    run: Run
    do: Do
    hold: Hold | None = None

    def __post_init__(self) -> None:
        self.run.finished.clear()  # a video may be begun again

    @property
    def stages(self) -> list[StageRecord]:
        """The records so far."""
        return self.run.finished

    @contextmanager
    def paying(self, cost: Cost, what: str) -> Iterator[Callable[[], bool]]:
        """Pay the stages of the block from the run's purse; raises `BudgetReached`, at first or between two steps.

        Yields what the block's stages ask whether to stop.
        """
        run, devices = self.run, max(1, self.run.engines.workers_per_gang)
        if run.purse is None:
            yield run.should_stop
            return
        with run.purse.hold(cost, what) as hold:
            self.hold = hold

            def should_stop() -> bool:
                hold.check(devices, what)
                return run.should_stop()

            try:
                yield should_stop
            finally:
                self.hold = None

    def _pay(self, ref: Ref) -> None:
        """What a computed stage took; of correspondence, whose bytes name shared packs, what it added to them."""
        if self.hold is None or ref.status == "reused" or not self.hold.purse.budget.limited:
            return
        devices = max(1, self.run.engines.workers_per_gang) if ref.stage in DEVICE_STAGES else 0
        meta = self.run.store.resolve(ref).meta
        seconds = max(0.0, ref.seconds - meta.get("opening", 0.0))
        self.hold.pay(Cost(seconds * devices, meta.get("written", ref.bytes)))

    def __call__(self, stage: str, part: str, work: Callable[[], Ref]) -> Ref:
        """Run the stage and note it; raises Interrupted instead when a stop was asked for."""
        if self.run.should_stop():
            raise Interrupted(f"stopped before {stage}; run the same command again to go on")
        if self.hold is not None:
            self.hold.begin(stage in DEVICE_STAGES)
        ref = self.do(stage, part, work)
        self._pay(ref)
        status = "reused" if ref.status == "reused" else "computed"
        name = f"{stage} ({part})" if part else stage
        self.stages.append(
            StageRecord(
                source=self.run.source,
                stage=name,
                key=ref.key,
                status=status,
                seconds=ref.seconds,
                bytes=ref.bytes,
            )
        )
        return ref
