"""Everything of the source that is not pictures: tracks copied packet by packet, chapters, metadata.

Never decodes and never re-encodes; time stamps only move by the start of a chosen range.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
from av.container import InputContainer, OutputContainer

from tasks.video.container import reason
from tasks.video.encoder import Container, subtitle_fits
from tasks.video.facts import ClipFacts, ClipIndex

_log = logging.getLogger("steadyframe.video")

# Facts about the old container and encoder, false for the new file.
_STALE = frozenset(
    {
        "major_brand",
        "minor_version",
        "compatible_brands",
        "encoder",
        "duration",
        "handler_name",
        "vendor_id",
        "timecode",
    }
)


class CopiedTracks:
    """The tracks of `source` that go into `target`, muxed in step with the pictures by `copy_until`.

    `dropped` says in words what was left behind. Streams must all be added before the first packet.
    """

    def __init__(
        self,
        source: InputContainer,
        target: OutputContainer,
        facts: ClipFacts,
        index: ClipIndex,
        container: Container,
    ) -> None:
        self.dropped: list[str] = []
        self.refused = 0
        self._target = target
        self._pairs: dict[int, Any] = {}
        tick = facts.seconds_per_tick
        self._window = None if index.range is None else (index.range[0] * tick, index.range[1] * tick)
        self._shift = Fraction(0) if index.range is None else (index.range[0] - facts.start_pts) * tick
        kept = {t.index for t in facts.audio}
        for track in facts.subtitles:
            if subtitle_fits(track.codec, container):
                kept.add(track.index)
            else:
                self.dropped.append(f"subtitle track {track.index} ({track.codec} does not fit {container})")
        if facts.alpha:
            self.dropped.append("transparency")
        self.dropped += [f"data track {t.index} ({t.codec})" for t in facts.data]
        stream: Any  # PyAV types attachments apart
        for stream in source.streams:
            if stream.index in kept:
                new = target.add_stream_from_template(stream)
                new.metadata.update(kept_metadata(stream.metadata))
                new.disposition = stream.disposition
                self._pairs[stream.index] = new
            elif stream.type == "attachment" and container == "mkv":
                target.add_attachment(
                    stream.name or "attachment", stream.mimetype or "application/octet-stream", stream.data
                )
            elif stream.type == "video" and stream.index != facts.stream:
                self.dropped.append(f"video track {stream.index}")
        self._packets = self._read(source)
        self._held: Any = None

    def copy_until(self, second: float) -> None:
        """Mux packets up to `second` on the clock of the written file."""
        while True:
            packet = self._held or next(self._packets, None)
            self._held = None
            if packet is None:
                return
            if float(packet.dts * packet.time_base) > second:
                self._held = packet
                return
            try:
                self._target.mux(packet)
            except (av.error.InvalidDataError, av.error.ArgumentError) as error:
                # Damaged in the source, so that not even its header parses or its time goes backwards.
                self.refused += 1
                _log.warning("a packet of track %d cannot be copied: %s", packet.stream.index, reason(error))

    def _read(self, source: InputContainer) -> Iterator[Any]:
        if not self._pairs:
            return
        streams = [source.streams[i] for i in self._pairs]
        try:
            for packet in source.demux(*streams):
                if packet.size == 0 or packet.dts is None or not self._inside(packet):
                    continue
                moved = round(self._shift / packet.time_base)
                packet.pts = None if packet.pts is None else packet.pts - moved
                packet.dts -= moved
                packet.stream = self._pairs[packet.stream.index]
                yield packet
        except av.error.FFmpegError as error:
            # A damaged tail the user chose to keep (else the index refused the clip): what came is written.
            _log.warning("reading sound and subtitles stopped early: %s", reason(error))

    def _inside(self, packet: Any) -> bool:
        """Whether a packet begins in the chosen range: exact to one packet, 21 ms for AAC."""
        if self._window is None:
            return True
        time = (packet.pts if packet.pts is not None else packet.dts) * packet.time_base
        return bool(self._window[0] <= time < self._window[1])


def kept_metadata(metadata: dict[str, str]) -> dict[str, str]:
    """Tags that stay true in a new file."""
    return {k: v for k, v in metadata.items() if k.lower() not in _STALE and not k.upper().startswith("_STATISTICS")}


def shifted_chapters(facts: ClipFacts, index: ClipIndex) -> list[dict[str, Any]]:
    """Chapters in PyAV's form, in milliseconds, cut to a chosen range and moved with it."""
    tick = float(facts.seconds_per_tick)
    low, high, shift = float("-inf"), float("inf"), 0.0
    if index.range is not None:
        low, high = index.range[0] * tick, index.range[1] * tick
        shift = low - facts.start_pts * tick
    out = []
    for number, chapter in enumerate(facts.chapters):
        start, stop = max(chapter.start, low), min(chapter.stop, high)
        if start < stop:
            out.append(
                {
                    "id": number,
                    "start": round((start - shift) * 1000),
                    "end": round((stop - shift) * 1000),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": chapter.title} if chapter.title else {},
                }
            )
    return out
