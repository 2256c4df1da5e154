"""The clip of the chaos suite, the undisturbed result, how many seeds to try, and the table of what they showed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.forked import Orders, fork
from tests.chaos.ledger import Trial, hardly_struck, table
from tests.chaos.watching import left_behind, mark_children
from tests.small_clips import write_clip

# Ray's own agents notice the loss of their node by polling; on busy cores that takes a minute or two.
PATIENCE = 200.0
TRIALS: list[Trial] = []
# Trouble that takes half a minute to make. In `make test` they take turns: one a day, with the day as its seed.
RARE = (
    "test_a_lost_machine_costs_at_most_one_interval",
    "test_a_killed_library_finishes_the_rest_and_only_the_rest",
    "test_a_killed_server_loses_no_work",
    "test_a_server_that_is_killed_and_started_again_costs_a_library_nothing",
    "test_a_killed_run_of_a_worker_is_shown_as_crashed_and_its_retry_resumes",
)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """`rare_seed`: a fifth of the seeds; where that is none, the day for the test whose turn it is."""
    if "rare_seed" in metafunc.fixturenames:
        seeds = range(metafunc.config.getoption("--chaos-seeds") // 5)
        day = metafunc.config.getoption("--chaos-day")
        turn = RARE.index(metafunc.function.__name__) == day % len(RARE)
        metafunc.parametrize("rare_seed", seeds or [day] * turn)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Trouble that mostly came too late has shown nothing: that is no success."""
    if hardly_struck(TRIALS) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table, when it was a suite and not a slice."""
    if len(TRIALS) > 1:
        terminalreporter.section("chaos")
        for line in (*table(TRIALS), *hardly_struck(TRIALS)):
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def marked() -> None:
    mark_children()


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("chaos") / "clip.mp4", frames=17, seed=3, speed=2)


@pytest.fixture(scope="session")
def undisturbed(marked: None, clip: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same job without trouble; through the healthy `fault://`, so that its requests are counted.

    No lease is renewed: how often one is hangs on the machine's haste, and limits are drawn from what a run needs.
    """
    folder = tmp_path_factory.mktemp("chaos") / "undisturbed"
    return fork(Orders(str(clip), str(folder), fault=True, job={"model": {"path": "dry"}}, ttl=3600.0)).result()


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
