"""Over the shared real clips: an identity re-encode changes nothing but the coded pictures; cuts are exact."""

from __future__ import annotations

import hashlib

import av
import pytest

from configs.job import InputConfig, OutputConfig
from tasks.video.frames import FrameReader
from tasks.video.index import build_index
from tasks.video.source import probe
from tasks.video.writer import write_video

NAMES = [
    "bottle_vfr.mp4", "cars_500x282.mp4", "cuts_join.mp4", "dog_audio.mp4", "juggle_portrait.mp4", "sign_fullrange.mkv",
]  # fmt: skip


def packets(path):
    with av.open(str(path)) as container:
        return [
            (float(p.pts * p.time_base), hashlib.sha256(bytes(p)).hexdigest())
            for p in container.demux()
            if p.stream.type == "audio" and p.size
        ]


@pytest.mark.parametrize("name", NAMES)
def test_identity_on_a_real_clip(real_clips, read_clip, tmp_path, name):
    source = next((p for p in real_clips if p.name == name), None)
    if source is None:
        pytest.skip(f"{name} is not there")
    facts, index, frames = read_clip(source)
    assert index.shots == (((0, 30), (30, 55), (55, 81)) if name == "cuts_join.mp4" else ((0, index.frames),))
    written = write_video(tmp_path / "o.mp4", frames, facts, index, source, OutputConfig(), {"steadyframe_key": "k"})
    facts2 = probe(str(written.path), InputConfig())
    index2 = build_index(written.path, facts2, InputConfig())
    assert (facts2.height, facts2.width) == frames.shape[1:3]
    with FrameReader(written.path, facts2, index2) as reader:
        frames2 = reader.read(0, 16)
    drift = [
        abs(float(a * facts.seconds_per_tick - b * facts2.seconds_per_tick))
        for a, b in zip(index.pts, index2.pts, strict=True)
    ]
    assert max(drift) <= 0.001
    before, after = packets(source), packets(written.path)
    assert [digest for _, digest in after] == [digest for _, digest in before]
    assert max((abs(a - b) for (a, _), (b, _) in zip(before, after, strict=True)), default=0.0) <= 0.001
    error = ((frames2.astype("float32") - frames[:16]) ** 2).mean()
    assert error < 20.0  # 35 dB: a wrong matrix or range gives below 25
