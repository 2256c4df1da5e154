"""A library run end to end without Prefect: incremental, honest about what died, and cheap when nothing changed."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import pytest

from configs.errors import ConfigError, StoreError, UnreadableVideo, WeightsError
from configs.library import LibraryJob
from configs.library_layers import build_library
from flows.dead import bury, dead_letters
from flows.library.ends import LibraryResult
from flows.library.plan import _outside_of
from flows.library.running import run_library
from flows.sources import Source
from tasks import pipeline
from tasks.engine.pool import EnginePool
from tasks.run import Run, VideoResult
from tasks.store import Store
from tests.small_clips import write_clip

LIGHT = ["num_inference_steps=1", "start=noised", "working_size=32", "report.max_megabytes=0.05", "deflicker.window=1"]


@dataclass
class Library:
    """A folder of tiny clips with a store, and how often a video got as far as a flow run."""

    folder: Path
    store: Store
    ran: list[str] = field(default_factory=list)
    loaded: int = 0

    def run(self, *sets: str, out: str = "out", **more: Any) -> LibraryResult:
        """One night; every night has engines of its own."""
        self.ran.clear()
        flags = {"prompt": "x", "preset": "dry", "out": str(self.folder / out)}
        job = build_library(None, [str(self.folder / "in")], sets=[*LIGHT, *sets], flags=flags)
        return self.of(job, **more)

    def of(self, job: LibraryJob, **more: Any) -> LibraryResult:
        with EnginePool(self.store.url, 0, "cpu", lanes=1) as engines:
            result = run_library(job, self.store, engines, **more)
            self.loaded = sum(loan.opened for loan in engines.loans)
        return result

    @property
    def names(self) -> list[str]:
        return sorted(self.ran)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=3, height=32, width=32)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("other") / "clip.mp4", frames=4, height=32, width=32)


@pytest.fixture
def library(tmp_path: Path, clip: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Two good clips that were last changed an hour ago."""
    (tmp_path / "in" / "b").mkdir(parents=True)
    shutil.copy(clip, tmp_path / "in" / "a.mp4")
    shutil.copy(other, tmp_path / "in" / "b" / "c.mp4")
    made = Library(tmp_path, Store.open(str(tmp_path / "store"), workers=0))

    def restyle_one(run: Run, stoppable: bool, belongs: object) -> VideoResult:
        made.ran.append(Path(run.source).name)
        return pipeline.restyle_video(run)

    monkeypatch.setattr("flows.video.restyle_one", restyle_one)
    # nothing here is two seconds old; what a file that changed just now means has a test of its own
    monkeypatch.setattr("flows.library.known.SETTLED_SECONDS", -3600.0)
    return made


def where(result: LibraryResult, folder: Path) -> list[str]:
    return [Path(o.uri).relative_to(folder / "out").as_posix().split("--")[0] for o in result.outputs]


def test_the_second_night_loads_no_model_and_runs_no_video(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    first = library.run()
    assert (first.status, library.names, library.loaded) == ("completed", ["a.mp4", "c.mp4"], 1)
    assert where(first, library.folder) == ["a", "b/c"]
    asked: list[str] = []
    monkeypatch.setattr("flows.library.batch.answered", lambda run: asked.append(run.source))
    second = library.run()
    assert (second.status, library.names, library.loaded, asked) == ("reused", [], 0, [])
    assert second.window_steps.computed == 0
    assert [o.uri for o in second.outputs] == [o.uri for o in first.outputs]
    assert [(o.latents_digest, o.rgb_digest) for o in second.outputs] == [
        (o.latents_digest, o.rgb_digest) for o in first.outputs
    ]
    assert second.library.reused == 2


def test_only_what_is_new_changed_or_asked_otherwise_runs(library: Library, clip: Path, other: Path) -> None:
    library.run()
    shutil.copy(other, library.folder / "in" / "a.mp4")
    write_clip(library.folder / "in" / "new.mp4", frames=2, height=32, width=32)
    # a.mp4 now holds what c.mp4 held before: its keys know, so it needs no run either
    assert library.run().status == "completed"
    assert library.names == ["new.mp4"]
    assert library.run("seed=1", "max_in_flight=1").library.computed == 2  # of equal contents only one is computed
    assert library.run("seed=1", out="elsewhere").status == "reused"
    assert (library.folder / "elsewhere" / "b").is_dir()


def test_a_renamed_video_costs_no_computing(library: Library) -> None:
    library.run()
    (library.folder / "in" / "a.mp4").rename(library.folder / "in" / "renamed.mp4")
    result = library.run()
    assert (result.status, library.names, library.loaded) == ("reused", [], 0)
    assert where(result, library.folder) == ["b/c", "renamed"]


def test_a_note_is_never_believed_over_the_content(
    library: Library, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Same name, same bytes, same mtime, other content: the ctime tells; and young files leave no note at all."""
    path = library.folder / "in" / "a.mp4"
    library.run()
    before = path.stat()
    data = bytearray(clip.read_bytes())
    data[-1] ^= 1  # the last byte of the index box: another file that still plays
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    asked: list[str] = []
    monkeypatch.setattr("flows.library.batch.answered", lambda run: asked.append(Path(run.source).name))
    library.run()
    assert asked == ["a.mp4"]
    monkeypatch.setattr("flows.library.known.SETTLED_SECONDS", 3600.0)
    path.write_bytes(clip.read_bytes())
    library.run()
    asked.clear()
    library.run()
    assert asked == ["a.mp4"]


def test_what_was_deleted_is_made_again(library: Library) -> None:
    first = library.run()
    Path(first.outputs[0].uri).unlink()
    assert library.run().status == "reused"
    assert Path(first.outputs[0].uri).is_file()
    encoded = next(s for s in first.stages if s.stage == "encode" and s.source.endswith("a.mp4"))
    (manifest,) = library.store.find(encoded.key)
    library.store.forget(manifest)
    assert library.run().library.computed == 1
    assert library.names == ["a.mp4"]


def test_the_dead_have_letters_and_stop_nobody(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = library.folder / "in"
    (folder / "broken.mp4").write_bytes(b"not a video")
    (folder / "b" / "c.mp4.yaml").write_text("seed: -1\n")
    result = library.run("failed_share=0.7")
    assert (result.status, result.exit_code) == ("partial", 3)
    assert [(Path(e.source).name, e.class_name) for e in result.errors] == [
        ("c.mp4", "ConfigError"),
        ("broken.mp4", "UnreadableVideo"),
    ]
    assert "c.mp4.yaml:1" in result.errors[0].message
    letters = {Path(letter.source).name: letter for letter in dead_letters(library.store, result.job)}
    assert {name: letter.failure for name, letter in letters.items()} == {"c.mp4": "config", "broken.mp4": "poison"}
    assert letters["broken.mp4"].job["prompt"] == "x"
    assert (result.library.videos, result.library.dead, result.library.computed) == (3, 2, 1)
    assert library.run("failed_share=0.5").status == "failed"
    assert library.run("failed_share=0.5").exit_code == 3


def test_a_video_that_died_is_not_tried_again_until_something_changed(library: Library, clip: Path) -> None:
    broken = library.folder / "in" / "broken.mp4"
    broken.write_bytes(b"not a video")
    first = library.run()
    assert library.names == ["a.mp4", "broken.mp4", "c.mp4"]
    second = library.run()
    assert (second.status, second.exit_code, library.names) == ("partial", 3, [])
    assert (second.library.dead, second.library.dead_before, second.library.reused) == (1, 1, 2)
    (error,) = second.errors
    assert error.class_name == "UnreadableVideo"
    assert error.message == (
        f"{first.errors[0].message} (unchanged since it died; `steadyframe replay --job {first.job}` tries it)"
    )
    assert [letter.job_id for letter in dead_letters(library.store)] == [first.job], "one letter, not one a night"
    assert library.run().errors == second.errors, "told in the same words every night"
    library.run("seed=1")
    assert "broken.mp4" in library.names, "another job is another question"
    shutil.copy(clip, broken)
    assert library.run().status == "reused", "a.mp4 has that content"


def test_a_replay_that_worked_lifts_a_death(library: Library) -> None:
    (library.folder / "in" / "broken.mp4").write_bytes(b"not a video")
    library.run()
    for letter in dead_letters(library.store):
        bury(library.store, letter)
    assert library.run().library.dead_before == 0
    assert library.names == ["broken.mp4"]


def test_a_death_that_may_pass_is_tried_every_night(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def restyle_one(run: Run, stoppable: bool, belongs: object) -> VideoResult:
        library.ran.append(Path(run.source).name)
        raise UnreadableVideo("could not be fetched") from PermissionError(errno.EACCES, "no")

    monkeypatch.setattr("flows.video.restyle_one", restyle_one)
    for _ in range(2):
        library.run()
        assert library.names == ["a.mp4", "c.mp4"]


def test_a_job_that_asks_too_much_of_one_video_ends_that_one_only(library: Library) -> None:
    result = library.run("input.frames=[3,4]", "max_in_flight=1", "order=listed")  # a.mp4 has three frames
    assert [(Path(e.source).name, e.class_name) for e in result.errors] == [("a.mp4", "VideoConfigError")]
    assert (result.status, result.library.computed, result.library.waiting) == ("partial", 1, 0)
    alone = library.run("input.frames=[3,4]", "include=a.mp4")
    assert (alone.status, alone.exit_code) == ("failed", 2)


def test_a_full_store_ends_the_library_and_not_every_video(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def restyle_one(run: Run, stoppable: bool, belongs: object) -> VideoResult:
        raise StoreError("the store is full") from OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr("flows.video.restyle_one", restyle_one)
    result = library.run("max_in_flight=1")
    assert (result.status, result.library.dead, result.library.waiting) == ("failed", 1, 1)


def test_a_sidecar_changes_one_video_and_priorities_the_order(library: Library) -> None:
    plain = library.run("max_in_flight=1")
    (library.folder / "in" / "b" / "c.mp4.yaml").write_text("seed: 7\n")
    with_sidecar = library.run("max_in_flight=1")
    assert library.names == ["c.mp4"]
    assert [a.key == b.key for a, b in zip(plain.outputs, with_sidecar.outputs, strict=True)] == [True, False]
    library.run("num_inference_steps=2", "max_in_flight=1", "priorities={'b/*': 2}")
    assert library.ran == ["c.mp4", "a.mp4"]


def test_the_largest_file_goes_first_among_equals_unless_the_listing_is_asked_for(library: Library) -> None:
    """A long video begun last would keep one worker busy while the others idle."""
    large = write_clip(library.folder / "in" / "large.mp4", frames=9, height=32, width=32, seed=7)
    sizes = {path.name: path.stat().st_size for path in large.parent.rglob("*.mp4")}
    by_size = sorted(sizes, key=lambda name: -sizes[name])
    assert by_size[0] == "large.mp4"
    library.run("max_in_flight=1")
    assert library.ran == by_size
    library.run("max_in_flight=1", "order=listed", "seed=1")
    assert library.ran == ["a.mp4", "c.mp4", "large.mp4"]
    library.run("max_in_flight=1", 'priorities={"c.mp4": 1}', "seed=2")
    assert library.ran == ["c.mp4", *(name for name in by_size if name != "c.mp4")]


def test_a_sidecar_keeps_to_what_the_caller_allows(library: Library) -> None:
    def check(job: Any) -> None:
        if job.reference:
            raise ConfigError("reference: outside of the roots")

    (library.folder / "in" / "a.mp4.yaml").write_text(
        "reference: /etc/shadow.png\nmodel: {controls: [{kind: reference-latents}]}\n"
    )
    result = library.run(check=check)
    assert [(Path(e.source).name, e.message) for e in result.errors] == [("a.mp4", "reference: outside of the roots")]
    assert library.names == ["c.mp4"]


def test_results_inside_the_source_are_no_sources_of_the_next_night(library: Library) -> None:
    for _ in range(2):
        assert library.run(out="in/done").library.videos == 2


def test_results_may_lie_behind_a_url(library: Library) -> None:
    """Videos, reports and the page side by side, found by the second night, made again when deleted."""
    fs = fsspec.filesystem("memory")
    place = f"memory://results-{library.folder.name}"
    job = build_library(
        None, [str(library.folder / "in")], sets=LIGHT, flags={"prompt": "x", "preset": "dry", "out": place}
    )
    first = library.of(job)
    videos = [output.uri for output in first.outputs]
    assert all(uri.startswith(f"{place}/") and fs.size(uri) for uri in videos)
    assert [output.report for output in first.outputs] == [f"{uri.removesuffix('.mp4')}.html" for uri in videos]
    page = fs.cat_file(first.library.page).decode()
    assert [f'"./{uri.removeprefix(place + "/")}"' in page for uri in videos] == [True, True]
    fs.rm(videos[0])
    second = library.of(job)
    assert (second.library.computed, second.library.reused) == (0, 2)
    assert fs.size(videos[0]) > 0


def test_results_behind_a_url_are_no_sources_of_the_next_night() -> None:
    found = [Source("s3://bucket/in/a.mp4"), Source("s3://bucket/in/out/b.mp4"), Source("/in/out/c.mp4")]
    assert _outside_of("s3://bucket/in/out", found, set()) == [found[0], found[2]]


def test_in_flight_together_or_alone_the_results_are_the_same(library: Library, tmp_path: Path) -> None:
    alone = library.run("max_in_flight=1")
    library.store = Store.open(str(tmp_path / "other"), workers=0)
    together = library.run("max_in_flight=4")
    assert [o.latents_digest for o in alone.outputs] == [o.latents_digest for o in together.outputs]
    assert [o.rgb_digest for o in alone.outputs] == [o.rgb_digest for o in together.outputs]
    assert together.library.most_in_flight == 2


def test_what_cannot_start_is_said_before_any_work(library: Library) -> None:
    with pytest.raises(ConfigError, match=r"exclude leave none of the 2 videos"):
        library.run("exclude=*.mp4")
    shutil.copy(library.folder / "in" / "a.mp4", library.folder / "in" / "b" / "a.mp4")
    with pytest.raises(ConfigError, match=r"the same name a"):
        library.run("naming={stem}")
    with pytest.raises(WeightsError):
        library.run("model.path=/nowhere")
    assert library.ran == []


def test_a_stop_leaves_the_rest_for_the_same_command(library: Library) -> None:
    def around(pending: Any) -> LibraryResult:
        return pending.run(lambda: len(pending.running.ends) >= 1)

    stopped = library.run("max_in_flight=1", around=around)
    assert (stopped.status, stopped.exit_code, stopped.library.waiting) == ("interrupted", 130, 1)
    rest = library.run("max_in_flight=1")
    assert (rest.status, len(library.ran)) == ("completed", 1)


def test_the_page_lists_every_video(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = []

    def render(given: Sequence[Any], title: str, folder: str = "") -> str:
        rows[:] = given
        return f"<title>{title}</title>"

    monkeypatch.setattr("flows.library.batch.render_library", render)
    (library.folder / "in" / "broken.mp4").write_bytes(b"not a video")
    result = library.run()
    assert [(row.name, row.status) for row in rows] == [("a.mp4", "done"), ("b/c.mp4", "done"), ("broken.mp4", "dead")]
    assert rows[0].thumbnail[:2] == b"\xff\xd8"
    assert rows[2].replay == f"steadyframe replay --job {result.job}"
    page = library.folder / "out" / "index.html"
    assert result.library.page == str(page)
    assert library.store.blobs.get(f"jobs/{result.job}/index.html") == page.read_bytes()
