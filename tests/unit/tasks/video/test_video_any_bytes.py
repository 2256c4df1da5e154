"""An invariant: whatever the bytes, a file becomes a whole clip or one of our video errors, never anything else.

Seeded faults: cut short, bytes changed, bytes zeroed, bytes gone. Found so far: decoders that are unknown,
time that goes backwards, sound that cannot be copied, frames that decode only with one thread.
"""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from configs.errors import VideoError
from configs.job import InputConfig, OutputConfig
from tasks.video.frames import FrameReader
from tasks.video.index import build_index
from tasks.video.source import probe
from tasks.video.writer import write_video

KINDS = {
    "a.mp4": {"audio": [("aac", 0.0)], "muxer": {"movflags": "faststart"}},
    "b.mkv": {"audio": [("libopus", 0.0)], "subtitles": "subrip"},
    "c.ts": {"audio": [("aac", 0.0)]},
    "d.avi": {"codec": "mpeg4"},
}


def harm(data: bytes, rng: np.random.Generator) -> bytes:
    """One seeded fault."""
    at, length = int(rng.integers(1, len(data))), int(rng.integers(1, 400))
    kind = rng.integers(0, 4)
    if kind == 0:
        return data[:at]
    if kind == 1:
        out = bytearray(data)
        for place in rng.integers(0, len(data), int(rng.integers(1, 30))):
            out[place] = int(rng.integers(0, 256))
        return bytes(out)
    gap = bytes(len(data[at : at + length])) if kind == 2 else b""
    return data[:at] + gap + data[at + length :]


@pytest.mark.parametrize("name", KINDS)
def test_any_bytes_end_in_a_clip_or_a_video_error(media, tmp_path, name):
    whole = media.write(tmp_path / name, frames=16, **KINDS[name]).read_bytes()
    rng = np.random.default_rng(3)
    path = tmp_path / f"x{name[1:]}"
    ends = set()
    for _ in range(10):
        path.write_bytes(harm(whole, rng))
        limits = InputConfig(damaged="keep", max_pixels=40_000)
        try:
            facts = probe(str(path), limits)
            index = build_index(path, facts, limits)
            with FrameReader(path, facts, index) as reader:
                frames = reader.read(0, index.frames)
            assert [hashlib.blake2b(f.tobytes(), digest_size=16).hexdigest() for f in frames] == list(index.digests)
            write_video(tmp_path / "out", frames, facts, index, path, OutputConfig(), {})
            ends.add("clip")
        except VideoError as error:
            ends.add(str(error))
    assert "clip" in ends
    assert not any("\n" in end for end in ends)
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob(".*"))
