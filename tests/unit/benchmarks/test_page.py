"""The benchmark page is its own memory: what is measured again changes its section and no other."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as bench


def test_a_section_measured_again_leaves_the_others_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, asked = tmp_path / "page.md", iter(["first", "second", "third"])
    names = ("nnf", "fuzz")
    made = {
        name: bench.Section(f"About {name}", f"python -m {name}", lambda quick: f"{next(asked)}\n", name == "fuzz")
        for name in names
    }
    none = bench.Section("Of no machine here", "python -m none", lambda quick: None)
    monkeypatch.setattr(bench, "SECTIONS", {**made, "none": none})

    def run(*args: str) -> dict[str, str]:
        monkeypatch.setattr(sys, "argv", ["bench", "--out", str(page), *args])
        bench.main()
        return bench.sections_of(page.read_text())

    assert run("--only", "fuzz", "none") == {"fuzz": made["fuzz"].whole("first")}
    assert run() == {"nnf": made["nnf"].whole("second"), "fuzz": made["fuzz"].whole("first")}
    found = run("--only", "fuzz")
    assert found == {"nnf": made["nnf"].whole("second"), "fuzz": made["fuzz"].whole("third")}
    assert page.read_text() == f"{bench.head()}\n{found['nnf']}\n{found['fuzz']}"


def test_every_section_of_the_page_is_one_that_is_made() -> None:
    page = bench.PAGE.read_text()
    assert page.count("\n## ") == len(bench.sections_of(page))
    assert len({section.title for section in bench.SECTIONS.values()}) == len(bench.SECTIONS)
