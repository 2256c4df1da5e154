"""Output names keep the source's folder and never leave the output folder."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.names import output_relative, slug
from configs.naming import DEFAULT_NAMING, result_name

KEY = "3fa9c20b" * 4


def named(source: str, relative: str = "", style: str | None = "oil", prompt: str | None = None) -> str:
    return output_relative(source, relative, style=style, prompt=prompt, key=KEY, ext=".mp4")


@pytest.mark.parametrize(
    ("source", "relative", "name"),
    [
        ("clips/dog.mp4", "", "dog--oil--3fa9c20b.mp4"),
        ("clips/a/b/dog.v2.mov", "a/b", "a/b/dog.v2--oil--3fa9c20b.mp4"),
        ("s3://bucket/x/dog.mp4?versionId=1", "", "dog--oil--3fa9c20b.mp4"),
        ("demo", "", "demo--oil--3fa9c20b.mp4"),
        ("C:\\films\\dog.avi", "..\\..\\up", "up/dog--oil--3fa9c20b.mp4"),
        ("/x/.hidden.mp4", "/etc", "etc/hidden--oil--3fa9c20b.mp4"),
        ("/x/..mp4", "a/../../b", "a/b/video--oil--3fa9c20b.mp4"),
    ],
)
def test_names(source: str, relative: str, name: str) -> None:
    assert named(source, relative) == name


def test_the_prompt_names_it_where_there_is_no_style() -> None:
    assert named("a.mp4", style=None, prompt="A Red Car, très vite!") == "a--a-red-car-tres-vite--3fa9c20b.mp4"


def test_slugs_are_short_and_never_empty() -> None:
    assert slug("日本語") == "untitled"
    assert slug("word " * 30) == "word-word-word-word-word-word-word-word"
    assert len(slug("x" * 100)) == 40


@given(
    source=st.text(max_size=300),
    relative=st.text(alphabet="äб日🎬/", max_size=300),
    prompt=st.text(max_size=90),
)
def test_every_part_is_a_name_that_disks_take(source: str, relative: str, prompt: str) -> None:
    """They count bytes: 80 characters may be 320 of them. Results are kept aside under one suffix more."""
    words = {"style": None, "prompt": prompt, "key": KEY, "ext": ".webm"}
    by_template = result_name(DEFAULT_NAMING, source, relative, date="2026-11-29", **words)
    for name in (output_relative(source, relative, **words), by_template):
        assert name.endswith("--3fa9c20b.webm")
        for part in PurePosixPath(f"{name}.damaged").parts:
            assert len(part.encode()) <= 255


@given(source=st.text(max_size=60), relative=st.text(alphabet="./\\ab\0:~", max_size=30), prompt=st.text(max_size=30))
def test_no_source_escapes(source: str, relative: str, prompt: str) -> None:
    path = PurePosixPath(named(source, relative, style=None, prompt=prompt))
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert not any(c in str(path) for c in "\\\0:")
    assert path.name.endswith("--3fa9c20b.mp4")
    assert not path.name.startswith((".", "-"))
