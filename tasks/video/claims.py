"""What the sample tables of an MP4 or QuickTime file promise, added up before FFmpeg believes them.

FFmpeg builds an index of all samples when it opens a file, about 100 bytes each, and promising 30 million samples takes
four bytes (found beside `tests.fuzz`: 4 kB of file, 3.2 GB of memory). A sample has at least one byte, so a file of
B bytes cannot hold more than B of them. Knows boxes; decodes nothing and judges nothing else: other damage is found by
whoever reads on.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MOST_BOXES = 1 << 21  # twice what 100 000 fragments of one frame have
MOST_SAMPLES = 1 << 23  # 97 h of video at 24 fps, 49 h of AAC; their index is 0.9 GB
_SAMPLES_PER_FRAME = 160  # of sound that is indexed by chunks: FFmpeg makes entries of at least so many
_MOST_HEADER = 64 << 20
_DEPTH = 10
_FOLDERS = frozenset(
    b"moov trak mdia minf stbl moof traf mvex edts udta meta dinf tref wave wide sinf ipro hoov cmov".split()
)
_FIRST = frozenset(b"ftyp styp moov moof mdat free skip wide pnot sidx uuid".split())

Bytes = mmap.mmap | bytes


@dataclass(frozen=True)
class _Box:
    name: bytes
    start: int  # of what is in it
    stop: int


def impossible(path: Path) -> str:
    """A clause that says which promise the file cannot keep, empty when there is none."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if len(data) < 16 or data[4:8] not in _FIRST:
            return ""
        walk, most = _Walk(data), min(len(data), MOST_SAMPLES)
        samples = walk.samples(0, len(data))
        if walk.boxes > MOST_BOXES:
            return f"it is made of more than {MOST_BOXES} boxes"
        return f"its index promises {samples} samples where there can be {most} at most" if samples > most else ""


@dataclass
class _Walk:
    """Adds up the samples that FFmpeg would index; stops after `MOST_BOXES`."""

    data: Bytes
    depth: int = _DEPTH
    boxes: int = 0

    def samples(self, start: int, stop: int, handler: bytes = b"") -> int:
        """Promised between two places of a track of this handler (`vide`, `soun`), if it is known already."""
        data, count = self.data, 0
        for box in self._row(start, stop):
            if box.name == b"hdlr" and data[box.start + 4 : box.start + 8] != b"dhlr":
                handler = data[box.start + 8 : box.start + 12]
            elif box.name == b"trun":
                count += _number(data, box.start + 4, box.stop)
            elif box.name in (b"stsz", b"stz2"):
                by_chunks = self._by_chunks(start, stop) if handler == b"soun" else None
                count += _number(data, box.start + 8, box.stop) if by_chunks is None else by_chunks
            elif box.name == b"cmvd":
                count += self._compressed(box, handler)
            elif box.name in _FOLDERS and self.depth:
                self.depth -= 1
                count += self.samples(box.start, box.stop, handler)
                self.depth += 1
        return count

    def _row(self, start: int, stop: int) -> Iterator[_Box]:
        """Boxes in a row, read as FFmpeg does: size 0 means to the end, and none is longer than what it is in."""
        data = self.data
        while start + 8 <= stop and self.boxes <= MOST_BOXES:
            self.boxes += 1
            size, head = int.from_bytes(data[start : start + 4], "big"), 8
            name = data[start + 4 : start + 8]
            if size == 1:
                size, head = int.from_bytes(data[start + 8 : start + 16], "big"), 16
            end = stop if size == 0 else min(start + size, stop)
            if end < start + head:
                return
            # `meta` of ISO files has four more bytes before its boxes; that of QuickTime has not
            skip = 4 if name == b"meta" and data[start + head + 4 : start + head + 8] != b"hdlr" else 0
            yield _Box(name, start + head + skip, end)
            start = end

    def _by_chunks(self, start: int, stop: int) -> int | None:
        """Entries for sound whose samples all last one tick, which FFmpeg indexes by chunks; None for other sound."""
        data, inside = self.data, {box.name: box for box in self._row(start, stop)}
        times, runs, chunks = inside.get(b"stts"), inside.get(b"stsc"), inside.get(b"stco") or inside.get(b"co64")
        if times is None or len(_rows(data, times, 2)) != 1 or _number(data, times.start + 12, times.stop) != 1:
            return None
        if runs is None or chunks is None:
            return 0
        each = int(_rows(data, runs, 3)[:, 1].max(initial=0))
        return _number(data, chunks.start + 4, chunks.stop) * (1 + each // _SAMPLES_PER_FRAME)

    def _compressed(self, box: _Box, handler: bytes) -> int:
        """What a compressed header of old QuickTime files promises."""
        try:
            plain = zlib.decompressobj().decompress(self.data[box.start + 4 : box.stop], _MOST_HEADER)
        except zlib.error:
            return 0
        inner = _Walk(plain, 0 if not self.depth else self.depth - 1, self.boxes)
        count = inner.samples(0, len(plain), handler)
        self.boxes = inner.boxes
        return count


def _number(data: Bytes, at: int, stop: int) -> int:
    return int.from_bytes(data[at : at + 4], "big") if at + 4 <= stop else 0


def _rows(data: Bytes, box: _Box, columns: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint32]]:
    """The rows of a table that are really there."""
    rows = min(_number(data, box.start + 4, box.stop), max(0, box.stop - box.start - 8) // (4 * columns))
    flat = np.frombuffer(data[box.start + 8 : box.start + 8 + 4 * columns * rows], ">u4").astype(np.uint32)
    return flat.reshape(rows, columns)
