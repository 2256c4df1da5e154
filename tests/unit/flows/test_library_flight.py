"""Videos in flight: how many, how many bytes, in which order, and what ends them."""

from __future__ import annotations

import struct
import threading
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from configs.errors import Interrupted
from configs.job import RestyleJob
from flows.library.ends import End
from flows.library.flight import Flight
from flows.library.plan import Video
from flows.library.room import RAW_FRAMES, Room, working_bytes
from flows.sources import Source
from tasks.run import VideoOutput, VideoResult, WindowSteps
from tests.small_clips import write_clip

JOB = RestyleJob(style="oil")


def videos(*names: str) -> list[Video]:
    return [Video(n, Source(name), JOB) for n, name in enumerate(names)]


def result(name: str) -> VideoResult:
    digests = {"latents_digest": "l", "rgb_digest": "r"}
    output = VideoOutput(source=name, uri=name, key="k", frames=1, width=1, height=1, shots=1, audio=0, **digests)
    return VideoResult(output=output, stages=[], window_steps=WindowSteps(), deflicker_steps=[])


@dataclass
class Work:
    """What videos do here: wait for each other where asked to, and remember who flew with whom."""

    together: int = 1
    sizes: dict[str, int] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    most: int = 0

    def __post_init__(self) -> None:
        self.lock, self.here = threading.Lock(), 0
        self.met = threading.Barrier(self.together, timeout=20)

    def __call__(self, video: Video) -> VideoResult:
        with self.lock:
            self.begun.append(video.uri)
            self.here += 1
            self.most = max(self.most, self.here)
        try:
            self.met.wait()  # passes only when as many fly at once
            if "crash" in video.uri:
                raise SystemExit("a library called exit()")
            return result(video.uri)
        finally:
            with self.lock:
                self.here -= 1


def fly(work: Work, names: list[str], room: Room, ends: list[End] | None = None, **more: object) -> list[End]:
    """`sizes` of videos in bytes are in `work`; those that are not count 1."""
    ends = [] if ends is None else ends
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.library.flight.working_bytes", lambda uri: work.sizes.get(uri, 1))
        flight = Flight(room, work, ends.append, **more)  # type: ignore[arg-type]
        flight.fly(videos(*names))
    return ends


def test_as_many_fly_as_may_and_never_more() -> None:
    work = Work(together=2)
    ends = fly(work, list("abcdef"), Room(2, 100))
    assert work.most == 2
    assert sorted(work.begun) == list("abcdef")
    assert sorted(end.video.uri for end in ends) == list("abcdef")


def test_one_at_a_time_keeps_the_order() -> None:
    work = Work()
    fly(work, list("dbca"), Room(1, 100))
    assert work.begun == list("dbca")


def test_bytes_hold_back_and_one_that_is_larger_than_all_flies_alone() -> None:
    work = Work(sizes={"small": 6, "huge": 99, "little": 6})
    ends = fly(work, ["small", "huge", "little"], Room(3, 10))
    assert work.most == 1
    assert [end.video.uri for end in ends] == ["small", "huge", "little"]


def test_room_by_bytes() -> None:
    room = Room(3, 10)
    assert room.admits(99)
    room.enter(1, 6)
    assert room.admits(4)
    assert not room.admits(5)
    room.enter(2, 4)
    room.leave(1)
    assert room.admits(6)


def test_the_estimate_never_opens_a_file_that_lies_about_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few kB that promise millions of samples took 556 MB of the driver, for an estimate."""
    path = write_clip(tmp_path / "clip.mp4", frames=3, height=32, width=48)
    assert working_bytes(str(path)) == 2 * path.stat().st_size + RAW_FRAMES * 3 * 32 * 48
    data = bytearray(path.read_bytes())
    struct.pack_into(">II", data, data.index(b"stsz") + 8, 1, 8_000_000)
    path.write_bytes(data)
    opened: list[object] = []
    monkeypatch.setattr("av.open", lambda *args, **more: opened.append(args))
    assert working_bytes(str(path)) == 2 * path.stat().st_size
    assert opened == []


def test_a_crash_of_one_video_ends_no_other() -> None:
    ends = fly(Work(), ["a", "crash", "b"], Room(1, 100))
    assert [(end.video.uri, end.dead, end.result is not None) for end in ends] == [
        ("a", False, True),
        ("crash", True, False),
        ("b", False, True),
    ]


def test_who_is_asked_to_stop_starts_no_more_and_waits_for_those_that_fly() -> None:
    work = Work()
    told: list[End] = []
    ends = fly(work, list("abc"), Room(1, 100), told, should_stop=lambda: len(told) >= 1)
    assert [end.video.uri for end in ends] == ["a"]


def test_what_ends_all_ends_all() -> None:
    ends = fly(Work(), ["a", "crash", "b"], Room(1, 100), hopeless=lambda end: end.dead)
    assert [end.video.uri for end in ends] == ["a", "crash"]


def test_a_signal_in_the_waiting_thread_stops_the_videos_and_comes_out() -> None:
    """The thread that waits is the one that hears signals: here `ended` raises in its place."""
    stopping = threading.Event()
    ends: list[End] = []

    def work(video: Video) -> VideoResult:
        if video.uri == "long" and not stopping.wait(20):
            return result("never told to stop")
        if stopping.is_set():
            raise Interrupted("stopped at a commit")
        return result(video.uri)

    def ended(end: End) -> None:
        ends.append(end)
        if end.video.uri == "short":
            raise KeyboardInterrupt

    flight = Flight(Room(2, 10**12), work, ended, stopping=stopping)
    with pytest.raises(KeyboardInterrupt):
        flight.fly(videos("long", "short", "later"))
    assert [(end.video.uri, type(end.error).__name__) for end in ends] == [
        ("short", "NoneType"),
        ("long", "Interrupted"),
    ]
