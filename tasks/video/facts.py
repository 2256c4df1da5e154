"""`ClipFacts` and `ClipIndex`: what we know of a source file, as small JSON-able models.

Facts come from the header and the packets, before anything is decoded; the index comes from one decode
pass. Both are data only: this file opens nothing and knows no decoder.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict

from configs.kept import Kept

DecidedBy = Literal["tagged", "policy"]
Hdr = Literal["none", "pq", "hlg"]


class _Fact(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Colour(_Fact):
    """How the samples of a clip become RGB, and whether the file said so or we decided.

    Numbers are the code points of ITU-T H.273. `matrix` 0 means the samples are RGB already; `full` means
    0..255 and not 16..235; `decided_by` is about the matrix.
    """

    matrix: int
    full: bool
    primaries: int
    transfer: int
    decided_by: DecidedBy


class Track(_Fact):
    """One audio, subtitle or data stream: where it is, what it holds, how players should treat it.

    `start` is its first time stamp in seconds on the clock of the file; None when the header does not say.
    """

    index: int
    codec: str
    language: str | None = None
    disposition: int = 0
    start: float | None = None


class Chapter(_Fact):
    """A named stretch of the file, in seconds."""

    start: float
    stop: float
    title: str = ""


class ClipFacts(_Fact):
    """What the header and the packets of one video file say; sizes in pixels, times in seconds.

    `coded_*` is the size of a decoded frame; `height` and `width` the size as shown: upright and with square
    pixels, which is also the size of what we write. `rotation` is counter-clockwise degrees (and then a
    left-right flip if `mirrored`) that make a decoded frame upright. `frames` counts packets with a picture.
    """

    uri: Kept
    digest: str
    bytes: int
    container: str
    codec: str
    stream: int
    coded_width: int
    coded_height: int
    width: int
    height: int
    sample_aspect_ratio: tuple[int, int]
    rotation: Literal[0, 90, 180, 270]
    mirrored: bool
    time_base: tuple[int, int]
    average_rate: tuple[int, int]
    duration: float
    start_pts: int
    frames: int
    bit_depth: int
    pixel_format: str
    colour: Colour
    hdr: Hdr
    interlaced: bool
    alpha: bool
    audio: tuple[Track, ...] = ()
    subtitles: tuple[Track, ...] = ()
    data: tuple[Track, ...] = ()
    chapters: tuple[Chapter, ...] = ()
    metadata: dict[str, str] = {}

    @property
    def seconds_per_tick(self) -> Fraction:
        """The time base as a fraction of a second."""
        return Fraction(*self.time_base)

    @property
    def rate(self) -> Fraction:
        """Mean frames per second."""
        return Fraction(*self.average_rate)


class Damage(_Fact):
    """What the decode pass found wrong: frame numbers are those of the undamaged index.

    `corrupt` frames decoded with errors, `missing` ones have a packet and did not decode, `truncated_seconds`
    is how much less the packets span than the header promises, `stopped` is the decoder's last word.
    """

    corrupt: tuple[int, ...] = ()
    missing: tuple[int, ...] = ()
    truncated_seconds: float = 0.0
    stopped: str = ""

    def __bool__(self) -> bool:
        return bool(self.corrupt or self.missing or self.truncated_seconds or self.stopped)

    def sentence(self) -> str:
        """One clause in plain words, empty when nothing is wrong."""
        parts = []
        if self.truncated_seconds:
            parts.append(f"the last {self.truncated_seconds:.2f} s promised by its header are not there")
        if self.missing:
            parts.append(f"{len(self.missing)} frame(s) do not decode (first: {self.missing[0]})")
        if self.corrupt:
            parts.append(f"{len(self.corrupt)} frame(s) decode with errors (first: {self.corrupt[0]})")
        if self.stopped and not self.missing:
            parts.append(f"reading stopped with {self.stopped!r}")
        return ", ".join(parts)


class ClipIndex(_Fact):
    """The frames of a clip (or of the chosen range of it), numbered from 0, each with its exact time stamp.

    `pts` in ticks of `facts.time_base`, ascending; `end_pts` is where the last frame ends. `keys` are frame
    numbers a decoder can start at. `shots` are `[start, stop)` ranges that cover all frames in order.
    `digests` are blake2b-128 of what `FrameReader` returns at source size, so they name pixels, not files.
    `first` is the number in the whole clip of frame 0 of this index; `range` is the `[start, stop)` in ticks
    of a chosen part, None for the whole clip. `careful`: readers must decode from the start with one
    thread, as what comes out of a damaged stream depends on both. `posters` are JPEG files in base64.
    """

    first: int
    range: tuple[int, int] | None = None
    pts: tuple[int, ...]
    end_pts: int
    keys: tuple[int, ...]
    shots: tuple[tuple[int, int], ...]
    digests: tuple[str, ...]
    damage: Damage = Damage()
    careful: bool = False
    posters: tuple[str, ...] = ()

    @property
    def frames(self) -> int:
        """How many frames there are."""
        return len(self.pts)

    def durations(self) -> tuple[int, ...]:
        """Ticks each frame is shown."""
        return tuple(b - a for a, b in pairwise((*self.pts, self.end_pts)))
