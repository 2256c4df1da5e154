"""One local Prefect server per user: found or started, shared, and gone when its last user is gone.

Users are files `users/<pid>-<start time>`; whoever leaves last stops the server, and the server itself
watches the same folder, so that a user killed with SIGKILL does not keep it alive. All changes happen under
one file lock, so two command lines at once start one server. Knows no flow and no job; `PREFECT_API_URL`,
when set, is used as it is.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from filelock import FileLock

from configs.errors import SteadyframeError
from configs.settings import load_settings

START_SECONDS = 120.0  # the first start migrates a new database: 11 s here, more on a busy machine
STOP_SECONDS = 15.0

SERVER_ENVIRONMENT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT__SERVER_FINAL": "1",
    "DO_NOT_TRACK": "1",
}


@dataclass(frozen=True)
class Process:
    """A process told apart from a later one with the same number by its start time (seconds since the
    epoch).
    """

    pid: int
    started: float

    @classmethod
    def current(cls) -> Process:
        """This process."""
        return cls(os.getpid(), psutil.Process().create_time())

    def alive(self) -> bool:
        """Whether it still runs (a zombie does not)."""
        return self.find() is not None

    def find(self) -> psutil.Process | None:
        """Return the running process, or None when it ended or its number now belongs to another."""
        try:
            process = psutil.Process(self.pid)
            # tolerance: psutil derives the time from the boot time, which moves when the clock is adjusted
            same = abs(process.create_time() - self.started) < 1.0
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None


@dataclass(frozen=True)
class ServerRecord:
    """What `server.json` says: which process serves where, and whether it has begun to stop."""

    pid: int
    started: float
    port: int
    stopping: bool = False

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def process(self) -> Process:
        """The serving process."""
        return Process(self.pid, self.started)

    @classmethod
    def read(cls, folder: Path) -> ServerRecord | None:
        """Read the record; None when there is none or it is not ours to understand."""
        try:
            return cls(**json.loads((folder / "server.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """Write the record in one piece."""
        part = folder / f"server.json.{os.getpid()}"
        part.write_text(json.dumps(asdict(self)))
        os.replace(part, folder / "server.json")


@contextmanager
def local_api(folder: Path | None = None) -> Iterator[str]:
    """Yield the URL of a Prefect API for the `with` block: the configured one, else this user's local
    server.

    Raises `SteadyframeError` with the server's last words when it does not start. On the way out our events
    and logs are delivered before the server may stop: without that, the last task records of a run would be
    lost.
    """
    from prefect.settings import PREFECT_API_URL, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE, temporary_settings

    given = PREFECT_API_URL.value()
    if given:
        yield given
        return
    folder = folder or load_settings().server_dir.expanduser().absolute()
    url = join(folder)
    try:
        with temporary_settings({PREFECT_API_URL: url, PREFECT_SERVER_ALLOW_EPHEMERAL_MODE: False}):
            try:
                yield url
            finally:
                _deliver()
    finally:
        leave(folder)


def join(folder: Path) -> str:
    """Register this process as a user of the server of `folder`, start it if needed, and return its URL."""
    (folder / "users").mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "lock", timeout=START_SECONDS + STOP_SECONDS):
        _user_file(folder, Process.current()).touch()
        try:
            record = ServerRecord.read(folder)
            if record and not record.stopping and record.process.alive() and _healthy(record.url):
                return record.url
            if record:
                _stop(record)
            return _start(folder).url
        except BaseException:
            _user_file(folder, Process.current()).unlink(missing_ok=True)
            raise


def leave(folder: Path) -> None:
    """Take this process off the users, and stop the server when nobody is left."""
    with FileLock(folder / "lock", timeout=START_SECONDS + STOP_SECONDS):
        _user_file(folder, Process.current()).unlink(missing_ok=True)
        record = ServerRecord.read(folder)
        if record and not users(folder):
            _stop(record)  # the record stays: the next server takes the same port if it can


def users(folder: Path) -> list[Process]:
    """Live users of the server of `folder`; files of dead ones are removed on the way."""
    alive = []
    for file in sorted((folder / "users").glob("*-*")):
        pid, _, started = file.name.partition("-")
        user = Process(int(pid), int(started) / 1000)
        if user.alive():
            alive.append(user)
        else:
            file.unlink(missing_ok=True)
    return alive


def _user_file(folder: Path, user: Process) -> Path:
    return folder / "users" / f"{user.pid}-{round(user.started * 1000)}"


def _start(folder: Path) -> ServerRecord:
    """Start the server and wait until it answers. The lock is held."""
    previous = ServerRecord.read(folder)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_API_")}
    environment |= SERVER_ENVIRONMENT | {
        "PREFECT_HOME": str(folder),
        # not into the installed package, which other users share and may not write
        "PREFECT_UI_STATIC_DIRECTORY": str(folder / "ui"),
        "PREFECT_API_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{folder / 'prefect.db'}",
    }
    (folder / "server.json").unlink(missing_ok=True)
    command = [
        sys.executable,
        "-m",
        "flows.server_process",
        str(folder),
        "--port",
        str(previous.port if previous else 0),
    ]
    with (folder / "server.log").open("wb") as log:
        child = subprocess.Popen(
            command,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C meant for one command line must not end the server of all
        )
    deadline = time.monotonic() + START_SECONDS
    while child.poll() is None and time.monotonic() < deadline:
        record = ServerRecord.read(folder)
        if record and record.pid == child.pid and _healthy(record.url):
            threading.Thread(target=child.wait, daemon=True).start()  # reaps it, should it end before we do
            return record
        time.sleep(0.1)
    ended = f"did not answer within {START_SECONDS:.0f} s" if child.poll() is None else "ended while starting"
    child.kill()
    child.wait()
    words = (folder / "server.log").read_text(errors="replace").strip()[-600:]
    raise SteadyframeError(
        f"the local Prefect server {ended}: {words or 'it said nothing'} "
        f"(log: {folder / 'server.log'}; or set PREFECT_API_URL to a server of yours)"
    )


def _stop(record: ServerRecord) -> None:
    """End the server process if it is still there, gently first. The lock is held."""
    process = record.process.find()
    if process is None:
        return
    try:
        process.terminate()
        process.wait(STOP_SECONDS)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait(STOP_SECONDS)
    except psutil.NoSuchProcess:
        return


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _deliver() -> None:
    """Hand everything this process still has queued (task events, logs) to the server, 10 s at most each."""
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (EventsWorker, APILogWorker):
        drained = worker.drain_all(timeout=10)
        if drained is not None and not isinstance(drained, bool):  # a coroutine when a loop runs: not our case
            logging.getLogger(__name__).debug("queues are drained by the running loop")
