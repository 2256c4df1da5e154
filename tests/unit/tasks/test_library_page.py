"""The page of a library, as a file: self-contained, escaped, complete. What it does in a browser is in tests/ui."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tasks.library_page import LibraryRow, render_library
from tests.library_rows import HOSTILE, REPLAY, library

FOLDER = Path("/films/out")


class Parsed(HTMLParser):
    """The tags of a page, and what a browser would load or follow."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "poster", "srcset", "action", "data")]


def told(page: str) -> dict[str, Any]:
    """What the script of a page is given."""
    inner = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert inner is not None
    return dict(json.loads(inner[1]))


def test_nothing_is_loaded_and_only_the_pages_own_script_may_run() -> None:
    page = render_library(library(FOLDER), "Nightly", str(FOLDER))
    assert all(link.startswith("./") for link in Parsed(page).loads), "only links, in the list for no script"
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_hostile_names_add_no_tag_anywhere() -> None:
    plain = [LibraryRow(name=f"{n}.mp4", status="done") for n in range(len(HOSTILE))]
    rows = [
        LibraryRow(
            name=name,
            status="dead",
            source=name,
            output=name,
            report=name,
            review_reasons=(name,),
            error_class=name,
            message=name,
            failure=name,
            replay=name,
        )
        for name in HOSTILE
    ]
    page = render_library(rows, HOSTILE[0])
    for tag in ("script", "img", "b", "style"):
        assert Parsed(page).tags.count(tag) == Parsed(render_library(plain, "x")).tags.count(tag)
    assert 'document.title="owned"</script>' not in page
    assert [row["name"] for row in told(page)["rows"]] == list(HOSTILE)


def test_links_are_relative_below_the_page_quoted_and_never_a_script() -> None:
    uris = {
        "/films/out/a b#1?.html": "./a%20b%231%3F.html",
        "/elsewhere/100%.html": "file:///elsewhere/100%25.html",
        "https://example.org/a.html": "https://example.org/a.html",
        "s3://bucket/a.html": "",
        "javascript:alert(1)": "./javascript%3Aalert%281%29",
        "javascript://x/%0aalert(1)": "",
        "data://x": "",
        "": "",
    }
    rows = [LibraryRow(name=uri or "-", status="done", report=uri) for uri in uris]
    links = [row.get("toReport", "") for row in told(render_library(rows, "x", str(FOLDER)))["rows"]]
    assert links == list(uris.values())


def test_summary_counts_and_causes() -> None:
    page = render_library(library(FOLDER), "Nightly", str(FOLDER))
    counts = dict(re.findall(r'data-show="(\w+)"[^>]*><b[^>]*>(\d+)</b>', page))
    assert counts == {"all": "64", "review": "7", "dead": "6", "done": "57", "reused": "17", "waiting": "1"}
    assert "3 × DamagedVideo, 3 × UnreadableVideo" in page
    assert f"<code>{REPLAY}</code> tries them again" in page


def test_filters_for_what_there_is_none_of_are_left_out() -> None:
    page = render_library([LibraryRow(name="a", status="done")], "x")
    assert re.findall(r'data-show="(\w+)"', page) == ["all", "review", "dead", "done"]
    assert "Dead:" not in page


def test_columns_are_the_figures_that_any_video_has() -> None:
    rows = [
        LibraryRow(name="a", status="done", metrics={"pixel_mse": 3.0, "sharpness_to_source": 0.4, "arms": {}}),
        LibraryRow(name="b", status="done", metrics={"pixel_mse": None, "colour_error": 2.0}),
    ]
    data = told(render_library(rows, "x"))
    assert data["shown"] == ["pixel_mse", "sharpness_to_source"]
    assert list(data["figures"]) == ["pixel_mse", "sharpness_to_source", "colour_error"]
    assert data["rows"][1]["figures"] == {"colour_error": 2.0}


def test_the_figure_a_reason_speaks_of_is_marked_in_its_row() -> None:
    rows = told(render_library(library(FOLDER), "x"))["rows"]
    flagged = next(row for row in rows if row["name"] == "flickers/take 0.mp4")
    assert flagged["beyond"] == ["flicker_over_steady", "seam_over_steady"]
    assert not any("beyond" in row for row in rows if row["status"] == "dead")


def test_an_empty_library_makes_a_page() -> None:
    page = render_library([], "x")
    assert "0 videos" in page
    assert told(page)["rows"] == []


def test_a_secret_in_an_address_stays_out() -> None:
    row = LibraryRow(name="a", status="dead", source="https://me:hunter2hunter2@example.org/a.mp4", message="x")
    assert "hunter2" not in render_library([row], "x")


@pytest.mark.parametrize(("start", "kind"), [(b"\x89PNG\r\n", "image/png"), (b"\xff\xd8", "image/jpeg")])
def test_pictures_are_inside(start: bytes, kind: str) -> None:
    (row,) = told(render_library([LibraryRow(name="a", status="done", thumbnail=start)], "x"))["rows"]
    assert row["picture"] == f"data:{kind};base64,{base64.b64encode(start).decode()}"
