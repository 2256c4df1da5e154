"""Files, folders, globs, URLs and `demo` become single videos; what is missing is an entry with an error."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import fsspec
import pytest
from botocore.exceptions import EndpointConnectionError
from fsspec.implementations.memory import MemoryFileSystem

from configs.errors import ConfigError, UnreadableVideo
from flows.library.plan import _Sidecars
from flows.library.room import working_bytes
from flows.sources import Source, expand, stamp_of
from tasks.failure import classify
from tasks.video.source import local_copy


@pytest.fixture
def library(tmp_path: Path) -> Path:
    for name in ("b.mp4", "a.MOV", "deep/er/c.mkv", "deep/notes.txt", "deep/d.webm"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    return tmp_path


def test_a_folder_is_read_recursively_sorted_and_keeps_its_folders(library: Path) -> None:
    found = [(Path(s.uri).relative_to(library).as_posix(), s.relative) for s in expand([str(library)])]
    assert found == [("a.MOV", ""), ("b.mp4", ""), ("deep/d.webm", "deep"), ("deep/er/c.mkv", "deep/er")]


def test_globs_files_and_demo_in_the_order_given_without_repeats(library: Path) -> None:
    found = expand([str(library / "b.mp4"), "demo", str(library / "*.m*"), str(library / "**" / "*.mkv")])
    assert [Path(s.uri).name for s in found] == ["b.mp4", "demo", "c.mkv"]
    assert all(s.error is None and s.relative == "" for s in found)


def test_a_file_of_any_suffix_is_taken_at_its_word(library: Path) -> None:
    assert expand([str(library / "deep" / "notes.txt")])[0].error is None


def test_a_file_whose_name_looks_like_a_glob_is_a_file(tmp_path: Path) -> None:
    path = tmp_path / "take [1].mp4"
    path.write_bytes(b"x")
    assert [(s.uri, s.error) for s in expand([str(path)])] == [(str(path), None)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere.mp4", "there is no such file or folder"),
        ("*.avi", "the pattern matches no video file"),
        ("empty", "the folder holds no video file"),
    ],
)
def test_what_is_missing_is_an_entry_and_the_others_go_on(library: Path, name: str, said: str) -> None:
    (library / "empty").mkdir()
    bad, good = expand([str(library / name), str(library / "b.mp4")])
    assert isinstance(bad.error, UnreadableVideo)
    assert said in str(bad.error)
    assert name in str(bad.error)
    assert good.error is None


def test_urls_are_listed_where_they_are_folders() -> None:
    fs = fsspec.filesystem("memory")
    for name in ("/expand/x/a.mp4", "/expand/b.mkv", "/expand/c.txt"):
        fs.pipe_file(name, b"x")
    found = [(s.uri, s.relative) for s in expand(["memory://expand"])]
    assert found == [("memory:///expand/b.mkv", ""), ("memory:///expand/x/a.mp4", "x")]
    assert [s.uri for s in expand(["memory://expand/*.mkv"])] == ["memory:///expand/b.mkv"]
    assert expand(["memory://expand/c.txt"])[0].error is None


def test_an_unknown_protocol_is_an_entry_with_an_error() -> None:
    (bad,) = expand(["carrier-pigeon://x/a.mp4"])
    assert "carrier-pigeon://x/a.mp4: cannot be looked up" in str(bad.error)


def test_file_urls_are_paths(library: Path) -> None:
    assert [s.uri for s in expand([f"file://{library}/b.mp4"])] == [str(library / "b.mp4")]
    odd = library / "50% of a ä#1?.mp4"
    odd.write_bytes(b"x")
    assert [s.uri for s in expand([odd.as_uri()])] == [str(odd)]
    assert stamp_of(odd.as_uri()) == stamp_of(str(odd)) is not None
    with local_copy(odd.as_uri()) as path:
        assert path == odd


@pytest.mark.parametrize("text", ["~nosuchuser/x.mp4", "x" * 5000, "http://[bad/x", "\0.mp4"])
def test_what_no_path_and_no_address_can_be_is_an_entry_with_an_error(library: Path, text: str) -> None:
    bad, good = expand([text, str(library / "b.mp4")])
    assert isinstance(bad.error, UnreadableVideo)
    assert good.error is None


@pytest.fixture
def unreachable(monkeypatch: pytest.MonkeyPatch) -> str:
    """An object store that is away; what its client raises then is neither OSError nor ValueError."""

    def away(*args: Any, **more: Any) -> Any:
        raise EndpointConnectionError(endpoint_url="https://store.example")

    for name in ("info", "isdir", "ls", "find", "glob"):
        monkeypatch.setattr(MemoryFileSystem, name, away)
    return "memory://away/clips"


def test_a_store_that_cannot_be_reached_ends_one_source_and_not_the_library(unreachable: str, library: Path) -> None:
    bad, good = expand([unreachable, str(library / "b.mp4")])
    assert "Could not connect to the endpoint" in str(bad.error)
    assert bad.error is not None
    assert classify(bad.error) == "transient"
    assert good.error is None
    assert stamp_of(f"{unreachable}/a.mp4") is None
    assert working_bytes(f"{unreachable}/a.mp4") > 0
    with pytest.raises(ConfigError, match="cannot be read") as refused:
        _Sidecars().of(Source(f"{unreachable}/a.mp4"))
    assert classify(refused.value) == "transient"


def test_a_name_that_is_not_utf8_is_an_entry_that_can_be_printed(library: Path) -> None:
    (library / os.fsdecode(b"caf\xe9.mp4")).write_bytes(b"x")
    (library / os.fsdecode(b"\xe9t\xe9")).mkdir()
    (library / os.fsdecode(b"\xe9t\xe9/f.mp4")).write_bytes(b"x")
    bad = [source for source in expand([str(library)]) if source.error is not None]
    assert [Path(source.uri).relative_to(library).as_posix() for source in bad] == ["caf\\xe9.mp4", "\\xe9t\\xe9/f.mp4"]
    assert all("is not UTF-8; rename it" in str(source.error) for source in bad)
    assert "\N{LATIN SMALL LETTER E WITH ACUTE}.mp4: there is no" in str(
        expand(["\N{LATIN SMALL LETTER E WITH ACUTE}.mp4"])[0].error
    )
