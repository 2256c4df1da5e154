"""`FrameReader`: the frames of a window as upright RGB, whatever the file looks like inside.

Windows read by seeking equal whole decoding bit for bit; neighbouring windows go on without a seek. Knows the
index and the decoder; knows no shots, no models.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import av
import numpy as np
import numpy.typing as npt

from configs.errors import DamagedVideo
from tasks.video.colour import ToRgb
from tasks.video.decoder import Decoder
from tasks.video.facts import ClipFacts, ClipIndex
from tasks.video.scaling import resize, to_shown, upscale, working_size

__all__ = ["FrameReader", "upscale", "working_size"]

# Windows overlap by their halo: what was just read is kept so that going back a little costs nothing.
_KEEP_FRAMES = 48
_KEEP_BYTES = 128 << 20


class FrameReader:
    """Reads frames by their number in `index`, at `size` (height, width), or with None as large as shown.

    Holds the file open; close it, or use it in a `with`. Not for several threads at once.
    """

    def __init__(self, path: Path, facts: ClipFacts, index: ClipIndex, size: tuple[int, int] | None = None) -> None:
        self._facts = facts
        self._index = index
        self._size = size or (facts.height, facts.width)
        self._number = {tick: i for i, tick in enumerate(index.pts)}
        self._to_rgb = ToRgb(facts)
        self._whole = index.careful
        self._decoder = Decoder(path, facts, careful=self._whole)
        self._coming: Iterator[tuple[int, av.VideoFrame]] | None = None
        self._next = 0
        self._kept: OrderedDict[int, npt.NDArray[np.uint8]] = OrderedDict()
        self.seeks = 0

    def __enter__(self) -> FrameReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the file and the kept frames go."""
        self._coming = None
        self._kept.clear()
        self._decoder.close()

    def read(self, start: int, stop: int) -> npt.NDArray[np.uint8]:
        """uint8 [stop - start, H, W, 3]; IndexError outside the clip, DamagedVideo if the file changed."""
        if not 0 <= start < stop <= self._index.frames:
            raise IndexError(f"frames {start}..{stop} of {self._facts.uri}, which has 0..{self._index.frames}")
        out = np.empty((stop - start, *self._size, 3), np.uint8)
        for number in range(start, stop):
            out[number - start] = self._one(number)
        return out

    def _one(self, number: int) -> npt.NDArray[np.uint8]:
        kept = self._kept.get(number)
        if kept is not None:
            self._kept.move_to_end(number)  # an anchor asked for by every window stays
            return kept
        frame = self._decode_to(number)
        # Two steps where pixels are not square, so that every size is made from what the digests name.
        image = resize(to_shown(self._to_rgb.rgb8(frame), self._facts), *self._size)
        self._kept[number] = image
        most = max(1, min(_KEEP_FRAMES, _KEEP_BYTES // image.nbytes))
        while len(self._kept) > most:
            self._kept.popitem(last=False)
        return image

    def _decode_to(self, number: int) -> av.VideoFrame:
        """The decoded frame `number`: by going on, by a seek, and if that was not clean from the start."""
        if self._coming is not None and self._next <= number and not self._key_between(self._next, number):
            frame = self._advance(number)
            if frame is not None:
                return frame
        if not self._whole and self._index.first + number > 0:
            # The demuxer goes to the key frame before this tick; a deinterlacer needs one frame more.
            self._start(self._index.pts[number] - (1 if self._facts.interlaced else 0))
            frame = self._advance(number)
            if frame is not None:
                return frame
        self._start(None)
        frame = self._advance(number)
        if frame is None:
            raise DamagedVideo(
                f"{self._facts.uri}: frame {number} decoded when the clip was indexed and does not now; "
                "the file has changed, run again"
            )
        return frame

    def _start(self, pts: int | None) -> None:
        self.seeks += 1
        self._coming = self._numbered(self._decoder.frames(pts))

    def _numbered(self, frames: Iterator[av.VideoFrame]) -> Iterator[tuple[int, av.VideoFrame]]:
        for frame in frames:
            number = self._number.get(frame.pts)
            if number is not None:
                yield number, frame

    def _advance(self, number: int) -> av.VideoFrame | None:
        """Decode on to `number`; None if it never comes or, after a seek into a sound clip, comes corrupt."""
        assert self._coming is not None
        for at, frame in self._coming:
            if at > number:
                break
            if frame.is_corrupt and not self._whole:
                break
            self._next = at + 1
            if at == number:
                return frame
        self._coming = None
        return None

    def _key_between(self, here: int, number: int) -> bool:
        """Whether a seek would save decoding: a key frame lies after `here` and not after `number`."""
        at = bisect_right(self._index.keys, number - (1 if self._facts.interlaced else 0))
        return at > 0 and self._index.keys[at - 1] > here
