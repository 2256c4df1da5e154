"""The process behind `flows.server`: Prefect's API and UI on the loopback, ending by itself when nobody uses it.

Run as `python -m flows.server_process FOLDER`. Knows the folder's records; starts no other process.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from configs.errors import SteadyframeError
from flows.server import STOP_SECONDS, Process, ServerRecord, users
from flows.server_retry import asking_again

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LINGER_SECONDS = 5.0  # how long the server stays without a live user (one that leaves politely stops it at once)


def serve(folder: Path, port: int) -> None:
    """Be the server: serve until told to stop or until no live user remains. Runs in a process of its own."""
    listener = _listen(port)
    port = listener.getsockname()[1]
    os.environ["PREFECT_SERVER_API_PORT"] = str(port)
    os.environ["PREFECT_UI_API_URL"] = f"http://127.0.0.1:{port}/api"

    import uvicorn
    from prefect.server.api.server import create_app

    config = uvicorn.Config(
        _without_telemetry(asking_again(create_app(final=True))),
        log_level="warning",
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
    )
    server = uvicorn.Server(config)
    me = Process.current()
    record = ServerRecord(me.pid, me.started, port)
    record.write(folder)
    threading.Thread(target=_watch, args=(folder, record, server), daemon=True).start()
    server.run(sockets=[listener])


def _without_telemetry(app: ASGIApp) -> ASGIApp:
    """Let pages talk to this server only: the new UI asks amplitude for settings, whatever its switches say."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", b"connect-src 'self' data:")]
            await send(message)

        await app(scope, receive, with_policy)

    return wrapped


def _listen(port: int) -> socket.socket:
    """Bind the loopback: the port used last time if it is free (browser tabs stay valid), else any free
    one.
    """
    for wanted in (port, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except OSError:
            listener.close()
            continue
        return listener
    raise SteadyframeError("no free port on 127.0.0.1 for the local Prefect server")


def _watch(folder: Path, record: ServerRecord, server: object) -> None:
    """Stop the server once no live user was seen for `LINGER_SECONDS`; no user can join while that is
    decided.
    """
    seen = time.monotonic()
    while time.monotonic() - seen < LINGER_SECONDS or not _retire(folder, record):
        time.sleep(0.5)
        if not folder.exists():
            break
        if users(folder):
            seen = time.monotonic()
    setattr(server, "should_exit", True)  # noqa: B010  (uvicorn's own way to be asked)
    time.sleep(STOP_SECONDS)
    os._exit(1)  # a connection that never closes must not keep a server without users alive


def _retire(folder: Path, record: ServerRecord) -> bool:
    """Mark the server as stopping unless somebody is joining right now or has joined."""
    try:
        with FileLock(folder / "lock", timeout=0):
            if users(folder):
                return False
            ServerRecord(record.pid, record.started, record.port, stopping=True).write(folder)
            return True
    except Timeout:
        return False


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve Prefect's API and UI on the loopback until unused.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    serve(arguments.folder, arguments.port)
