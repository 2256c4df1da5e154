"""`infra/Dockerfile`, read without Docker: what it copies is there, versions are pinned, nobody is root, no secrets."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[3]
SECRET = re.compile(r"(?i)password|secret|token=|api_key|auth_string|aws_")


class Line(NamedTuple):
    word: str
    rest: str
    stage: int


def parsed(text: str) -> list[Line]:
    """Instructions with continued lines joined and comments gone; `stage` counts FROM."""
    joined = re.sub(r"\\\n", " ", "\n".join(row for row in text.splitlines() if not row.lstrip().startswith("#")))
    lines, stage = [], -1
    for row in filter(str.strip, joined.splitlines()):
        word, _, rest = row.strip().partition(" ")
        stage += word.upper() == "FROM"
        lines.append(Line(word.upper(), " ".join(rest.split()), stage))
    return lines


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return parsed((ROOT / "infra/Dockerfile").read_text())


def test_everything_copied_exists_and_is_let_through_by_dockerignore(lines: list[Line]) -> None:
    allowed = [row[1:] for row in (ROOT / ".dockerignore").read_text().splitlines() if row.startswith("!")]
    copies = [line.rest.split()[:-1] for line in lines if line.word in ("COPY", "ADD") and "--from=" not in line.rest]
    assert copies
    for source in (source for sources in copies for source in sources):
        assert (ROOT / source).exists(), source
        assert any(fnmatch.fnmatch(source.split("/")[0], name) for name in allowed), f"{source} is ignored"


def test_the_package_is_copied_whole(lines: list[Line]) -> None:
    copied = {source for line in lines if line.word == "COPY" for source in line.rest.split()[:-1]}
    assert {path.parent.name for path in ROOT.glob("*/__init__.py") if path.parent.name != "tests"} <= copied


def test_images_and_python_packages_are_pinned(lines: list[Line]) -> None:
    arguments = dict(line.rest.split("=", 1) for line in lines if line.word == "ARG" and "=" in line.rest)
    for line in (line for line in lines if line.word == "FROM"):
        image = re.sub(r"\$\{(\w+)\}", lambda found: arguments[found[1]], line.rest.split()[0])
        assert re.search(r":\d+\.\d+\.\d+", image), image
    installs = [line.rest for line in lines if line.word == "RUN" and "pip install" in line.rest]
    assert installs
    assert all("--constraint constraints.txt" in text or "constraints.txt" in text for text in installs)
    assert re.search(r"^torch==", (ROOT / "constraints.txt").read_text(), re.M)


def test_it_runs_as_nobody_special_and_says_how_it_is(lines: list[Line]) -> None:
    final = [line for line in lines if line.stage == max(x.stage for x in lines)]
    users = [line.rest.split(":")[0] for line in final if line.word == "USER"]
    assert users
    assert users[-1].isdigit()  # Kubernetes' runAsNonRoot needs a number
    assert int(users[-1]) > 0
    words = [line.word for line in final]
    assert words.index("USER") > max(i for i, word in enumerate(words) if word == "RUN")
    assert "HEALTHCHECK" in words
    assert "ENTRYPOINT" in words


def test_no_secret_is_an_argument_or_a_variable(lines: list[Line]) -> None:
    assert [line for line in lines if line.word in ("ARG", "ENV") and SECRET.search(line.rest)] == []


def test_ray_asks_for_its_token_and_nothing_reports_home(lines: list[Line]) -> None:
    variables = " ".join(line.rest for line in lines if line.word == "ENV")
    for wanted in ("RAY_AUTH_MODE=token", "RAY_USAGE_STATS_ENABLED=0", "PREFECT_SERVER_ANALYTICS_ENABLED=false"):
        assert wanted in variables


def test_the_parser_sees_what_it_should() -> None:
    found = parsed("FROM a:1 AS b\n# no\nRUN x \\\n  y\nFROM c:2\nUSER 0\n")
    assert found == [Line("FROM", "a:1 AS b", 0), Line("RUN", "x y", 0), Line("FROM", "c:2", 1), Line("USER", "0", 1)]
