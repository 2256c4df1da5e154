"""Parts of a cluster from ordinary packages, started for a `with` block: an S3 server, PostgreSQL, Prefect on it.

Each runs below `tests.real.keep`, so nothing of it outlives us. `Missing` says which package to install. Credentials
go by environment variables alone, as they do in production: none is in a URL of a store, a job or a report.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from s3fs import S3FileSystem

from flows.server import SERVER_ENVIRONMENT

BUCKET = "steadyframe-tests"
PATIENCE = 240.0

T = TypeVar("T")


class Missing(Exception):
    """An ordinary package that a part needs is not installed; the message says which and how."""


@contextmanager
def s3() -> Iterator[dict[str, str]]:
    """An S3 server with the bucket `BUCKET`; yields the environment by which clients find it."""
    if importlib.util.find_spec("moto") is None:
        raise Missing("moto is not installed (pip install 'moto[server,s3]'): nothing of S3 is tested")
    with tempfile.TemporaryDirectory(prefix="steadyframe-s3-") as folder:
        log = Path(folder) / "log"
        with _kept([sys.executable, "-m", "tests.real.s3_server", BUCKET], log) as server:
            url = _eventually(server, log, lambda: log.read_text().partition("\n")[0])
            yield {
                "AWS_ENDPOINT_URL": url,
                "AWS_ACCESS_KEY_ID": "AKIATESTSONLY",
                "AWS_SECRET_ACCESS_KEY": f"planted-secret-{uuid.uuid4().hex}",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_EC2_METADATA_DISABLED": "true",
            }


@contextmanager
def postgres() -> Iterator[str]:
    """A fresh PostgreSQL cluster on the loopback with password login; yields `user:password@host:port/database`."""
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="steadyframe-postgres-"))
    try:
        password, secret = uuid.uuid4().hex, folder / "password"
        secret.write_text(password)
        port = free_port()
        if user:
            shutil.chown(folder, user)
            shutil.chown(secret, user)
        init = [postgres_program("initdb"), "-D", folder / "data", "-U", "steadyframe", "--auth=scram-sha-256"]
        init += [f"--pwfile={secret}", "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(init, capture_output=True, text=True, cwd=folder, **({"user": user} if user else {}))
        assert done.returncode == 0, f"initdb: {done.stderr}"
        serve = [postgres_program("postgres"), "-D", folder / "data", "-h", "127.0.0.1", "-p", port, "-k", "", "-F"]
        log = folder / "log"
        with _kept(list(map(str, serve)), log, user=user) as server:
            ready = [postgres_program("pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
            _eventually(server, log, lambda: subprocess.run(ready, capture_output=True).returncode == 0)
            yield f"steadyframe:{password}@127.0.0.1:{port}/postgres"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def prefect(database: str) -> Iterator[str]:
    """A Prefect server that keeps everything in PostgreSQL `database`; yields the URL of its API."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api"
    with tempfile.TemporaryDirectory(prefix="steadyframe-prefect-") as folder:
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")} | SERVER_ENVIRONMENT
        environment |= {
            "PREFECT_HOME": folder,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"postgresql+asyncpg://{database}",
            "PREFECT_SERVER_UI_ENABLED": "false",
        }
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        with _kept(command, log, environment) as server:
            _eventually(server, log, lambda: _answers(f"{url}/health"))
            yield url


@contextmanager
def found_here(environment: Mapping[str, str]) -> Iterator[None]:
    """Set the variables in this process for the block; clients of S3 made in it are forgotten after it."""
    kept = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        yield
    finally:
        for name, value in kept.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        S3FileSystem.clear_instance_cache()  # other tests have no credentials


def free_port() -> int:
    """A port of the loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def postgres_program(name: str) -> str:
    """Where Debian, or the PATH, keeps a program of PostgreSQL. Raises Missing."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda p: int(p.parts[-3]))
    on_path = shutil.which(name)
    if not found and on_path is None:
        raise Missing("PostgreSQL is not installed (apt-get install postgresql): Prefect is tested on SQLite only")
    return str(found[-1] if found else on_path)


def _unprivileged() -> str | None:
    """Who runs PostgreSQL, which refuses root: we ourselves, or a user of the system without rights."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@contextmanager
def _kept(
    command: list[str], log: Path, environment: Mapping[str, str] | None = None, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` for the block, below a keeper that ends it when we are gone; what it says goes to `log`."""
    root = Path(__file__).resolve().parents[2]
    keeper = [sys.executable, "-m", "tests.real.keep", *(["--user", user] if user else []), "--", *command]
    with log.open("wb") as said:
        process = subprocess.Popen(
            keeper, stdin=subprocess.PIPE, stdout=said, stderr=said, cwd=root, env=environment, start_new_session=True
        )
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _eventually(server: subprocess.Popen[bytes], log: Path, ask: Callable[[], T]) -> T:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and server.poll() is None:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"{server.args} did not come up: {log.read_text(errors='replace')[-2000:]}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
