"""A source behind S3 comes to the disk in one GET, whose answer tells its size before anything is fetched."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from configs.errors import UnreadableVideo, VideoTooLarge
from configs.job import InputConfig
from flows.artifacts import middle_frame
from tasks.video.source import local_copy, probe


@pytest.fixture
def remote(s3: str, clip: Path) -> str:
    url = f"{s3}/clips/clip.mp4"
    fs, path = fsspec.core.url_to_fs(url)
    fs.pipe_file(path, clip.read_bytes())
    fs.pipe_file(path.replace("clip.mp4", "empty.mp4"), b"")
    return url


def test_it_is_fetched_up_to_its_limit(remote: str, clip: Path) -> None:
    size = clip.stat().st_size
    with local_copy(remote, size) as local:
        assert local.read_bytes() == clip.read_bytes()
    with pytest.raises(VideoTooLarge, match=r"input\.max_bytes"), local_copy(remote, size - 1):
        pass
    with local_copy(remote.replace("clip.mp4", "empty.mp4")) as local:
        assert local.stat().st_size == 0
    with pytest.raises(UnreadableVideo, match="no such object"):
        probe(remote.replace("clip.mp4", "none.mp4"), InputConfig())


def test_a_picture_of_it_needs_no_copy(remote: str, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.video.source.local_copy", None)
    far, near = middle_frame(remote), middle_frame(str(clip))
    assert far is not None
    assert near is not None
    assert (far == near).all()
