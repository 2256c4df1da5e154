"""The dead videos of a replay in flight: as many at a time, in count and bytes, as the library they died in allowed.

Those of other jobs run one at a time, as they did then. Says what became of each letter; which letters, and what is
told of them, is the business of `flows.replaying`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import ValidationError

from configs.errors import Interrupted
from configs.job import RestyleJob
from configs.library import LibraryJob
from flows.dead import DeadLetter
from flows.demo import demo_clip
from flows.library.flight import Flight
from flows.library.plan import Video
from flows.library.room import Room
from flows.sources import DEMO, Source, expand
from tasks.purse import Purse
from tasks.run import Progress, Run, StageRecord, VideoResult
from tasks.store import Store

if TYPE_CHECKING:
    from flows.library.ends import End
    from flows.tally import Tally
    from tasks.engine.pool import EnginePool

Settle = Callable[[Sequence[DeadLetter], Exception | None], None]


@dataclass
class Again:
    """Letters that one try answers: its job, and what is left of its videos (a folder that held none may hold some)."""

    letters: Sequence[DeadLetter]
    job: RestyleJob
    left: int = 0
    died: list[Exception] = field(default_factory=list)
    stopped: bool = False

    def __post_init__(self) -> None:
        self.purse = Purse(self.job.budget)


def fly_again(
    asked: Sequence[Again],
    store: Store,
    engines: EnginePool,
    observe: Callable[[Progress], None],
    tally: Tally,
    settle: Settle,
) -> None:
    """Try them all, note every video in `tally`, and call `settle` with letters and error (None: it worked) of each.

    A stop ends the flight; the letters of what was stopped or not begun are not settled.
    """
    from flows.video import Belongs, restyle_one

    videos: list[Video] = []
    of: dict[int, Again] = {}
    stages: dict[int, list[StageRecord]] = {}
    for one in asked:
        for source in _sources(one.letters[-1]):
            video = Video(len(videos), source, one.job, error=source.error)
            videos.append(video)
            of[video.number], stages[video.number] = one, []
            one.left += 1
    stopping = threading.Event()

    def work(video: Video) -> VideoResult:
        if video.error is not None:
            raise video.error
        uri = str(demo_clip()) if video.uri == DEMO else video.uri
        relative, purse, finished = video.source.relative, of[video.number].purse, stages[video.number]
        stop = stopping.is_set
        run = Run(video.job, uri, store, engines, relative, observe, stop, purse=purse, finished=finished)
        return restyle_one(run, stoppable=True, belongs=Belongs(tally.job_id, 1, video.number))

    def ended(end: End) -> None:
        one = of[end.video.number]

        def outcome(finished: list[StageRecord]) -> VideoResult:
            finished += stages[end.video.number]
            if end.error is not None:
                raise end.error
            assert end.result is not None
            return end.result

        one.stopped |= not tally.attempt(end.video.uri, outcome, one.died.append)
        one.left -= 1
        if not one.left and not one.stopped:
            settle(one.letters, one.died[0] if one.died else None)

    flight = Flight(_room(store, asked), work, ended, hopeless=_is_stopped, stopping=stopping)
    flight.fly(videos)


def _is_stopped(end: End) -> bool:
    return isinstance(end.error, Interrupted)


def _sources(letter: DeadLetter) -> list[Source]:
    """The video of a letter; a folder or pattern that held none may hold several by now."""
    found = expand((letter.source,))
    if len(found) == 1:
        return [Source(found[0].uri, letter.relative or found[0].relative, found[0].error)]
    return found


def _room(store: Store, asked: Sequence[Again]) -> Room:
    """The most room that any of the jobs had."""
    ids = {letter.job_id for one in asked for letter in one.letters}
    jobs = [job for job_id in ids if (job := _library(store, job_id)) is not None]
    most = [(job.max_in_flight, int(job.max_bytes_in_flight)) for job in jobs]
    return Room(max((n for n, _ in most), default=1), max((n for _, n in most), default=0))


def _library(store: Store, job_id: str) -> LibraryJob | None:
    try:
        return LibraryJob.model_validate(store.read_record(f"jobs/{job_id}/job.json"))
    except ValidationError:  # another method's, another version's, or cleaned away
        return None
