"""A client of Advanced Trade: a connection whose frames are counted."""

from __future__ import annotations

import asyncio

from rxbridge.simulator.advanced.wire import Unnumbered
from rxbridge.simulator.session import Session


class Client:
    """Numbers the frames of one connection, from 0, in the order in which they are sent.

    A frame has its number before a fault can get hold of it: what is lost on the way leaves a hole.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self._next_number = 0
        # Who waits for the client to read must not have been overtaken by the next number.
        self._sending = asyncio.Lock()

    def push(self, channel: str, frame: Unnumbered) -> None:
        """Send a frame now, without waiting for a client that does not read."""
        self.session.push(channel, self._numbered(frame))

    async def send(self, channel: str, frame: Unnumbered) -> None:
        """Send a frame, as fast as the client reads.

        Raises:
            websockets.exceptions.ConnectionClosed: The connection ended.
        """
        async with self._sending:
            await self.session.send(channel, self._numbered(frame))

    def _numbered(self, frame: Unnumbered) -> bytes:
        number = self._next_number
        self._next_number += 1
        return frame.numbered(number)
