"""One run of a library: which videos are done already, flying the others, and what became of each.

Every dead video gets its letter, every run its page. Opens nothing: store, engines and observers are handed in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal

from configs.errors import BudgetReached, ConfigError, StoreError
from configs.library import LibraryJob
from flows.dead import write_dead
from flows.demo import demo_clip
from flows.library.ends import End, LibraryFacts, LibraryResult, result_of, rows_of, status_of
from flows.library.flight import Flight
from flows.library.known import Death, Known, answered
from flows.library.plan import Video
from flows.library.room import Room
from flows.progress import short_name
from flows.sources import DEMO, stamp_of
from flows.telemetry import telemetry
from tasks.failure import ends_all, lasts
from tasks.library_page import render_library
from tasks.purse import Purse
from tasks.results import ResultFolder
from tasks.run import Progress, Run, VideoResult, silent

if TYPE_CHECKING:
    from tasks.engine.pool import EnginePool
    from tasks.store import Store

LOOKERS = 8  # notes are asked for by so many threads: an answer of an object store takes tens of milliseconds


@dataclass
class Batch:
    """One run of a library: what it works with, and how its videos ended so far."""

    job: LibraryJob
    store: Store
    engines: EnginePool
    observe: Callable[[Progress], None]
    job_id: str
    attempt: int
    stoppable: bool
    began: float
    ends: list[End] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    tell: Callable[[Progress], None] = silent
    most: int = 0
    asked_to_stop: bool = False

    def __post_init__(self) -> None:
        self.known = Known(self.store)
        self.purse = Purse(self.job.budget)  # of all videos; also what they learn from earlier jobs is read once

    def known_already(self, videos: Sequence[Video]) -> list[Video]:
        """Note the ends that need no run (cannot be planned, noted as done); the others, in the order of their run."""
        for video in videos:
            if video.error is not None:
                self.ended(End(video, error=video.error))
        sound = [video for video in videos if video.error is None]
        for video in [video for video in sound if video.sidecar is None][:1]:
            self.engines.facts(video.job.model)  # weights that are not there are said once, before all else
        with ThreadPoolExecutor(LOOKERS) as pool:
            found = list(pool.map(self._recalled, sound))
            left = [video for video, end in zip(sound, found, strict=True) if end is None]
            if self.job.order == "largest":
                left = _largest_first(left, list(pool.map(_bytes, left)))
        for end in found:
            if end is not None:
                self.ended(end)
        return left

    def fly(self, videos: Sequence[Video], should_stop: Callable[[], bool]) -> None:
        """Run the videos, by their order and the room there is."""
        room = Room(self.job.max_in_flight, int(self.job.max_bytes_in_flight))

        def asked() -> bool:
            self.asked_to_stop = self.asked_to_stop or should_stop()
            return self.asked_to_stop

        flight = Flight(room, self._work, self.ended, asked, self._ends_all, self.stopping)
        try:
            flight.fly(videos)
        finally:
            self.most = flight.most

    def ended(self, end: End) -> None:
        """Note an end; a video that died in this run gets its letter."""
        self.ends.append(end)
        if end.dead and end.error is not None and not end.died_in:
            video = end.video
            write_dead(
                self.store,
                job_id=self.job_id,
                job=_asked(video),
                source=video.uri,
                relative=video.source.relative,
                error=end.error,
                attempt=self.attempt,
                sidecar=video.sidecar.values if video.sidecar is not None else None,
            )
        self._say(f"{end.video.source.below}: {_word(end)} ({len(self.ends)} ended)")

    def told(self, videos: Sequence[Video], stopped: bool) -> LibraryResult:
        """Gather everything, and write the page to the output folder and the store."""
        stopped = stopped or self.asked_to_stop or any(self._is_over_budget(end) for end in self.ends)
        done = [end for end in self.ends if end.result is not None]
        facts = LibraryFacts(
            videos=len(videos),
            computed=sum(end.computed for end in done),
            reused=sum(not end.computed for end in done),
            dead=sum(end.dead for end in self.ends),
            dead_before=sum(bool(end.died_in) for end in self.ends),
            waiting=len(videos) - len(done) - sum(end.dead for end in self.ends),
            most_in_flight=self.most,
            seconds=time.monotonic() - self.began,
            page=self._page(videos),
        )
        status = status_of(self.job, len(videos), self.ends, stopped)
        return result_of(self.job_id, status, self.ends, facts)

    def _page(self, videos: Sequence[Video]) -> str:
        """Write the page, say where; one that cannot be written is a warning, for the videos are done."""
        try:
            folder = ResultFolder(self.job.out)
            rows = rows_of(self.job_id, videos, self.ends, self.store)
            html = render_library(rows, title(self.job), folder.place).encode()
            self.store.blobs.put(f"jobs/{self.job_id}/index.html", html)
            return folder.write("index.html", html)
        except Exception as error:
            self._say(f"the page could not be written: {error}", "warning")
            return ""

    def _ends_all(self, end: End) -> bool:
        """Whether what ended one video ends every other; settings of its own (a sidecar) are its own business."""
        settings = isinstance(end.error, ConfigError) and not isinstance(end.error, StoreError)
        own = settings and end.video.sidecar is not None
        return (end.error is not None and not own and ends_all(end.error)) or self._is_over_budget(end)

    def _is_over_budget(self, end: End) -> bool:
        return self.purse.budget.limited and isinstance(end.error, BudgetReached)

    def _say(self, message: str, level: Literal["info", "warning"] = "info") -> None:
        line = Progress("library", "", message=message, level=level)
        self.observe(line)
        self.tell(line)

    def _run_of(self, video: Video) -> Run:
        uri = str(demo_clip()) if video.uri == DEMO else video.uri
        stop = self.stopping.is_set
        own = video.job.budget.limited and not self.purse.budget.limited
        purse = None if own else self.purse
        return Run(video.job, uri, self.store, self.engines, video.source.relative, self.observe, stop, purse=purse)

    def _recalled(self, video: Video) -> End | None:
        """What an earlier run noted of this very video; a fault on the way is the business of the run that follows."""
        began = time.monotonic()
        try:
            found = None if video.uri == DEMO else self.known.recall(self._run_of(video))
        except Exception:  # a note is a courtesy
            return None
        if found is None:
            return None
        if isinstance(found, Death):
            return End(video, error=found.error, died_in=found.job_id)
        telemetry().found(found)
        return End(video, found, seconds=time.monotonic() - began)

    def _work(self, video: Video) -> VideoResult:
        """One video, in its thread: answered by the store, else run."""
        from flows.video import Belongs, restyle_one

        run = self._run_of(video)
        before, read = stamp_of(run.source), time.time()
        result = answered(run)
        if result is None:
            belongs = Belongs(self.job_id, self.attempt, video.number)
            try:
                result = restyle_one(run, stoppable=True, belongs=belongs)
            except Exception as error:
                if lasts(error):
                    self._noted(run, partial(self.known.note_death, run, error, self.job_id, before, read))
                raise
        else:
            telemetry().found(result)
        self._noted(run, partial(self.known.note, run, result, before, read))
        return result

    def _noted(self, run: Run, note: Callable[[], None]) -> None:
        try:
            note()
        except Exception as error:  # the next run will ask the keys instead, or try again
            self.observe(Progress(run.source, "", message=f"no note was kept: {error}", level="debug"))


def _bytes(video: Video) -> int:
    stamp = stamp_of(video.uri)
    return stamp.bytes if stamp else 0


def _largest_first(videos: Sequence[Video], sizes: Sequence[int]) -> list[Video]:
    """Order neighbours that are equal in priority and model by size; equal sizes stay as they are."""
    size = dict(zip((video.number for video in videos), sizes, strict=True))
    equals = groupby(videos, key=lambda video: (video.priority, video.job.model))
    return [video for _, group in equals for video in sorted(group, key=lambda video: -size[video.number])]


def _word(end: End) -> str:
    if end.result is not None:
        return "done" if end.computed else "reused"
    return f"dead: {end.error}" if end.dead else "stopped"


def _asked(video: Video) -> Any:
    """The job as it was for this video; one whose sidecar is bad has none that a replay could run."""
    asked = video.job.model_dump(mode="json")
    return {**asked, "sidecar": str(video.error)} if isinstance(video.error, ConfigError) else asked


def title(job: LibraryJob) -> str:
    """Name of a library for people: the last parts of its sources, without secrets."""
    names: Iterable[str] = (short_name(text) for text in job.sources[:3])
    return ", ".join(names) + (f" and {len(job.sources) - 3} more" if len(job.sources) > 3 else "")
