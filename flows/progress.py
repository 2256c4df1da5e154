"""What a running video tells: a progress artifact and log lines in Prefect, and the caller's own observer.

Engine threads and actors report through a plain callable; everything for Prefect goes through one thread
that carries the flow run's context (it is bound to context variables, which other threads do not have).
Decides nothing about work.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any
from uuid import UUID

from configs.names import slug
from configs.redact import redact
from tasks.run import Progress

# How much of a video's time a stage usually takes, in percent: it shapes the bar, never the seconds left.
SHARES = {
    "probe": 1,
    "decode": 4,
    "condition": 5,
    "mask": 3,
    "invert": 10,
    "correspond": 15,
    "denoise": 52,
    "encode": 4,
    "evaluate": 4,
    "report": 2,
}
EVERY_SECONDS = 1.0
ASK_SECONDS = 5.0  # how often the server is asked whether the run was cancelled there
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


@dataclass
class Gauge:
    """Percent done and seconds left, from the signs of life of one video; times in seconds of a monotonic
    clock.
    """

    stage: str = ""
    done: int = 0
    total: int = 0
    first_done: int = 0
    first_time: float = 0.0
    left_behind: set[str] = field(default_factory=set)

    def update(self, progress: Progress, now: float) -> bool:
        """Take in a sign of life; whether it moved the gauge."""
        if not progress.stage or progress.total <= 0:
            return False
        if progress.stage != self.stage:
            if self.stage:
                self.left_behind.add(self.stage)
            self.stage, self.first_done, self.first_time = progress.stage, progress.done, now
        elif progress.done < self.done:  # the next shot counts from its own start
            self.first_done, self.first_time = progress.done, now
        moved = (self.done, self.total) != (progress.done, progress.total) or progress.done == 0
        self.done, self.total = progress.done, progress.total
        return moved

    def percent(self) -> float:
        """Share of the video's stages that lies behind, 0 to 100; stages that were skipped count as done."""
        order = list(SHARES)
        before = order[: order.index(self.stage)] if self.stage in SHARES else self.left_behind & SHARES.keys()
        within = min(1.0, self.done / self.total) if self.total else 0.0
        return min(100.0, sum(SHARES[name] for name in before) + SHARES.get(self.stage, 0) * within)

    def seconds_left(self, now: float) -> float | None:
        """Seconds until the stage is done at its own rate in this run; None before the first unit is done."""
        units = self.done - self.first_done
        if units <= 0 or self.done >= self.total:
            return None
        return (self.total - self.done) * (now - self.first_time) / units

    def describe(self, now: float, part: str = "") -> str:
        """One line for people: stage, part of it (`shot 2`), units, time left."""
        left = self.seconds_left(now)
        text = f"{self.stage}{f' ({part})' if part else ''} {self.done}/{self.total}"
        return text if left is None else f"{text}, about {_duration(left)} left in this stage"


class Watch:
    """Observer of one video inside its flow run, and the context that publishes what it hears.

    Call it from any thread. Enter it in the flow's thread, before tasks start. `cancelled()` answers
    whether somebody cancelled the run on the server, for runs that no Prefect worker watches.
    """

    def __init__(self, source: str, forward: Callable[[Progress], None]) -> None:
        self.source = source
        self.forward = forward
        self.part = ""
        self._gauge = Gauge()
        self._lines: deque[Progress] = deque(maxlen=10_000)
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._cancelled = threading.Event()
        self._changed = False
        self._finished = False
        self._began = time.monotonic()
        self._artifact: UUID | None = None
        self._thread: threading.Thread | None = None

    def __call__(self, progress: Progress) -> None:
        """Take a sign of life; returns at once."""
        self.forward(progress)
        with self._lock:
            self._changed |= self._gauge.update(progress, time.monotonic())
        if progress.message:
            self._lines.append(progress)

    def cancelled(self) -> bool:
        """Whether the run was cancelled on the server (asked every few seconds)."""
        return self._cancelled.is_set()

    def finish(self) -> None:
        """Say that the video is done: leaving without that leaves the bar where it was."""
        self._finished = True

    def __enter__(self) -> Watch:
        context = contextvars.copy_context()
        self._thread = threading.Thread(target=context.run, args=(self._publish,), name="progress", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _publish(self) -> None:
        from prefect import get_run_logger

        logger = get_run_logger()
        asked, ended = time.monotonic(), False
        while not ended:
            ended = self._end.wait(EVERY_SECONDS)
            try:
                self._send(logger, final=ended)
                if not ended and time.monotonic() - asked > ASK_SECONDS:
                    asked = time.monotonic()
                    self._ask()
            except Exception as error:
                # Telling is a courtesy: a server that is away must not stop hours of work.
                logger.debug("progress could not be told: %s", error)

    def _send(self, logger: Any, final: bool) -> None:
        while self._lines:
            line = self._lines.popleft()
            logger.log(LEVELS[line.level], "%s%s", f"{line.stage}: " if line.stage else "", line.message)
            if line.table:
                self._show(line)
        now = time.monotonic()
        with self._lock:
            changed, self._changed = self._changed, False
            percent, text = round(self._gauge.percent(), 1), self._gauge.describe(now, self.part)
        if final and self._finished:
            percent, text = 100.0, f"done in {_duration(now - self._began)}"
        if not (changed or (final and (self._artifact or self._finished))):
            return
        from prefect.artifacts import create_progress_artifact, update_progress_artifact

        if self._artifact is None:
            made = create_progress_artifact(percent, key=f"progress-{slug(short_name(self.source))}", description=text)
            self._artifact = made if isinstance(made, UUID) else None
        else:
            update_progress_artifact(self._artifact, percent, description=text)

    def _show(self, line: Progress) -> None:
        """Post the table behind a line (a forecast) on the run's page."""
        from prefect.artifacts import create_table_artifact

        what = line.message.split(":", 1)[0]
        key = f"{slug(what)}-{slug(short_name(self.source))}"
        create_table_artifact(list(line.table), key=key, description=line.message)

    def _ask(self) -> None:
        from prefect.client.orchestration import get_client
        from prefect.context import FlowRunContext

        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            return
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(context.flow_run.id).state
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            self._cancelled.set()


def short_name(source: str) -> str:
    """Last part of a path or URL, which is how people know a video; without a URL's query."""
    told = redact(source)
    return (told.split("?", 1)[0] if "://" in told else told).rstrip("/").rsplit("/", 1)[-1]


def _duration(seconds: float) -> str:
    """Seconds below two minutes, then minutes, then hours."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
