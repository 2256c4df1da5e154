"""Frames of windows: exact, upright, in the right colours, at the right size."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
import pytest

from configs.errors import ConfigError
from configs.job import InputConfig
from tasks.video.frames import FrameReader, upscale, working_size
from tasks.video.index import build_index
from tasks.video.source import probe


def opened(path, size=None, **choices):
    limits = InputConfig(**choices)
    facts = probe(str(path), limits)
    index = build_index(path, facts, limits)
    return FrameReader(path, facts, index, size), facts, index


KINDS = {
    "closed.mp4": {"gop": 7},
    "open.ts": {"gop": 7, "options": {"x264-params": "open-gop=1:bframes=2"}},
    "vp9.webm": {"gop": 7, "codec": "libvpx-vp9", "time_base": Fraction(1, 1000)},
    "mpeg.mpg": {"gop": 7, "codec": "mpeg2video", "time_base": Fraction(1, 25)},
    "fields.mp4": {"gop": 7, "options": {"x264-params": "interlaced=1:tff=1"}},
}


@pytest.mark.parametrize("name", KINDS)
def test_windows_equal_whole_decoding_bit_for_bit(media, tmp_path, name):
    path = media.write(tmp_path / name, frames=40, **KINDS[name])
    reader, _, index = opened(path, interlaced="deinterlace")
    whole = reader.read(0, index.frames)
    assert [hashlib.blake2b(i.tobytes(), digest_size=16).hexdigest() for i in whole] == list(index.digests)
    rng = np.random.default_rng(0)
    for _ in range(12):
        start = int(rng.integers(0, index.frames - 1))
        stop = int(rng.integers(start + 1, min(start + 9, index.frames) + 1))
        fresh, _, _ = opened(path, interlaced="deinterlace")
        with fresh, reader:
            assert np.array_equal(fresh.read(start, stop), whole[start:stop])
            assert np.array_equal(reader.read(start, stop), whole[start:stop])


def test_a_range_reads_the_frames_of_the_whole(media, tmp_path):
    path = media.write(tmp_path / "a.mp4", frames=40, gop=12)
    whole, _, _ = opened(path)
    part, _, _ = opened(path, frames=(15, 30))
    with whole, part:
        assert np.array_equal(part.read(0, 15), whole.read(15, 30))


def test_damaged_windows_equal_what_the_index_saw(media, tmp_path):
    reader, _, index = opened(media.flipped(tmp_path / "a.mp4"), damaged="keep")
    with reader:
        for start in (20, 3, 40):
            image = reader.read(start, start + 1)[0]
            assert hashlib.blake2b(image.tobytes(), digest_size=16).hexdigest() == index.digests[start]


def test_neighbouring_and_overlapping_windows_do_not_seek_again(media, tmp_path):
    reader, _, _ = opened(media.write(tmp_path / "a.mp4", frames=40, gop=50))
    with reader:
        for start in range(0, 40, 8):
            reader.read(max(0, start - 4), min(40, start + 12))
        assert reader.seeks == 1


def test_frames_outside_the_clip_are_an_error(media, tmp_path):
    reader, _, _ = opened(media.write(tmp_path / "a.mp4"))
    with reader, pytest.raises(IndexError, match=r"0\.\.12"):
        reader.read(8, 13)


def flat(media, path, rgb, tags, convert, height=48, **more):
    image = np.broadcast_to(np.array(rgb, np.uint8), (height, 64, 3)).copy()
    return media.write(
        path, frames=2, size=(height, 64), images=[image] * 2, tags=tags, convert=convert,
        options={"crf": "1"}, **more,
    )  # fmt: skip


COLOURS = [(200, 60, 30), (30, 180, 90), (40, 60, 220), (128, 128, 128)]


@pytest.mark.parametrize("rgb", COLOURS)
@pytest.mark.parametrize(("matrix", "range_"), [(1, 1), (1, 2), (6, 1), (6, 2), (9, 1)])
def test_tagged_colours_come_back(media, tmp_path, read_clip, rgb, matrix, range_):
    path = flat(
        media, tmp_path / "a.mp4", rgb, {"colorspace": matrix, "color_range": range_},
        {"dst_colorspace": matrix, "src_color_range": 2, "dst_color_range": range_},
    )  # fmt: skip
    _, _, frames = read_clip(path)
    assert np.abs(frames[0].astype(int) - rgb).max() <= 3


@pytest.mark.parametrize(("height", "matrix"), [(48, 6), (720, 1)])
def test_untagged_colours_follow_the_policy(media, tmp_path, read_clip, height, matrix):
    convert = {"dst_colorspace": matrix, "src_color_range": 2, "dst_color_range": 1}
    _, _, frames = read_clip(flat(media, tmp_path / "a.mp4", COLOURS[1], {}, convert, height))
    assert np.abs(frames[0].astype(int) - COLOURS[1]).max() <= 3


@pytest.mark.parametrize(
    ("rotation", "turn"),
    [
        ((90,), lambda a: np.rot90(a)),
        ((180,), lambda a: np.rot90(a, 2)),
        ((-90,), lambda a: np.rot90(a, 3)),
        ((0, True), lambda a: a[:, ::-1]),
        ((0, False, True), lambda a: a[::-1]),
    ],
)
def test_turned_and_mirrored_clips_come_upright(media, tmp_path, read_clip, rotation, turn):
    # The display matrix is metadata: the same pixels without it are what has to be turned.
    _, _, plain = read_clip(media.write(tmp_path / "a.mp4", frames=2))
    facts, _, turned = read_clip(media.write(tmp_path / "b.mp4", frames=2, rotation=rotation))
    assert turned.shape[1:3] == (facts.height, facts.width)
    assert np.array_equal(turned[0], turn(plain[0]))


def test_stretched_pixels_become_square(media, tmp_path, read_clip):
    facts, _, frames = read_clip(media.write(tmp_path / "a.mp4", frames=2, sar=Fraction(4, 3)))
    assert (facts.height, facts.width) == frames.shape[1:3] == (48, 86)


def test_ten_bit_sources_are_rounded_to_eight(media, tmp_path):
    ramp = np.linspace(0, 65535, 64).astype(np.uint16)
    image = np.broadcast_to(ramp[None, :, None], (48, 64, 3)).copy()
    path = media.write(
        tmp_path / "a.mkv", frames=2, images=[image] * 2, codec="ffv1", pix_fmt="yuv444p10le",
        convert={"dst_colorspace": 1, "src_color_range": 2, "dst_color_range": 1},
        tags={"colorspace": 1, "color_range": 1},
    )  # fmt: skip
    reader, _, _ = opened(path)
    with reader:
        assert np.abs(reader.read(0, 1)[0].astype(int) - image // 257).max() <= 1


def test_hdr_is_brought_down_by_choice(media, tmp_path, read_clip):
    # 100, 203 and 50 cd/m2 in PQ; the roll-off keeps reference white below full scale and hue in order.
    nits = (0.5081, 0.5807, 0.4403)
    image = np.broadcast_to((np.array(nits) * 65535).astype(np.uint16), (48, 64, 3)).copy()
    path = media.write(
        tmp_path / "a.mkv", frames=2, images=[image] * 2, codec="libx265", pix_fmt="yuv420p10le",
        options={"x265-params": "log-level=error", "crf": "4"},
        convert={"dst_colorspace": 9, "src_color_range": 2, "dst_color_range": 1},
        tags={"color_trc": 16, "color_primaries": 9, "colorspace": 9, "color_range": 1},
    )  # fmt: skip
    _, _, frames = read_clip(path, hdr="tonemap")
    assert np.abs(frames[0, 20, 20].astype(int) - (121, 237, 109)).max() <= 4


def test_deinterlacing_keeps_count_and_time_stamps(media, tmp_path, read_clip):
    path = media.write(tmp_path / "a.mp4", frames=20, options={"x264-params": "interlaced=1:tff=1"})
    facts, index, frames = read_clip(path, interlaced="deinterlace")
    assert len(frames) == index.frames == facts.frames == 20


class Size:
    """Just the two facts that `working_size` reads."""

    def __init__(self, height, width):
        self.height, self.width = height, width


@pytest.mark.parametrize(
    ("height", "width", "long_side", "multiple", "expected"),
    [
        (288, 512, 256, 8, (144, 256)),
        (512, 288, 256, 8, (256, 144)),
        (282, 500, 4096, 8, (280, 496)),
        (282, 500, 256, 16, (144, 256)),
        (1080, 1920, 512, 64, (256, 512)),
        (20, 600, 256, 16, (16, 256)),
        (5, 7, 256, 8, (8, 8)),
    ],
)
def test_working_size_keeps_the_shape_and_never_grows(height, width, long_side, multiple, expected):
    assert working_size(Size(height, width), long_side, multiple) == expected


def test_working_size_below_one_cell_is_an_error():
    with pytest.raises(ConfigError, match="at least 16"):
        working_size(Size(100, 100), 8, 16)


def test_working_size_frames_are_resized_and_go_back(media, tmp_path):
    path = media.write(tmp_path / "a.mp4", frames=3, size=(96, 128))
    reader, facts, _ = opened(path, (48, 64))
    with reader:
        small = reader.read(0, 3)
    assert small.shape == (3, 48, 64, 3)
    assert upscale(small[0], facts.height, facts.width).shape == (96, 128, 3)
    flat_image = np.full((48, 64, 3), 77, np.uint8)
    assert (upscale(flat_image, 96, 130) == 77).all()
