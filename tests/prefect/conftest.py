"""One real Prefect server for the session, and a pipeline that computes nothing in place of the real one."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from flows.cli import main
from flows.server import ServerRecord, local_api

HERE = Path(__file__).parent
# `tasks.pipeline` brings all models with it; these tests are about what surrounds it
FAKE = "tests.prefect.fake_pipeline"


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    spec = importlib.util.spec_from_file_location(FAKE, HERE / "fake_pipeline.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[FAKE] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="session")
def api(server_folder: Path) -> Iterator[str]:
    """URL of the session's server, which everything in this process and its children uses."""
    kept = {
        name: os.environ.get(name) for name in ("PREFECT_API_URL", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS")
    }
    os.environ["PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS"] = "3"
    assert kept["PREFECT_API_URL"] is None, "these tests start their own server; unset PREFECT_API_URL"
    with local_api(server_folder) as url:
        yield url
    for name, value in kept.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    record = ServerRecord.read(server_folder)
    assert record is not None
    assert not record.process.alive(), "the session's server outlived its last user"


@pytest.fixture(scope="session")
def warm_folder(api: str, server_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for another server whose database is migrated already: that saves seconds of its start."""
    folder = tmp_path_factory.mktemp("warm")
    with sqlite3.connect(server_folder / "prefect.db") as source, sqlite3.connect(folder / "prefect.db") as copy:
        source.backup(copy)
    return folder


@pytest.fixture(scope="session")
def child_environment() -> dict[str, str]:
    """For child processes: they find the fake pipeline where the real one would be."""
    return {**os.environ, "PYTHONPATH": str(HERE / "fake_site"), "DO_NOT_TRACK": "1"}


@pytest.fixture(scope="session")
def eventually() -> Callable[..., Any]:
    """`eventually(ask, seconds)`: the first true answer; the last one when time is up."""

    def ask_until(ask: Callable[[], Any], seconds: float = 20.0) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            answer = ask()
            if answer or time.monotonic() > deadline:
                return answer
            time.sleep(0.1)

    return ask_until


@pytest.fixture
def run(api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run one command line in this process; its exit code and its one JSON object."""
    monkeypatch.setenv("PREFECT_API_URL", api)

    def command(*arguments: str, preset: str = "dry", store: str | None = None) -> tuple[int, dict[str, Any]]:
        given = ["restyle", *arguments, "--preset", preset, "--out", str(tmp_path / "out"), "--json"]
        given += ["--store", store or str(tmp_path / "store")]
        if "--workers" not in arguments:
            given += ["--workers", "0"]
        if "--style" not in arguments:
            given += ["--prompt", "x"]
        out = io.StringIO()
        with redirect_stdout(out), redirect_stderr(io.StringIO()), pytest.raises(SystemExit) as ended:
            main(given)
        lines = out.getvalue().strip().splitlines()
        result: dict[str, Any] = json.loads("\n".join(lines))
        return int(ended.value.code or 0), result

    return command
