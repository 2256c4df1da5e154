"""docs/python-api.md: its examples run, in order, and its tables are those of the code."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest

import flows
from tasks.failure import ACTIONS
from tests.small_clips import write_clip

PAGE = Path(__file__).parents[2] / "docs" / "python-api.md"
TEXT = PAGE.read_text()


def test_the_examples_of_the_page_run(api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", api)
    monkeypatch.setenv("STEADYFRAME_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("STEADYFRAME_WORKERS", "0")
    monkeypatch.chdir(tmp_path)
    write_clip(tmp_path / "clip.mp4")
    known: dict[str, Any] = {}
    blocks = list(re.finditer(r"```python\n(.*?)```", TEXT, re.DOTALL))
    assert len(blocks) > 8
    for block in blocks:
        above = TEXT[: block.start(1)].count("\n")  # so that a traceback names the page's own line
        exec(compile("\n" * above + block[1], str(PAGE), "exec"), known)


def test_every_function_is_on_the_page_with_its_arguments() -> None:
    listed = dict(re.findall(r"^\| `flows\.(\w+)\((.*?)\)`", TEXT, re.MULTILINE))
    assert sorted(listed) == sorted(flows.__all__)
    for name, arguments in listed.items():
        taken = inspect.signature(getattr(flows, name)).parameters
        assert [word.strip("*") for word in arguments.split(", ") if word != "*"] == list(taken)


def test_the_table_of_failure_classes_is_that_of_the_code() -> None:
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in TEXT.splitlines()]
    for name, action in ACTIONS.items():
        assert (f"`{name}`", action.means, action.first, action.then) in rows
