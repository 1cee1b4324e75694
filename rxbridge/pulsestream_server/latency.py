"""A slow server."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Latency:
    """Holds each answer back.

    The answer, not the request: what was asked for is done by then except for the commit, which comes after the
    answer. So requests overlap as they do on a server that is slow, and do not see each other's events.

    Args:
        app: Whoever answers.
        seconds: How long.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""

        async def send_later(message: Message) -> None:
            if message["type"] == "http.response.start":
                await asyncio.sleep(self._seconds)
            await send(message)

        await self._app(scope, receive, send_later)
