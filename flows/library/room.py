"""How many videos may be in flight: a count and an estimate of the bytes they hold at once. Pure; starts nothing."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from flows.sources import is_url, stamp_of
from tasks.video.container import main_video, opened

RAW_FRAMES = 64
"""Decoded frames that one video holds at a time: windows of a few workers, previews, what an encoder keeps back."""
_GUESS = 1920 * 1080
_COPIES = 2  # the source fetched to this disk, and the result on its way out


@dataclass
class Room:
    """What is in flight, by number of the video; `admits` decides whether one more may start."""

    most_videos: int
    most_bytes: int
    held: dict[int, int] = field(default_factory=dict)

    def admits(self, bytes_needed: int) -> bool:
        """Whether a video of that estimate may start now; one that is larger than all the room may when it is alone."""
        if not self.held:
            return True
        return len(self.held) < self.most_videos and sum(self.held.values()) + bytes_needed <= self.most_bytes

    def enter(self, number: int, bytes_needed: int) -> None:
        """Note that a video started."""
        self.held[number] = bytes_needed

    def leave(self, number: int) -> None:
        """Note that a video ended."""
        self.held.pop(number, None)


def working_bytes(uri: str) -> int:
    """Estimate the bytes that a video in flight holds on this machine: its file twice, and `RAW_FRAMES` decoded frames.

    Only the header is read, and only of local files; a size that is not known counts as 1920x1080. A file that cannot
    be opened needs next to nothing. Raises nothing: what is wrong with it is said by its run.
    """
    stamp = stamp_of(uri)
    pixels = _GUESS
    if not is_url(uri):
        pixels = 0
        with suppress(Exception), opened(uri) as container:
            codec = main_video(container, uri).codec_context
            pixels = codec.width * codec.height
    return _COPIES * (stamp.bytes if stamp else 0) + RAW_FRAMES * 3 * pixels
