"""A store on disk and one in memory, for tests that must hold on both."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tasks.store import Store
from tests.strategies import fresh_store


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with fresh_store(request.param) as opened:
        yield opened
