"""What an operator's graphs are made of: counters and histograms of this process, scraped by HTTP or kept in a file.

`telemetry()` is the process's one set of figures; flows tell it what happened, it tells nobody unless
STEADYFRAME_METRICS_PORT or STEADYFRAME_METRICS_FILE ask for it. Labels are few and bounded: stages, ends, failure
classes, never a source or a key. Workers have their own figures (`tasks.engine.meter`). Decides nothing.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, start_http_server

from configs.errors import Interrupted
from configs.settings import Settings
from flows.result import Status
from flows.telemetry_file import Ledger
from tasks.failure import FailureClass, classify
from tasks.run import Progress, Run, VideoResult

SECONDS = (0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
STEPPED = ("denoise", "invert")  # stages whose units are window-steps
FILE_SECONDS = 15.0  # between two updates of the metrics file: as often as Prometheus asks

log = logging.getLogger("steadyframe")


class Telemetry:
    """The figures, each documented by its help text. Thread-safe."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = kept = CollectorRegistry()
        counter = functools.partial(Counter, registry=kept)
        gauge = functools.partial(Gauge, registry=kept)
        histogram = functools.partial(Histogram, registry=kept, buckets=SECONDS)
        self._jobs = counter("steadyframe_jobs", "Jobs that ended, by status of the contract.", ["status"])
        self._job_ended = gauge(
            "steadyframe_job_ended_timestamp_seconds", "When a job last ended so, seconds since 1970.", ["status"]
        )
        self._videos = counter(
            "steadyframe_videos", "Videos that ended; failure is '' unless end is failed.", ["end", "failure"]
        )
        self._video_seconds = histogram("steadyframe_video_seconds", "Time from start to end of a video.", ["end"])
        self._stage_seconds = histogram(
            "steadyframe_stage_seconds", "Time of stages of finished videos.", ["stage", "status"]
        )
        self._stage_bytes = counter(
            "steadyframe_stage_bytes", "Bytes of artifacts of finished videos.", ["stage", "status"]
        )
        self._window_steps = counter(
            "steadyframe_window_steps", "Sampling work, one per window and step, as it happens.", ["stage"]
        )
        self._window_steps_reused = counter(
            "steadyframe_window_steps_reused", "Denoising work found in the store instead of done."
        )
        self._in_flight = gauge("steadyframe_videos_in_flight", "Videos that are being worked on now.")
        self._queued = gauge("steadyframe_videos_queued", "Videos of a library that wait for room.")
        self._bytes_in_flight = gauge("steadyframe_bytes_in_flight", "Estimated bytes that videos in flight hold.")
        self._recoveries = counter("steadyframe_recoveries", "Lost workers that a stage recovered from.", ["stage"])
        self._oom_steps = counter("steadyframe_oom_steps", "Steps down the ladder of memory savers.")
        self._dead = counter("steadyframe_dead_letters", "Dead letters written, by class of failure.", ["failure"])
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Show what alerts ask for before it happens: a series that appears as 1 has not increased, for Prometheus."""
        for status in get_args(Status):
            self._jobs.labels(status)
        for end in ("completed", "reused", "interrupted"):
            self._videos.labels(end, "")
        for failure in get_args(FailureClass):
            self._videos.labels("failed", failure)
            self._dead.labels(failure)
        for stage in STEPPED:
            self._window_steps.labels(stage)
            self._recoveries.labels(stage)

    def job(self, status: str) -> None:
        """A job ended."""
        self._jobs.labels(status).inc()
        self._job_ended.labels(status).set(time.time())

    def dead(self, failure: FailureClass) -> None:
        """A dead letter was written."""
        self._dead.labels(failure).inc()

    def queue(self, videos: int, bytes_held: int) -> None:
        """How many videos wait, and what those in flight are taken to hold."""
        self._queued.set(videos)
        self._bytes_in_flight.set(bytes_held)

    def found(self, result: VideoResult) -> None:
        """A video whose result was there already and needed no run."""
        self._videos.labels("reused", "").inc()
        self._stages(result)

    def measured(self, whole: Callable[..., VideoResult]) -> Callable[..., VideoResult]:
        """`whole(run, ...)`, with everything that happens in it counted, however it ends."""

        @functools.wraps(whole)
        def counted(run: Run, **others: Any) -> VideoResult:
            began, end, failure = time.perf_counter(), "failed", ""
            self._in_flight.inc()
            try:
                result = whole(replace(run, observe=self._watching(run.observe)), **others)
                end = "reused" if all(stage.status == "reused" for stage in result.stages) else "completed"
                self._stages(result)
                return result
            except Exception as error:
                end = "interrupted" if isinstance(error, Interrupted) else "failed"
                failure = "" if end == "interrupted" else classify(error)
                raise
            except BaseException:  # a signal
                end = "interrupted"
                raise
            finally:
                self._in_flight.dec()
                self._videos.labels(end, failure).inc()
                self._video_seconds.labels(end).observe(time.perf_counter() - began)

        return counted

    def _stages(self, result: VideoResult) -> None:
        for stage in result.stages:
            name = stage.stage.split(" (", 1)[0]
            self._stage_seconds.labels(name, stage.status).observe(stage.seconds)
            self._stage_bytes.labels(name, stage.status).inc(stage.bytes)
        self._window_steps_reused.inc(result.window_steps.reused)

    def _watching(self, forward: Callable[[Progress], None]) -> Callable[[Progress], None]:
        """An observer that counts, and hands on."""
        steps = _Steps()

        def seen(progress: Progress) -> None:
            if progress.event == "recovery":
                self._recoveries.labels(progress.stage).inc()
            elif progress.event == "oom":
                self._oom_steps.inc()
            if progress.stage in STEPPED and (new := steps.new(progress)):
                self._window_steps.labels(progress.stage).inc(new)
            forward(progress)

        return seen


class _Steps:
    """Units done since the last sign of life; a restart from a commit, or the next shot, begins anew."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = ("", 0, 0)

    def new(self, progress: Progress) -> int:
        with self._lock:
            stage, total, done = self._last
            if progress.total <= 0:
                return 0
            self._last = (progress.stage, progress.total, progress.done)
            same = (stage, total) == (progress.stage, progress.total)
            return max(0, progress.done - done) if same else 0


@functools.cache
def telemetry() -> Telemetry:
    """The figures of this process."""
    return Telemetry()


@contextmanager
def exported(settings: Settings) -> Iterator[None]:
    """Serve the figures on the metrics port for the block; add them to the metrics file during it and at its end.

    Neither stops a job: a port that is taken or a file that cannot be written is a warning.
    """
    figures, server = telemetry(), None
    if settings.metrics_port:
        try:
            server = start_http_server(settings.metrics_port, settings.metrics_host, figures.registry)
        except OSError as error:
            where = f"{settings.metrics_host}:{settings.metrics_port}"
            log.warning("metrics are not served on %s: %s; set STEADYFRAME_METRICS_PORT to a free port", where, error)
    try:
        with _kept_up(_ledger(figures), settings.metrics_file) if settings.metrics_file else nullcontext():
            yield
    finally:
        if server is not None:
            server[0].shutdown()
            server[0].server_close()


@contextmanager
def _kept_up(ledger: Ledger, path: Path) -> Iterator[None]:
    """Write the file every `FILE_SECONDS` as long as that works, and once more at the end of the block."""
    ended = threading.Event()

    def keep_up() -> None:
        while ledger.write(path) and not ended.wait(FILE_SECONDS):
            pass

    writer = threading.Thread(target=keep_up, name="steadyframe-metrics", daemon=True)
    writer.start()
    try:
        yield
    finally:
        ended.set()
        writer.join()
        ledger.write(path)


@functools.cache
def _ledger(figures: Telemetry) -> Ledger:
    return Ledger(figures.registry)
