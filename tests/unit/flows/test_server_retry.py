"""A request that found the database locked is made again; anything else passes through untouched."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from flows.server_retry import asking_again


class Busy(Exception):
    pass


class Server:
    """An app that is busy for the first `busy` requests and then repeats the body it was sent."""

    def __init__(self, busy: int, status: int = 503) -> None:
        self.busy, self.status, self.asked = busy, status, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        body, more = b"", True
        while more:
            message = await receive()
            body += message["body"]
            more = message["more_body"]
        status = self.status if self.asked <= self.busy else 201
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": body})
        if status >= 500:
            raise Busy  # as Starlette does after its answer to an error


def answer(server: Server, method: str = "POST", pauses: tuple[float, ...] = (0, 0)) -> list[dict[str, Any]]:
    """What a client that sends a body in two pieces is sent."""
    parts = iter([(b"run ", True), (b"this", False)])
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        body, more = next(parts)
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(asking_again(server, pauses)({"type": "http", "method": method}, receive, send))  # type: ignore[arg-type]
    return sent


def test_a_busy_answer_is_never_seen_and_the_body_is_sent_again_whole() -> None:
    server = Server(busy=2)
    start, body = answer(server)
    assert (server.asked, start["status"], body["body"]) == (3, 201, b"run this")


def test_a_server_that_stays_busy_says_so_in_the_end() -> None:
    server = Server(busy=9)
    with pytest.raises(Busy):
        answer(server)
    assert server.asked == 3


@pytest.mark.parametrize(("method", "status"), [("GET", 503), ("POST", 500)])
def test_reading_and_other_errors_are_left_alone(method: str, status: int) -> None:
    server = Server(busy=9, status=status)
    with pytest.raises(Busy):
        answer(server, method)
    assert server.asked == 1
