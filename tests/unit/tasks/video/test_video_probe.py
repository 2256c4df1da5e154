"""Facts of files, and every refusal: the right class, one sentence, naming file, value and fix."""

from __future__ import annotations

from fractions import Fraction

import fsspec
import pytest

from configs.errors import UnreadableVideo, UnsupportedVideo, VideoTooLarge
from configs.job import InputConfig
from tasks.decode import decode_key
from tasks.failure import classify
from tasks.probe import probe_key
from tasks.video.facts import ClipFacts
from tasks.video.source import local_copy, probe, shown_size
from tests.listener import listening

PQ = {"color_trc": 16, "color_primaries": 9, "colorspace": 9, "color_range": 1}
HLG = {**PQ, "color_trc": 18}
TEN = {"codec": "libx265", "pix_fmt": "yuv420p10le", "options": {"x265-params": "log-level=error"}}


def test_facts_of_a_plain_clip_survive_json(media, tmp_path):
    path = media.write(
        tmp_path / "a.mkv", audio=[("aac", 0.0), ("libmp3lame", 0.2)], subtitles="subrip", chapters=True,
        metadata={"title": "A title"},
    )  # fmt: skip
    facts = probe(str(path), InputConfig())
    assert (facts.codec, facts.frames, facts.width, facts.height, facts.bit_depth) == ("h264", 12, 64, 48, 8)
    assert facts.rate == 25
    assert facts.duration == pytest.approx(0.48, abs=0.002)
    assert facts.bytes == path.stat().st_size
    assert [(t.codec, t.language) for t in facts.audio] == [("aac", "eng"), ("mp3", "fra")]
    assert [t.codec for t in facts.subtitles] == ["subrip"]
    assert [(c.title, c.start, c.stop) for c in facts.chapters] == [("one", 0.0, 0.2), ("two", 0.2, 0.48)]
    assert facts.metadata["title"] == "A title"
    assert ClipFacts.model_validate_json(facts.model_dump_json()) == facts


@pytest.mark.parametrize(
    ("tags", "height", "expected"),
    [
        ({}, 48, (6, False, "policy")),
        ({}, 720, (1, False, "policy")),
        ({"colorspace": 1, "color_range": 1}, 48, (1, False, "tagged")),
        ({"colorspace": 6, "color_range": 2}, 48, (6, True, "tagged")),
        ({"color_range": 2}, 48, (6, True, "policy")),
    ],
)
def test_colour_is_the_tags_or_else_the_policy(media, tmp_path, tags, height, expected):
    facts = probe(str(media.write(tmp_path / "a.mp4", frames=2, size=(height, 64), tags=tags)), InputConfig())
    assert (facts.colour.matrix, facts.colour.full, facts.colour.decided_by) == expected


def test_a_colon_in_a_relative_name_is_no_protocol(media, tmp_path, monkeypatch):
    media.write(tmp_path / "2021-01-01T12:30:11.mp4", frames=2)
    monkeypatch.chdir(tmp_path)
    assert probe("2021-01-01T12:30:11.mp4", InputConfig()).frames == 2


def test_ten_bit_and_alpha_and_start_are_seen(media, tmp_path):
    assert probe(str(media.write(tmp_path / "a.mkv", **TEN)), InputConfig()).bit_depth == 10
    assert probe(str(media.write(tmp_path / "b.mkv", codec="ffv1", pix_fmt="bgra")), InputConfig()).alpha
    late = media.write(tmp_path / "c.mkv", pts=[640 + 40 * i for i in range(12)], time_base=Fraction(1, 1000))
    assert probe(str(late), InputConfig()).start_pts == 640


@pytest.mark.parametrize(
    ("height", "width", "sar", "rotation", "expected"),
    [
        (576, 720, Fraction(16, 15), 0, (576, 768)),
        (480, 720, Fraction(32, 27), 0, (480, 854)),
        (480, 720, Fraction(8, 9), 0, (540, 720)),
        (47, 63, Fraction(1), 0, (47, 63)),
        (48, 64, Fraction(1), 90, (64, 48)),
    ],
)
def test_shown_size_has_square_pixels_and_loses_none(height, width, sar, rotation, expected):
    assert shown_size(height, width, sar, rotation) == expected


def refuse(path, error, *words, **choices):
    with pytest.raises(error) as caught:
        probe(str(path), InputConfig(**choices))
    message = str(caught.value)
    assert message.startswith(str(path))
    for word in words:
        assert word in message
    assert "\n" not in message


def test_a_missing_file_is_refused(tmp_path):
    refuse(tmp_path / "no.mp4", UnreadableVideo, "no such file")


def test_a_folder_is_refused(tmp_path):
    refuse(tmp_path, UnreadableVideo, "folder")


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "a.mp4").touch()
    refuse(tmp_path / "a.mp4", UnreadableVideo, "empty (0 bytes)")


def test_text_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_text("not a video " * 100)
    refuse(tmp_path / "a.mp4", UnreadableVideo, "not a video we can open")


def test_an_mp4_without_its_index_is_refused(media, tmp_path):
    path = media.write(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[:-300])
    refuse(path, UnreadableVideo, "cut short")


def test_sound_without_pictures_is_refused(media, tmp_path):
    refuse(media.sound_only(tmp_path / "a.mp4"), UnreadableVideo, "no video stream", "only audio")


def test_zero_frames_are_refused(media, tmp_path):
    refuse(media.no_frames(tmp_path / "a.mp4"), UnreadableVideo, "holds no frames")


def test_time_stamps_are_required(media, tmp_path):
    refuse(media.write(tmp_path / "a.h264"), UnsupportedVideo, "time stamp", "remux")


def test_too_many_pixels_are_refused(media, tmp_path):
    path = media.write(tmp_path / "a.mp4")
    refuse(path, VideoTooLarge, "64x48 = 3072", "3071", "input.max_pixels", max_pixels=3071)


def test_stretched_pixels_count_as_shown(media, tmp_path):
    path = media.write(tmp_path / "a.mp4", sar=Fraction(8))
    refuse(path, VideoTooLarge, "512x48", "input.max_pixels", max_pixels=10_000)


def test_too_many_frames_are_refused(media, tmp_path):
    refuse(media.write(tmp_path / "a.mp4"), VideoTooLarge, "more than 11", "input.max_frames", max_frames=11)


def test_too_many_seconds_are_refused(media, tmp_path):
    refuse(media.write(tmp_path / "a.mp4"), VideoTooLarge, "0.5 s", "0.3 s", "input.max_seconds", max_seconds=0.3)


def test_a_chosen_range_lifts_the_limits_of_the_whole(media, tmp_path):
    path = media.write(tmp_path / "a.mp4")
    assert probe(str(path), InputConfig(frames=(2, 5), max_frames=3, max_seconds=0.3)).frames == 12


@pytest.mark.parametrize(("tags", "name"), [(PQ, "PQ"), (HLG, "HLG")])
def test_hdr_is_refused_unless_chosen(media, tmp_path, tags, name):
    path = media.write(tmp_path / "a.mkv", tags=tags, **TEN)
    refuse(path, UnsupportedVideo, name, "input.hdr=tonemap")
    assert probe(str(path), InputConfig(hdr="tonemap")).hdr == name.lower()


def test_interlaced_is_refused_unless_chosen(media, tmp_path):
    path = media.write(tmp_path / "a.mp4", options={"x264-params": "interlaced=1:tff=1"})
    refuse(path, UnsupportedVideo, "interlaced", "input.interlaced=deinterlace")
    assert probe(str(path), InputConfig(interlaced="deinterlace")).interlaced


def test_a_remote_object_is_fetched_whole_and_named_by_its_address(media, tmp_path):
    path = media.write(tmp_path / "a.mp4")
    fs = fsspec.filesystem("memory")
    fs.pipe_file("/clips/a.mp4", path.read_bytes())
    with local_copy("memory://clips/a.mp4") as local:
        assert local.read_bytes() == path.read_bytes()
    assert not local.exists()
    assert probe("memory://clips/a.mp4", InputConfig()).uri == "memory://clips/a.mp4"
    refuse("memory://clips/none.mp4", UnreadableVideo, "no such object")
    assert probe(f"file://{path}", InputConfig()).frames == 12


def test_a_file_over_the_limit_of_bytes_is_not_fetched(media, tmp_path):
    """Nor is a local one read; the limit is the file's business and is in no key."""
    path = media.write(tmp_path / "a.mp4")
    size = path.stat().st_size
    fsspec.filesystem("memory").pipe_file("/clips/large.mp4", path.read_bytes())
    for uri in ("memory://clips/large.mp4", str(path)):
        assert probe(uri, InputConfig(max_bytes=size)).bytes == size
        refuse(uri, VideoTooLarge, "input.max_bytes", str(size - 1), max_bytes=size - 1)
    assert probe_key(InputConfig(max_bytes=size), "d") == probe_key(InputConfig(), "d")
    assert decode_key(InputConfig(max_bytes=size), {}) == decode_key(InputConfig(), {})


def test_who_sends_more_than_the_limit_without_saying_so_is_stopped(monkeypatch):
    """As a web server that streams and tells no length."""
    sent = []

    def endless(self, remote, path, callback, **options):
        while len(sent) < 100:
            sent.append(1000)
            callback.relative_update(1000)

    monkeypatch.setattr("fsspec.implementations.memory.MemoryFileSystem.get_file", endless)
    refuse("memory://clips/endless.mp4", VideoTooLarge, "input.max_bytes", max_bytes=5000)
    assert len(sent) == 6


def test_a_remote_source_is_never_whole_in_memory(media, tmp_path, monkeypatch):
    path = media.write(tmp_path / "a.mp4")
    fsspec.filesystem("memory").pipe_file("/clips/a.mp4", path.read_bytes())
    monkeypatch.delattr("fsspec.implementations.memory.MemoryFileSystem.cat_file")
    monkeypatch.setattr("fsspec.AbstractFileSystem.cat_file", None)
    with local_copy("memory://clips/a.mp4") as local:
        assert local.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("answer", "failure"), [(403, "poison"), (404, "poison"), (503, "transient")])
def test_what_a_web_server_refuses_is_the_video_s_fault_and_what_it_cannot_do_now_is_tried_again(
    answer, failure, monkeypatch
):
    monkeypatch.setattr("tasks.video.source.patiently", lambda request: request())
    with listening(answer) as server, pytest.raises(UnreadableVideo, match="check") as refused:
        probe(server.url, InputConfig())
    assert classify(refused.value) == failure
    assert "planted-token" not in str(refused.value)
