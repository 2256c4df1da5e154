"""A request that found SQLite locked is made again inside the server, because a browser does not make it again.

A transaction that has read and then wants to write is refused at once when another has written in between, whatever
the time to wait. Prefect answers 503, logs nothing, and expects the client to come back. Its Python client does; its
web UI shows "Unknown error while creating flow run" (the old UI: nothing), and the run somebody asked for never comes.
Knows ASGI; knows nothing of Prefect beyond that answer.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds before each further try, at most: each is drawn, so that those who met do not meet again."""

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
BUSY = 503


def asking_again(app: ASGIApp, pauses: Sequence[float] = PAUSES) -> ASGIApp:
    """Wrap `app` so that a writing request answered 503 is made again after each of `pauses`; the last answer stands.

    Making it again is safe for the reason Prefect's client relies on: the transaction that met the lock wrote nothing.
    """

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in WRITES:
            await app(scope, receive, send)
            return
        request = await _whole(receive)
        for pause in pauses:
            if await _answered(app, scope, _again(request, receive), send):
                return
            await asyncio.sleep(random.uniform(pause / 2, pause))
        await app(scope, _again(request, receive), send)

    return wrapped


async def _answered(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> bool:
    """Let `app` answer once; False when the answer was 503, of which nothing is sent."""
    busy = False

    async def unless_busy(message: Message) -> None:
        nonlocal busy
        busy = busy or (message["type"] == "http.response.start" and message["status"] == BUSY)
        if not busy:
            await send(message)

    try:
        await app(dict(scope), receive, unless_busy)
    except Exception:
        if not busy:  # Starlette answers 503 and raises what led to it on top
            raise
    return not busy


async def _whole(receive: Receive) -> list[Message]:
    """All messages of the request, up to the end of its body."""
    messages = [await receive()]
    while messages[-1]["type"] == "http.request" and messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _again(request: list[Message], receive: Receive) -> Receive:
    """Receive `request` from its start; what follows it (the client leaves) comes from the client."""
    rest = iter(request)

    async def replayed() -> Message:
        for message in rest:
            return message
        return await receive()

    return replayed
