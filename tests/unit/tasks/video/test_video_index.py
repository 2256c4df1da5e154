"""The index: time stamps equal decoding, cuts are found, damage is told, ranges are numbered from 0."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from configs.errors import ConfigError, DamagedVideo, UnsupportedVideo, VideoTooLarge
from configs.job import InputConfig
from tasks.video.facts import ClipIndex
from tasks.video.index import build_index
from tasks.video.shots import ShotFinder
from tasks.video.source import probe

VFR = [1000 + t for t in (0, 512, 1024, 2500, 2600, 2700, 4000, 5000, 5100, 5500, 7000, 9000)]


def index_of(path, **choices):
    limits = InputConfig(**choices)
    return build_index(path, probe(str(path), limits), limits)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("a.mp4", {}),
        ("b.mp4", {"pts": VFR}),
        ("c.mkv", {"pts": VFR, "time_base": Fraction(1, 12800)}),
        ("d.ts", {"frames": 30, "options": {"x264-params": "open-gop=1:bframes=2"}}),
        ("e.avi", {"codec": "mpeg4"}),
        ("f.gif", {"codec": "gif", "pix_fmt": "rgb8", "time_base": Fraction(1, 100)}),
        ("g.mpg", {"codec": "mpeg2video", "time_base": Fraction(1, 25)}),
        ("h.webm", {"codec": "libvpx-vp9", "time_base": Fraction(1, 1000)}),
    ],
)
def test_time_stamps_equal_those_of_decoding(media, tmp_path, name, choices):
    path = media.write(tmp_path / name, **choices)
    index = index_of(path)
    with av.open(str(path)) as container:
        assert list(index.pts) == [f.pts for f in container.decode(video=0)]
    assert not index.damage
    assert index.keys[0] == 0
    assert index.end_pts > index.pts[-1]
    assert ClipIndex.model_validate_json(index.model_dump_json()) == index


def test_a_cut_splits_shots_and_digests_tell_frames_apart(media, tmp_path):
    index = index_of(media.write(tmp_path / "a.mp4", frames=20, cut_at=11))
    assert index.shots == ((0, 11), (11, 20))
    assert len(set(index.digests)) == 20
    assert 1 <= len(index.posters) <= 4


def test_a_flash_is_no_cut(media):
    frames = [media.picture(i, 36, 64) for i in range(20)]
    frames[9] = np.full_like(frames[9], 255)
    finder = ShotFinder()
    for frame in frames:
        finder.push(frame)
    assert finder.shots() == ((0, 20),)


def test_equal_pixels_have_equal_digests(media, tmp_path):
    still = [media.picture(3)] * 6
    path = media.write(tmp_path / "a.mkv", codec="ffv1", pix_fmt="bgr0", frames=6, images=still)
    assert len(set(index_of(path).digests)) == 1


def test_a_range_is_numbered_from_zero_and_has_the_same_digests(media, tmp_path):
    path = media.write(tmp_path / "a.mp4", frames=30)
    whole, part = index_of(path), index_of(path, frames=(8, 20))
    assert part.first == 8
    assert part.pts == whole.pts[8:20]
    assert part.digests == whole.digests[8:20]
    assert part.range == (whole.pts[8], whole.pts[20])
    assert part.shots == ((0, 12),)
    with pytest.raises(ConfigError, match="30"):
        index_of(path, frames=(30, 40))
    with pytest.raises(VideoTooLarge, match="12 frames"):
        index_of(path, frames=(8, 20), max_frames=11)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_truncated_clip_is_refused_or_kept(media, tmp_path, name):
    path = media.truncated(tmp_path / name)
    with pytest.raises(DamagedVideo, match=r"promised by its header.*input\.damaged=keep"):
        index_of(path)
    kept = index_of(path, damaged="keep")
    assert 10 < kept.frames < 60
    assert kept.damage.truncated_seconds > 0.5


def test_corrupt_frames_are_refused_or_kept_repeatably(media, tmp_path):
    path = media.flipped(tmp_path / "a.mp4")
    with pytest.raises(DamagedVideo, match="decode with errors"):
        index_of(path)
    kept = index_of(path, damaged="keep")
    assert kept.damage.corrupt
    assert kept.frames == 60 - len(kept.damage.missing)
    assert index_of(path, damaged="keep") == kept


def test_a_change_of_size_is_refused(media, tmp_path):
    with pytest.raises(UnsupportedVideo, match="64x48 to 96x64 at frame 10"):
        index_of(media.changing_size(tmp_path / "a.ts"))
