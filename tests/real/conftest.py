"""Real parts for the session: an S3 server, PostgreSQL, and a Prefect server that keeps its records there."""

from __future__ import annotations

import uuid
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import pytest

from tasks.store import Store
from tests.real import parts
from tests.small_clips import write_clip

T = TypeVar("T")


@pytest.fixture(scope="session")
def s3_environment() -> Iterator[dict[str, str]]:
    """By which variables clients find the session's S3 server; set here only while a test asks for it."""
    yield from _there(parts.s3())


@pytest.fixture(scope="session")
def database() -> Iterator[str]:
    """The session's PostgreSQL, as `user:password@host:port/database`."""
    yield from _there(parts.postgres())


@pytest.fixture(scope="session")
def postgres_api(database: str) -> Iterator[str]:
    """URL of a Prefect server whose records are in PostgreSQL."""
    with parts.prefect(database) as url:
        yield url


@pytest.fixture
def s3_set(s3_environment: dict[str, str]) -> Iterator[None]:
    """The session's S3 server is what this process finds, for one test."""
    with parts.found_here(s3_environment):
        yield


@pytest.fixture
def s3(s3_set: None) -> str:
    """URL of an empty folder of the bucket, with the credentials in the environment."""
    return f"s3://{parts.BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def store(s3: str) -> Store:
    """An empty store on S3."""
    return Store.open(s3, workers=2)


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small clip of six windows."""
    return write_clip(tmp_path_factory.mktemp("real") / "clip.mp4", frames=17)


def _there(part: AbstractContextManager[T]) -> Iterator[T]:
    """The part for the session; where its package is not installed, a skip that nobody can overlook."""
    try:
        started = part.__enter__()
    except parts.Missing as missing:
        warnings.warn(f"NOT TESTED: {missing}", stacklevel=1)
        pytest.skip(f"NOT TESTED: {missing}")
    try:
        yield started
    finally:
        part.__exit__(None, None, None)
