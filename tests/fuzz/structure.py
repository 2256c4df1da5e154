"""Where a container says how long things are: the fields of MP4, Matroska, AVI and MPEG-TS that a lie is put into.

Walks sound files only (made by `tests.fuzz.clips`), and knows as much of each format as finding the fields takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Field:
    """A number in the file: `what` is `length` (of a box, element, chunk), `size` (of a picture) or `count`."""

    what: Literal["length", "size", "count"]
    at: int
    bytes: int
    order: Literal["big", "little"] = "big"


_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"mvex", b"moof", b"traf", b"dinf"}
_TABLES = {b"stts", b"ctts", b"stsc", b"stsz", b"stco", b"co64", b"stss", b"elst", b"trun", b"sidx"}
_MASTERS = {
    *(
        0x18538067,
        0x1549A966,
        0x1654AE6B,
        0xAE,
        0xE0,
        0xE1,
        0x1F43B675,
        0xA0,
        0x1C53BB6B,
        0xBB,
        0xB7,
        0x114D9B74,
        0x4DBB,
    ),
    0x1A45DFA3,
}
_PIXELS = {0xB0, 0xBA, 0x54B0, 0x54BA}
_COUNTS = {0x4489, 0x2AD7B1, 0x23E383, 0xE7, 0x83, 0xD7}  # duration, time scale, default duration, time stamp, type


def fields(data: bytes, family: str) -> list[Field]:
    """All fields of a file of this family; numbers at regular places where a format is not known here."""
    walk = {"mp4": _mp4, "mkv": _mkv, "avi": _avi, "ts": _ts}.get(family)
    found = list(walk(data, 0, len(data))) if walk is not None else []
    return found or [Field("count", at, 4) for at in range(0, min(len(data) - 4, 1024), 4)]


def _mp4(data: bytes, at: int, end: int) -> Iterator[Field]:
    while at + 8 <= end:
        size, name = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size < 8 or at + size > end:
            return
        yield Field("length", at, 4)
        if name in _BOXES:
            yield from _mp4(data, at + 8, at + size)
        elif name in (b"mvhd", b"mdhd"):
            yield from (Field("count", at + place, 4) for place in (20, 24))
        elif name == b"tkhd":
            yield from (Field("size", at + place, 4) for place in (84, 88))
            yield from (Field("count", at + place, 4) for place in range(48, 84, 4))  # the display matrix
        elif name == b"stsd":
            yield from (Field("size", at + 16 + place, 2) for place in (32, 34))
            yield from (Field("length", place, 4) for place in range(at + 16, min(at + size - 4, at + 160), 4))
        elif name in _TABLES:
            yield from (Field("count", place, 4) for place in range(at + 12, min(at + size - 3, at + 72), 4))
        at += size


def _mkv(data: bytes, at: int, end: int) -> Iterator[Field]:
    while at + 2 <= end:
        width = 9 - data[at].bit_length()
        if width > 4 or at + width >= end:
            return
        name = int.from_bytes(data[at : at + width], "big")
        length = 9 - data[at + width].bit_length()
        if length > 8:
            return
        size = int.from_bytes(data[at + width : at + width + length], "big") & ((1 << 7 * length) - 1)
        yield Field("length", at + width, length)
        body = at + width + length
        if size == (1 << 7 * length) - 1 or body + size > end:
            size = end - body
        if name in _MASTERS:
            yield from _mkv(data, body, body + size)
        elif name in _PIXELS:
            yield Field("size", body, size)
        elif name in _COUNTS:
            yield Field("count", body, size)
        at = body + size


def _avi(data: bytes, at: int, end: int) -> Iterator[Field]:
    while at + 8 <= end:
        size, name = int.from_bytes(data[at + 4 : at + 8], "little"), data[at : at + 4]
        yield Field("length", at + 4, 4, "little")
        body = at + 8
        if name in (b"RIFF", b"LIST"):
            yield from _avi(data, body + 4, min(end, body + size))
        elif name in (b"avih", b"strh", b"idx1"):
            yield from (Field("count", body + place, 4, "little") for place in range(0, min(size, 64) - 3, 4))
        elif name == b"strf":
            yield from (Field("size", body + place, 4, "little") for place in (4, 8))
        at = body + size + size % 2


def _ts(data: bytes, at: int, end: int) -> Iterator[Field]:
    for packet in range(at, end - 187, 188):
        yield Field("length", packet + 4, 1)  # adaptation field, or pointer
        yield Field("count", packet + 1, 2)
        if data[packet + 1] & 0x40:
            yield from (Field("length", packet + place, 2) for place in (6, 8, 10, 12))
            yield Field("count", packet + 13, 5)
