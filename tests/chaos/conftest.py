"""The clip of the chaos suite, the undisturbed result, how many seeds to try, and the table of what they showed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.forked import Orders, fork
from tests.chaos.ledger import Trial, table
from tests.chaos.watching import left_behind, mark_children
from tests.small_clips import write_clip

# Ray's own agents notice the loss of their node by polling; on busy cores that takes a minute or two.
PATIENCE = 200.0
TRIALS: list[Trial] = []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`rare_seed`: a fifth of the seeds, for trouble that takes half a minute to make; none in `make test`."""
    if "rare_seed" in metafunc.fixturenames:
        metafunc.parametrize("rare_seed", range(metafunc.config.getoption("--chaos-seeds") // 5))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table, when it was a suite and not a slice."""
    if len(TRIALS) > 1:
        terminalreporter.section("chaos")
        for line in table(TRIALS):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def marked() -> None:
    mark_children()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("chaos") / "clip.mp4", frames=17, seed=3, speed=2)


@pytest.fixture(scope="session")
def undisturbed(marked: None, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same job without trouble; through the healthy `fault://`, so that its requests are counted."""
    folder = tmp_path_factory.mktemp("chaos") / "undisturbed"
    return fork(Orders(str(clip), str(folder), fault=True, job={"model": {"path": "dry"}})).result()


@pytest.fixture
def trial() -> Iterator[Callable[[str, int], Trial]]:
    """`trial(kind, seed)` opens a row of the table; at the end of the test nothing that it started may be left."""
    opened: list[Trial] = []

    def open_trial(kind: str, seed: int) -> Trial:
        opened.append(Trial(kind, seed))
        return opened[-1]

    yield open_trial
    left = left_behind(PATIENCE)
    for row in opened:
        row.left = len(left)
    TRIALS.extend(opened)
    assert left == []
