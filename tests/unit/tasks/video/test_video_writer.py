"""The file that leaves: same frames, times, sound and tags; whole or not at all."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from configs.errors import ConfigError, StoreError
from configs.job import InputConfig, OutputConfig
from tasks.video.encoder import choose_container, choose_encoding
from tasks.video.source import probe
from tasks.video.writer import read_key, write_video

META = {"steadyframe_key": "0123abc", "model": "pocket"}
VFR = [1000 + t for t in (0, 512, 1024, 2500, 2600, 2700, 4000, 5000, 5100, 5500, 7000, 9000)]


def sound(path: Path) -> list[list[tuple[Fraction, bytes]]]:
    """(second, bytes) of every packet, one list for each sound track."""
    with av.open(str(path)) as container:
        tracks = {s.index: [] for s in container.streams.audio}
        for packet in container.demux(*container.streams.audio) if tracks else ():
            if packet.size:
                data = bytes(packet)
                # In transport streams AAC carries 7 bytes of ADTS header that mp4 keeps once for the track.
                data = data[7:] if data[:2] == b"\xff\xf1" else data
                tracks[packet.stream.index].append((packet.pts * packet.time_base, data))
    return list(tracks.values())


def rewrite(read_clip, source, folder, output=None, **choices):
    """Identity: what was read is written. Returns facts and index of both, and both pictures."""
    facts, index, frames = read_clip(source, **choices)
    written = write_video(folder / "out.any", frames, facts, index, source, output or OutputConfig(), META)
    again = read_clip(written.path)
    return written, (facts, index, frames), again


def assert_same(written, before, after, source):
    (facts, index, frames), (facts2, index2, frames2) = before, after
    assert index2.frames == index.frames == written.frames
    assert frames2.shape == frames.shape
    assert not index2.damage
    delay = Fraction(written.delay).limit_denominator(1_000_000)
    shift = [float(b * facts2.seconds_per_tick - a * facts.seconds_per_tick - delay)
             for a, b in zip(index.pts, index2.pts, strict=True)]  # fmt: skip
    assert max(map(abs, shift)) <= 0.001
    for old, new in zip(sound(source), sound(written.path), strict=True):
        assert [data for _, data in new] == [data for _, data in old]
        assert max(abs(float(b - a - delay)) for (a, _), (b, _) in zip(old, new, strict=True)) <= 0.001
    assert (facts2.colour.primaries, facts2.colour.transfer) == (1, 1)


SOURCES = {
    "plain.mp4": {},
    "vfr.mp4": {"pts": VFR, "audio": [("aac", 0.0)]},
    "late.mkv": {"pts": [640 + 40 * i for i in range(12)], "time_base": Fraction(1, 1000), "audio": [("libopus", 0.5)]},
    "two.mp4": {"audio": [("aac", 0.0), ("libmp3lame", 0.2)]},
    "pcm.mkv": {"audio": [("pcm_s16le", 0.1)]},
    "turned.mp4": {"rotation": (90,)},
    "ts.ts": {"audio": [("aac", 0.0)]},
    "ten.mkv": {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=error"}},
    "odd.webm": {"codec": "libvpx-vp9", "size": (47, 63), "time_base": Fraction(1, 1000)},
    "one.mp4": {"frames": 1},
    "gif.gif": {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100)},
}


@pytest.mark.parametrize("name", SOURCES)
def test_identity_keeps_count_times_size_and_sound(media, tmp_path, read_clip, name):
    source = media.write(tmp_path / name, **SOURCES[name])
    written, before, after = rewrite(read_clip, source, tmp_path)
    assert_same(written, before, after, source)
    assert written.container == ("mkv" if name == "pcm.mkv" else "mp4")
    assert read_key(written.path) == "0123abc"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("size", [(96, 128), (95, 127)])
def test_every_codec_keeps_size_and_colour(media, tmp_path, read_clip, codec, bits, size):
    source = media.write(tmp_path / "a.mp4" if size[0] % 2 == 0 else tmp_path / "a.mkv", frames=4, size=size,
                         codec="libx264" if size[0] % 2 == 0 else "ffv1", audio=[("aac", 0.0)])  # fmt: skip
    output = OutputConfig(codec=codec, bits=bits, crf=8)
    if (codec, bits) == ("libvpx-vp9", 10):
        with pytest.raises(ConfigError, match="8 bits only"):
            choose_container(probe(str(source), InputConfig()), output)
        return
    written, before, after = rewrite(read_clip, source, tmp_path, output)
    assert_same(written, before, after, source)
    assert after[0].bit_depth == bits
    error = np.abs(after[2][:, 8:-8, 8:-8].astype(int) - before[2][:, 8:-8, 8:-8]).mean()
    assert error < (0.01 if codec == "ffv1" and bits == 8 else 3.0)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="this system has no scheduling policies")
def test_an_encoder_does_not_make_the_process_real_time(media, tmp_path, read_clip):
    """SVT-AV1 does, where root runs it."""
    rewrite(read_clip, media.write(tmp_path / "a.mp4"), tmp_path, OutputConfig(codec="libsvtav1"))
    assert {os.sched_getscheduler(int(thread)) for thread in os.listdir("/proc/self/task")} == {os.SCHED_OTHER}


@pytest.mark.parametrize(("capability", "options"), [("AVX512", {"x264-params": "asm=avx2"}), ("AVX2", {})])
def test_x264_leaves_out_the_code_that_does_not_always_write_the_same_bits(monkeypatch, capability, options):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    chosen = choose_encoding(OutputConfig(codec="libx264"), 48, 64, "mp4").options
    assert {name: value for name, value in chosen.items() if name == "x264-params"} == options


def test_ffv1_is_exact(media, tmp_path, read_clip):
    _, before, after = rewrite(
        read_clip, media.write(tmp_path / "a.mp4"), tmp_path, OutputConfig(codec="ffv1", container="mkv")
    )
    assert np.array_equal(before[2], after[2])


def test_the_same_input_gives_the_same_file(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4", frames=30, audio=[("aac", 0.0)])
    facts, index, frames = read_clip(source)
    for codec in ("libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1"):
        made = []
        for name in ("x", "y"):
            (tmp_path / name).mkdir(exist_ok=True)
            done = write_video(tmp_path / name / "o.mp4", frames, facts, index, source, OutputConfig(codec=codec), META)
            made.append(done.path.read_bytes())
        assert made[0] == made[1], codec


def test_tracks_chapters_and_tags_come_along(media, tmp_path, read_clip):
    source = media.write(
        tmp_path / "a.mkv", audio=[("aac", 0.0), ("aac", 0.1)], subtitles="subrip", chapters=True,
        metadata={"title": "A title", "comment": "mine"},
    )  # fmt: skip
    written, (before, _, _), (facts, _, _) = rewrite(read_clip, source, tmp_path)
    assert written.container == "mkv"
    assert [t.language for t in facts.audio] == ["eng", "fra"]
    assert [t.disposition for t in facts.audio] == [t.disposition for t in before.audio]
    assert [t.codec for t in facts.subtitles] == ["subrip"]
    assert [(c.title, c.start, c.stop) for c in facts.chapters] == [("one", 0.0, 0.2), ("two", 0.2, 0.48)]
    tags = {k.lower(): v for k, v in facts.metadata.items()}
    assert tags["title"] == "A title"
    assert tags["source_comment"] == "mine"
    assert tags["comment"].startswith("AI-generated")
    assert "pocket" in tags["comment"]
    assert tags["model"] == "pocket"
    with av.open(str(source)) as a, av.open(str(written.path)) as b:
        assert [bytes(p) for p in a.demux(subtitles=0) if p.size] == [bytes(p) for p in b.demux(subtitles=0) if p.size]


def test_a_comment_of_the_caller_is_kept_and_carries_the_key(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4")
    facts, index, frames = read_clip(source)
    said = {"comment": "AI-generated: restyled with pocket", "steadyframe_key": "77ff"}
    written = write_video(tmp_path / "o.mp4", frames, facts, index, source, OutputConfig(), said)
    assert probe(str(written.path), InputConfig()).metadata["comment"] == f"{said['comment']}; steadyframe_key 77ff"


def test_what_mp4_cannot_hold_decides_the_container(media, tmp_path):
    pcm = probe(str(media.write(tmp_path / "a.mkv", audio=[("pcm_s16le", 0.0)])), InputConfig())
    text = probe(str(media.write(tmp_path / "b.mp4", subtitles="mov_text")), InputConfig())
    assert choose_container(pcm, OutputConfig()) == "mkv"
    assert choose_container(text, OutputConfig()) == "mp4"
    assert choose_container(text, OutputConfig(codec="ffv1")) == "mkv"
    with pytest.raises(ConfigError, match="pcm_s16le"):
        choose_container(pcm, OutputConfig(container="mp4"))


def test_subtitles_that_do_not_fit_are_reported(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4", subtitles="mov_text")
    written, _, _ = rewrite(read_clip, source, tmp_path, OutputConfig(container="mkv"))
    assert "mov_text" in " ".join(written.dropped)


def test_transparency_that_is_not_in_the_output_is_told(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mkv", codec="ffv1", pix_fmt="bgra")
    written, _, _ = rewrite(read_clip, source, tmp_path)
    assert written.dropped == ("transparency",)


def test_sound_before_zero_delays_all_tracks_alike_in_matroska(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4", audio=[("aac", 0.0)])
    written, before, after = rewrite(read_clip, source, tmp_path, OutputConfig(container="mkv"))
    assert written.delay == pytest.approx(1024 / 48000, abs=1e-3)
    assert_same(written, before, after, source)


def test_a_range_takes_its_sound_and_chapters_with_it(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4", frames=25, audio=[("aac", 0.0)], chapters=True)
    written, (facts, _, _), (facts2, index2, _) = rewrite(read_clip, source, tmp_path, frames=(8, 20))
    assert index2.frames == 12
    assert index2.pts[0] * facts2.seconds_per_tick == facts.start_pts * facts.seconds_per_tick
    assert index2.end_pts * facts2.seconds_per_tick == Fraction(12, 25)
    taken = {data: second for second, data in sound(written.path)[0]}
    moved = [float(second - taken[data]) for second, data in sound(source)[0] if data in taken]
    assert len(taken) == pytest.approx(0.48 / (1024 / 48000), abs=1.5)
    assert max(abs(m - 8 / 25) for m in moved) <= 0.001
    assert [(c.title, round(c.start, 3)) for c in facts2.chapters] == [("two", 0.0)]


def test_frames_that_do_not_fit_leave_no_file(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4")
    facts, index, frames = read_clip(source)
    for wrong in (frames[:-1], np.concatenate([frames, frames[:1]]), frames[:, :-2]):
        with pytest.raises(ValueError, match="expected"):
            write_video(tmp_path / "o.mp4", wrong, facts, index, source, OutputConfig(), META)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_a_failed_write_keeps_the_old_file(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4")
    facts, index, frames = read_clip(source)
    (tmp_path / "o.mp4").write_bytes(b"old")
    with pytest.raises(ValueError, match="expected"):
        write_video(tmp_path / "o.mp4", frames[:3], facts, index, source, OutputConfig(), META)
    assert (tmp_path / "o.mp4").read_bytes() == b"old"


def test_a_folder_that_is_not_there_is_a_store_error(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4")
    facts, index, frames = read_clip(source)
    with pytest.raises(StoreError, match=r"no/o\.mp4.*permissions of"):
        write_video(tmp_path / "no" / "o.mp4", frames, facts, index, source, OutputConfig(), META)


def test_an_error_of_the_frames_is_not_blamed_on_the_place(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4")
    facts, index, frames = read_clip(source)

    def failing():
        yield frames[0]
        raise FileNotFoundError(2, "latents are gone")

    with pytest.raises(FileNotFoundError, match="latents are gone"):
        write_video(tmp_path / "o.mp4", failing(), facts, index, source, OutputConfig(), META)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]


def test_leftovers_of_a_killed_writer_are_removed(media, tmp_path, read_clip):
    source = media.write(tmp_path / "a.mp4")
    facts, index, frames = read_clip(source)
    left = tmp_path / f".o.mp4.{platform.node()}.999999999.part"
    left.write_bytes(b"half")
    write_video(tmp_path / "o.mp4", frames, facts, index, source, OutputConfig(), META)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "o.mp4"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
import numpy as np
from configs.errors import StoreError
from configs.job import InputConfig, OutputConfig
from tasks.video.frames import FrameReader
from tasks.video.index import build_index
from tasks.video.source import probe
from tasks.video.writer import write_video
source = Path(sys.argv[1])
facts = probe(str(source), InputConfig())
index = build_index(source, facts, InputConfig())
with FrameReader(source, facts, index) as reader:
    frames = reader.read(0, index.frames)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    write_video(Path(sys.argv[2]), frames, facts, index, source, OutputConfig(container=sys.argv[4]), {})
except StoreError as error:
    print(error)
"""


@pytest.mark.parametrize("container", ["mp4", "mkv"])
@pytest.mark.parametrize("room", [700, 1500])
def test_no_room_is_a_store_error_and_leaves_nothing(media, tmp_path, room, container):
    # A file size limit stands in for a full disk: the same failing write()
    source = media.write(tmp_path / "a.mp4", frames=20)
    (tmp_path / "out").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(source), str(tmp_path / "out" / f"o.{container}"), str(room), container],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"out/o.{container}" in done.stdout
    assert not list((tmp_path / "out").iterdir())


def test_read_key_of_a_foreign_file_is_none(media, tmp_path):
    assert read_key(media.write(tmp_path / "a.mp4")) is None
    assert read_key(media.write(tmp_path / "b.mp4", metadata={"comment": "x; steadyframe_key 77ff"})) == "77ff"
