"""Videos in flight: started in their order while there is room, each in a thread of its own, and collected here.

The thread that calls `fly` (the main one, as a rule) hears signals and stops: it asks the videos to stop, which they do
at their next commit, and waits for them. One video that fails, in whatever way, ends no other.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from configs.errors import Interrupted
from flows.library.ends import End
from flows.library.plan import Video
from flows.library.room import Room, working_bytes
from flows.telemetry import telemetry
from tasks.run import VideoResult

LOOK_SECONDS = 1.0  # how often the caller's `should_stop` is asked
Work = Callable[[Video], VideoResult]


@dataclass
class Flight:
    """`work` is called in a thread per video; `ended` with each end, in the calling thread; `hopeless` ends all.

    A signal of the flow engine in a video's thread (somebody suspended the run) ends all too and is raised at the end.
    `should_stop` is asked every second. `stopping` is set when the videos shall stop: what `work` does must look at it.
    """

    room: Room
    work: Work
    ended: Callable[[End], None]
    should_stop: Callable[[], bool] = lambda: False
    hopeless: Callable[[End], bool] = lambda end: False
    stopping: threading.Event = field(default_factory=threading.Event)
    most: int = 0
    _signal: BaseException | None = None

    def fly(self, videos: Sequence[Video]) -> None:
        """Run the videos in their order. Raises what stopped the calling thread (KeyboardInterrupt ...), at the end."""
        waiting, needs = deque(videos), _Needs()
        flying: dict[Future[End], Video] = {}
        pool = ThreadPoolExecutor(self.room.most_videos, thread_name_prefix="video")
        try:
            while waiting or flying:
                while waiting and not self.stopping.is_set() and self.room.admits(needs.of(waiting[0])):
                    video = waiting.popleft()
                    flying[self._start(pool, video, needs.of(video))] = video
                if self.stopping.is_set():
                    waiting.clear()
                telemetry().queue(len(waiting), sum(self.room.held.values()))
                if not flying:
                    break
                self._collect(flying)
                if self.should_stop():
                    self.stopping.set()
            if self._signal is not None:
                raise self._signal
        except BaseException:
            self.stopping.set()
            while flying:  # a second signal leaves them to end by themselves
                self._collect(flying)
            raise
        finally:
            telemetry().queue(0, 0)
            pool.shutdown(wait=False, cancel_futures=True)

    def _start(self, pool: ThreadPoolExecutor, video: Video, needs: int) -> Future[End]:
        self.room.enter(video.number, needs)
        self.most = max(self.most, len(self.room.held))
        # the context of this thread: settings of the server, the flow run that the videos belong to
        context = contextvars.copy_context()
        return pool.submit(context.run, self._one, video)

    def _collect(self, flying: dict[Future[End], Video]) -> None:
        done, _ = wait(flying, timeout=LOOK_SECONDS, return_when=FIRST_COMPLETED)
        for future in done:
            video = flying.pop(future)
            self.room.leave(video.number)
            end = future.result()
            self.ended(end)
            if end.signal:
                self._signal = self._signal or end.error
            if end.signal or self.hopeless(end):
                self.stopping.set()

    def _one(self, video: Video) -> End:
        began = time.monotonic()
        result, error = None, None
        try:
            if self.stopping.is_set():
                raise Interrupted(f"{video.uri}: stopped before it began; the same command goes on")
            result = self.work(video)
        except BaseException as fault:  # a library that calls exit() in a thread ends its video, not us
            error = fault
        return End(video, result, error, time.monotonic() - began)


@dataclass
class _Needs:
    """The estimate of the video whose turn it is, made once."""

    number: int = -1
    bytes: int = 0

    def of(self, video: Video) -> int:
        if video.number != self.number:
            self.number, self.bytes = video.number, working_bytes(video.uri)
        return self.bytes
