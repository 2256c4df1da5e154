"""The packet table of a video stream: exact time stamps and key frames by demuxing alone.

It equals the list of decoded time stamps (design/video.md 2.2: 11 of 11 containers) at a hundredth of the
cost. `stream.frames` is never trusted for counting: Matroska has none and mp4 counts discarded frames.
Knows nothing of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import av
import av.error
from av.container import InputContainer
from av.video.stream import VideoStream

from configs.errors import UnsupportedVideo, VideoTooLarge
from tasks.video.container import reason


@dataclass(frozen=True)
class PacketTable:
    """The packets of one video stream that hold a shown frame, in order of presentation.

    `pts`: ascending ticks; `keys`: ticks of those a decoder can start at; `end`: tick where the last one
    ends; `missing_seconds`: how much less there is than the header promises (0 when it promises nothing).
    """

    pts: tuple[int, ...]
    keys: tuple[int, ...]
    end: int
    missing_seconds: float


def scan(container: InputContainer, stream: VideoStream, name: str, max_frames: int) -> PacketTable:
    """Demux the whole file; raises VideoTooLarge past `max_frames`, UnsupportedVideo without time stamps."""
    pts: list[int] = []
    keys: list[int] = []
    last_duration, packets, last_second = 0, 0, 0.0
    try:
        for packet in container.demux():
            if packet.size == 0:
                continue
            if packet.pts is not None:
                last_second = max(last_second, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream is not stream:
                continue
            packets += 1
            if packet.is_discard:
                continue
            if packet.pts is None:
                raise UnsupportedVideo(
                    f"{name}: frame {len(pts)} has no time stamp; "
                    "remux it, e.g. `ffmpeg -fflags +genpts -i IN -c copy OUT.mkv`"
                )
            if len(pts) >= max_frames:
                raise VideoTooLarge(
                    f"{name}: has more than {max_frames} frames (input.max_frames); "
                    "raise the limit or choose input.frames"
                )
            if not pts or packet.pts >= max(pts[-1], pts[0]):
                last_duration = packet.duration or last_duration
            pts.append(packet.pts)
            if packet.is_keyframe:
                keys.append(packet.pts)
    except av.error.FFmpegError as error:
        # A damaged tail: what was demuxed so far is the index, `missing_seconds` tells the rest.
        if not pts:
            raise UnsupportedVideo(f"{name}: its packets cannot be read ({reason(error)})") from error
    pts.sort()
    if not last_duration and len(pts) > 1:
        last_duration = (pts[-1] - pts[0]) // (len(pts) - 1)
    end = pts[-1] + max(1, last_duration) if pts else 0
    return PacketTable(
        tuple(pts), tuple(sorted(keys)), end, _missing(container, stream, packets, last_second, pts, end)
    )


def _missing(
    container: InputContainer, stream: VideoStream, packets: int, last_second: float, pts: list[int], end: int
) -> float:
    """Seconds promised by the header and not found, 0 when less than a quarter second or four frames."""
    if not pts:
        return 0.0
    tick = float(stream.time_base or 0)
    mean = (end - pts[0]) * tick / len(pts)
    kind, short = container.format.name, 0.0
    if "mp4" in kind and stream.frames > packets:
        # The sample table lists frames whose bytes are gone. (Not the duration of the movie: edit lists and
        # chapter tracks make it longer at will.)
        short = (stream.frames - packets) * mean
    elif "matroska" in kind and container.duration:
        # Other streams may be longer than the pictures, so the latest end of any stream is what counts.
        short = container.duration / av.time_base - last_second
    elif kind == "avi" and stream.duration:
        short = (stream.duration - end) * tick
    return round(short, 3) if "mp4" in kind or short > max(0.25, 4 * mean) else 0.0
