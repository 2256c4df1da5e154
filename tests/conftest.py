"""Options of the whole suite, and an environment in which nothing reports home."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--chaos-seeds", type=int, default=1, help="seeds per kind of kill in tests/chaos")
    today = datetime.now(UTC).toordinal()
    parser.addoption("--chaos-day", type=int, default=today, help="whose turn it is of what is rare in tests/chaos")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "chaos_seed" in metafunc.fixturenames:
        metafunc.parametrize("chaos_seed", range(metafunc.config.getoption("--chaos-seeds")))
