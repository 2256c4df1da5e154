"""One open decoder: frames of a clip in order of presentation, from any frame on.

Knows seeking, threads and deinterlacing; converts nothing and compares nothing with the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error
import av.filter
from av.container import InputContainer
from av.video.stream import VideoStream

from tasks.video.container import guard, opened, reason
from tasks.video.facts import ClipFacts

# Frame threads bring 1.7x at 1080p and nothing at 512; more would fight the model calls of other workers.
THREADS = 2


class Decoder:
    """A file held open. `frames()` may be called again and again; the newest call owns the decoder.

    `errors` collects what the decoder said about packets it could not use since the last `frames()`.
    With `careful` one thread decodes: error concealment of several is not repeatable.
    """

    def __init__(self, path: Path, facts: ClipFacts, *, careful: bool = False) -> None:
        self.errors: list[str] = []
        self._facts = facts
        self._path = path
        self._careful = careful
        self._stack = ExitStack()
        self._container: InputContainer | None = None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go; the next `frames()` opens it again."""
        self._container = None
        self._stack.close()

    def frames(self, pts: int | None = None) -> Iterator[av.VideoFrame]:
        """Frames from the key frame at or before `pts` (None: the start) on; deinterlaced if the clip is.

        What comes before `pts` is not dropped here: a deinterlacer and a corrupt check need it.
        """
        # A fresh container instead of a seek to 0: some files decode cleanly only from their first packet,
        # which carries what old x264 wrote there (design/video.md 1).
        if self._container is None or pts is None:
            self._open()
        container = self._container
        assert container is not None
        stream = container.streams[self._facts.stream]
        assert isinstance(stream, VideoStream)
        self.errors = []
        if pts is not None:
            try:
                container.seek(pts, stream=stream, backward=True, any_frame=False)
            except av.error.FFmpegError:  # a file that cannot be sought in is read from its start
                return self.frames(None)
        decoded = self._decoded(container, stream)
        return _deinterlaced(decoded, stream) if self._facts.interlaced else decoded

    def _open(self) -> None:
        self.close()
        self._container = self._stack.enter_context(opened(self._path, self._facts.uri))
        stream = self._container.streams[self._facts.stream]
        assert isinstance(stream, VideoStream)
        guard(stream, max(self._facts.coded_width * self._facts.coded_height, 1))
        stream.codec_context.thread_count = 1 if self._careful else THREADS
        stream.thread_type = "NONE" if self._careful else "AUTO"

    def _decoded(self, container: InputContainer, stream: VideoStream) -> Iterator[av.VideoFrame]:
        try:
            for packet in container.demux(stream):
                try:
                    yield from packet.decode()
                except av.error.FFmpegError as error:
                    self.errors.append(reason(error))
        except av.error.FFmpegError as error:
            self.errors.append(reason(error))


def _deinterlaced(frames: Iterator[av.VideoFrame], stream: VideoStream) -> Iterator[av.VideoFrame]:
    """One progressive frame for each interlaced one (bwdif, `send_frame`), same time stamps.

    bwdif reads one frame to either side; so the first frame after a seek differs from whole decoding and
    a reader starts one frame early.
    """
    graph: Any = None
    waiting: list[av.VideoFrame] = []
    for frame in frames:
        if graph is None:
            graph = av.filter.Graph()
            graph.link_nodes(
                graph.add_buffer(
                    width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
                ),
                graph.add("bwdif", "mode=send_frame:parity=auto:deint=all"),
                graph.add("buffersink"),
            ).configure()
        waiting.append(frame)
        graph.vpush(frame)
        yield from _pulled(graph, waiting)
    if graph is not None:
        graph.vpush(None)
        yield from _pulled(graph, waiting)


def _pulled(graph: Any, waiting: list[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    while True:
        try:
            out = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        source = waiting.pop(0)
        # bwdif halves the time base; the clock of the clip is what the index is written in.
        out.pts, out.time_base = source.pts, source.time_base
        yield out
