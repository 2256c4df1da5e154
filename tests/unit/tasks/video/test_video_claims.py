"""Files whose tables promise more than they hold are refused before FFmpeg believes them; real ones never are."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest

from configs.errors import UnreadableVideo
from configs.job import InputConfig
from tasks.video import claims
from tasks.video.claims import impossible
from tasks.video.source import probe

KINDS = {
    "plain.mp4": {"audio": [("aac", 0.0)]},
    "faststart.mp4": {"muxer": {"movflags": "faststart"}},
    "fragments.mp4": {"muxer": {"movflags": "frag_keyframe+empty_moov"}, "audio": [("aac", 0.0)]},
    "pcm.mov": {"audio": [("pcm_s16le", 0.0)]},
    "other.mkv": {"audio": [("libopus", 0.0)]},
    "other.ts": {},
    "other.avi": {"codec": "mpeg4"},
}
HUGE = 30_000_000


def place(data: bytearray, name: bytes) -> int:
    """Where the content of the first box of this name begins."""
    return data.index(name) + 4


@pytest.mark.parametrize("name", KINDS)
def test_whole_files_promise_nothing_impossible(media, tmp_path, name):
    path = media.write(tmp_path / name, frames=12, **KINDS[name])
    assert impossible(path) == ""
    assert probe(str(path), InputConfig()).frames == 12


def test_real_clips_promise_nothing_impossible(real_clips):
    assert [impossible(path) for path in real_clips] == [""] * len(real_clips)


def lying_table(data: bytearray) -> None:
    struct.pack_into(">II", data, place(data, b"stsz") + 4, 1, HUGE)
    struct.pack_into(">II", data, place(data, b"stts") + 8, HUGE, 1)
    struct.pack_into(">I", data, place(data, b"stsc") + 12, HUGE)


def lying_fragment(data: bytearray) -> None:
    struct.pack_into(">II", data, place(data, b"trun"), 1, HUGE)


def lying_sound(data: bytearray) -> None:
    """One chunk of PCM with two billion samples: indexed by chunks, and still too many entries."""
    sound = data.index(b"soun")
    table = data.index(b"stsc", sound)
    struct.pack_into(">I", data, table + 16, 2_000_000_000)


@pytest.mark.parametrize(
    ("name", "lie"), [("plain.mp4", lying_table), ("fragments.mp4", lying_fragment), ("pcm.mov", lying_sound)]
)
def test_a_table_that_promises_more_than_the_file_holds_is_refused(media, tmp_path, name, lie):
    """A few bytes made FFmpeg take 3.2 GB (a table), 1.1 GB (a fragment)."""
    path = media.write(tmp_path / name, frames=12, **KINDS[name])
    data = bytearray(path.read_bytes())
    lie(data)
    path.write_bytes(data)
    with pytest.raises(
        UnreadableVideo, match=rf"{name}: its index promises \d{{8,}} samples where there can be \d+ at"
    ):
        probe(str(path), InputConfig())


def test_a_lie_in_a_compressed_header_is_found(media, tmp_path):
    path = media.write(tmp_path / "plain.mp4", frames=12, **KINDS["plain.mp4"])
    data = bytearray(path.read_bytes())
    lying_table(data)
    start = data.index(b"moov") - 4
    moov = bytes(data[start : start + int.from_bytes(data[start : start + 4], "big")])
    assert impossible_header(tmp_path, moov)
    for content in (zlib.compress(moov), b"no zlib"):
        inner = box(b"cmov", box(b"dcom", b"zlib") + box(b"cmvd", struct.pack(">I", len(moov)) + content))
        assert impossible_header(tmp_path, box(b"moov", inner)) == (content != b"no zlib")


def impossible_header(folder, moov: bytes) -> bool:
    path = folder / "header.mov"
    path.write_bytes(box(b"ftyp", b"qt  \0\0\0\0") + moov)
    return "promises" in impossible(path)


def box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content


def test_files_of_nothing_but_boxes_end(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "MOST_BOXES", 1000)
    path = tmp_path / "boxes.mp4"
    path.write_bytes(box(b"ftyp", b"isom\0\0\0\0") + box(b"free", b"") * 999)
    assert impossible(path) == ""
    path.write_bytes(path.read_bytes() + box(b"free", b""))
    assert impossible(path) == "it is made of more than 1000 boxes"


def test_any_bytes_are_answered(media, tmp_path):
    whole = media.write(tmp_path / "plain.mp4", frames=6, **KINDS["pcm.mov"]).read_bytes()
    rng = np.random.default_rng(5)
    path = tmp_path / "any.mp4"
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(4, len(data), 40):
            data[at] = int(rng.integers(0, 256))
        path.write_bytes(data[: int(rng.integers(1, len(data)))])
        assert isinstance(impossible(path), str)
