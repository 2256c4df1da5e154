"""A web server of the test's own that keeps what it is told."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any


@dataclass
class Listener:
    """`told` are the bodies of POSTs in order, as JSON; every one, and every GET, is answered with `answer`."""

    url: str = ""
    answer: int = 200
    told: list[Any] = field(default_factory=list)


@contextmanager
def listening(answer: int = 200) -> Iterator[Listener]:
    """Listen on a free loopback port for the `with` block."""
    kept = Listener(answer=answer)

    class Keeps(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept.told.append(json.loads(body))
            self.send_response(kept.answer)
            self.end_headers()

        def do_GET(self) -> None:
            self.send_error(kept.answer)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Keeps) as server:
        kept.url = f"http://127.0.0.1:{server.server_port}/hook?token=planted-token-1234"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield kept
        finally:
            server.shutdown()
            thread.join()
