"""A request and its answer, between the client and the application, for a fault that stands in between."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rxbridge.pulsestream_server.connection import Connection

Alter: TypeAlias = Callable[[bytes], tuple[int, bytes]]
"""Makes another answer, status and body, of the body of a 200."""

NEVER = math.inf


class _NeverCommitted(Exception):
    """The application was stopped after its answer, and before its commit."""


class Exchange:
    """One request.

    Args:
        app: Whoever would answer.
        scope: What is asked.
        receive: Gives the rest of what the client sends.
        send: Takes what the client gets.
        stopping: Set when the server ends: nobody is to be kept waiting then.
    """

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, *, stopping: asyncio.Event) -> None:
        self.scope = scope
        self._app = app
        self._receive = receive
        self._send = send
        self._stopping = stopping
        self._body: bytes | None = None

    async def body(self) -> bytes:
        """What was sent, all of it.

        Raises:
            ClientDisconnect: The client has gone before its end.
        """
        if self._body is None:
            parts: list[bytes] = []
            more = True
            while more:
                message = await self._receive()
                if message["type"] != "http.request":
                    raise ClientDisconnect
                parts.append(message.get("body", b""))
                more = message.get("more_body", False)
            self._body = b"".join(parts)
        return self._body

    async def answer(self, response: Response) -> None:
        """Answer in the application's place; it never hears of the request."""
        await self.body()
        await response(self.scope, self._receive, self._send)

    def hang_up(self) -> None:
        """Close the connection after the answer, and do not say so."""
        Connection.of(self.scope).hang_up()

    async def break_off(self) -> None:
        """Reset the connection, with the rest of the request unread: all but the first piece."""
        await self._receive()
        await self._reset()

    async def wait(self, seconds: float) -> None:
        """Keep the client waiting; less long if the server ends."""
        if seconds:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), seconds)

    async def pass_on(
        self,
        *,
        hold_seconds: float = 0.0,
        alter: Alter | None = None,
        breaks_off: bool = False,
        commit_after_seconds: float = 0.0,
    ) -> None:
        """Let the application answer, and commit after the answer as it does; whether or not the client is still there.

        Args:
            hold_seconds: How long its answer is held back. Its transaction has begun by then, and what else is stored
                meanwhile it does not see.
            alter: What is made of its answer, if that is a 200.
            breaks_off: The connection is reset when half of the answer is sent.
            commit_after_seconds: How long after the answer it commits. `NEVER`: as if it had died in between.
        """
        body = await self.body()
        start: Message = {}
        parts: list[bytes] = []

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                await self.wait(hold_seconds)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body", False):
                return
            await self._send_whole(start, b"".join(parts), alter, breaks_off=breaks_off)
            if commit_after_seconds == NEVER:
                raise _NeverCommitted
            await self.wait(commit_after_seconds)

        with suppress(_NeverCommitted):
            await self._app(self.scope, self._again(body), send)

    async def _send_whole(self, start: Message, body: bytes, alter: Alter | None, *, breaks_off: bool) -> None:
        if alter is not None and start["status"] == 200:  # noqa: PLR2004 - the status that stands for success
            start["status"], body = alter(body)
            others = [(name, value) for name, value in start["headers"] if name != b"content-length"]
            start["headers"] = [*others, (b"content-length", str(len(body)).encode())]
        await self._send(start)
        if breaks_off:
            await self._send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
            await self._reset()
        else:
            await self._send({"type": "http.response.body", "body": body})

    async def _reset(self) -> None:
        Connection.of(self.scope).reset()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def _again(self, body: bytes) -> Receive:
        """Gives the application what was read already, and then what comes."""
        request: list[dict[str, Any]] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return request.pop() if request else await self._receive()

        return receive
