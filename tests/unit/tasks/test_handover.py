"""Handing results over: whole, once, and no link planted in the output folder leads one out of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, cast

import pytest

from configs.errors import StoreError
from configs.job import RestyleJob
from tasks.handover import place_output, place_report
from tasks.results import ResultFolder
from tasks.run import Run
from tasks.store import Store, TornArtifact
from tasks.store.keys import StageKey
from tasks.store.manifest import Part


def test_a_link_out_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), workers=0)
    key = StageKey("encode", "ab" * 16, {})
    manifest = store.publish(key, [store.write_part(key, "video", b"pixels")], {"suffix": "mp4"})
    out, outside = tmp_path / "out", tmp_path / "outside"
    outside.mkdir()
    out.mkdir()
    (out / "planted").symlink_to(outside)

    def placed(relative: str) -> str:
        job = RestyleJob(style="oil", out=str(out))
        run = Run(job, "clip.mp4", store, cast(Any, None), relative)
        return place_output(run, store.ref(manifest, "computed"))

    with pytest.raises(StoreError, match="leads out of"):
        placed("planted")
    assert list(outside.iterdir()) == []
    assert Path(placed("honest")).read_bytes() == b"pixels"


def no_reading(*_: object) -> None:
    raise AssertionError("read whole")


@pytest.mark.parametrize("kept", ["memory://handed-over-store", "store"])
@pytest.mark.parametrize("place", ["memory://handed-over-video", "out"])
def test_a_video_is_copied_as_it_comes(kept: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, never whole in memory, and checked against its digest on the way."""
    store = Store.open(kept if "://" in kept else str(tmp_path / kept), workers=0)
    out = place if "://" in place else str(tmp_path / place)
    key = StageKey("encode", "cd" * 16, {})
    manifest = store.publish(key, [store.write_part(key, "video", b"pixels" * 100)], {"suffix": "mp4"})
    run = Run(RestyleJob(style="oil", out=out), "clip.mp4", store, cast(Any, None))
    monkeypatch.setattr("tasks.store.backends._PIECE", 7)
    monkeypatch.setattr(Store, "read_part", no_reading)
    where = place_output(run, store.ref(manifest, "computed"))
    monkeypatch.undo()
    folder = ResultFolder(out)
    assert folder.holds(folder.name_of(where), manifest.parts[0], named_by_key=False)


def test_a_video_that_is_not_what_was_published_is_not_handed_over(tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "store"), workers=0)
    key = StageKey("encode", "cd" * 16, {})
    part = store.write_part(key, "video", b"pixels")
    manifest = store.publish(key, [part], {"suffix": "mp4"})
    store.blobs.put(part.path, b"pixelz")
    run = Run(RestyleJob(style="oil", out=str(tmp_path / "out")), "clip.mp4", store, cast(Any, None))
    with pytest.raises(TornArtifact):
        place_output(run, store.ref(manifest, "computed"))
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_report_that_is_there_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night with nothing to do wrote every page again; another page under the same name is replaced."""
    store = Store.open(str(tmp_path / "store"), workers=0)
    key = StageKey("report", "ef" * 16, {})
    manifest = store.publish(key, [store.write_part(key, "report.html", b"<p>")])
    run = Run(RestyleJob(style="oil", out=str(tmp_path / "out")), "clip.mp4", store, cast(Any, None))
    page, video = store.ref(manifest, "computed"), str(tmp_path / "out" / "clip.mp4")
    where = place_report(run, page, video)
    monkeypatch.setattr(Store, "read_part", no_reading)
    monkeypatch.setattr(ResultFolder, "write", no_reading)
    assert place_report(run, page, video) == where
    monkeypatch.undo()
    Path(where).write_bytes(b"<q>")
    place_report(run, page, video)
    assert Path(where).read_bytes() == b"<p>"


@pytest.mark.parametrize("place", ["memory://handed-over", "folder"])
def test_a_result_is_written_once_and_again_when_it_is_not_what_it_was(tmp_path: Path, place: str) -> None:
    out = place if "://" in place else str(tmp_path / place)
    folder = ResultFolder(out)
    part = Part(name="video", path="x", bytes=6, sha256=hashlib.sha256(b"pixels").hexdigest())
    where = folder.write("a/b.mp4", b"pixels")
    assert (where, folder.name_of(where)) == (f"{out}/a/b.mp4", "a/b.mp4")
    assert folder.holds("a/b.mp4", part, named_by_key=False)
    folder.write("a/b.mp4", b"pixelz")
    assert not folder.holds("a/b.mp4", part, named_by_key=False)
    assert folder.holds("a/b.mp4", part, named_by_key=True)  # a key in the name says what it is; only torn is noticed
    assert not folder.holds("a/c.mp4", part, named_by_key=True)
    with pytest.raises(ValueError, match="elsewhere"):
        folder.name_of("/elsewhere/b.mp4")
