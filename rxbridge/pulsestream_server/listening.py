"""uvicorn, with a door that a schedule can close."""

from __future__ import annotations

import asyncio
import math
import socket

import uvicorn

from rxbridge.faults import Fault, Faults
from rxbridge.pulsestream_server.connection import Connection
from rxbridge.pulsestream_server.tls import FAULT as WRONG_CERTIFICATE

HOST = "127.0.0.1"


def bound(port: int) -> socket.socket:
    """A socket that has the port, and does not listen: who connects is refused.

    Raises:
        OSError: The port cannot be had.
    """
    # The protocol is named because asyncio turns Nagle's algorithm off only where it reads TCP: 40 ms an answer.
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind((HOST, port))
    except OSError:
        holder.close()
        raise
    return holder


def listening(port: int) -> socket.socket:
    """A socket that listens at once: a client that comes before the server is ready waits in the backlog.

    Raises:
        OSError: The port cannot be had.
    """
    listener = bound(port)
    listener.listen()
    return listener


class ScheduledServer(uvicorn.Server):
    """Commits the faults that concern connections as such, each from its beginning to its end.

    While a `refuse` lasts nobody listens. The port stays ours, by a socket that has it and does not listen: else it
    could go to another process, or to a client that so connects to itself. Where a `refuse` or a `wrong_certificate`
    begins, the connections that are open are closed, as by a server that is started anew.

    Args:
        configuration: uvicorn's.
        port: The one that is listened on.
        faults: The schedule; its time starts when the server listens.
        stopping: Set when the server ends.

    Attributes:
        failure: Why the server ended by itself; None if it did not.
    """

    def __init__(self, configuration: uvicorn.Config, *, port: int, faults: Faults, stopping: asyncio.Event) -> None:
        super().__init__(configuration)
        self.failure: BaseException | None = None
        self._port = port
        self._faults = faults
        self._stopping = stopping
        self._door = asyncio.Lock()
        self._closed_by = 0
        self._holder: socket.socket | None = None
        self._scheduled: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and begin with the schedule."""
        await super().startup(sockets)
        self._faults.start()
        work = [self._refuse(fault) for fault in self._faults.of("refuse")]
        work += [self._retire_at_each_beginning(fault) for fault in self._faults.of(WRONG_CERTIFICATE)]
        self._scheduled = [asyncio.create_task(part) for part in work]
        for task in self._scheduled:
            task.add_done_callback(self._ended)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer who waits, and end."""
        self._stopping.set()
        for task in self._scheduled:
            task.cancel()
        await asyncio.gather(*self._scheduled, return_exceptions=True)
        if self._holder is not None:
            self._holder.close()
        await super().shutdown(sockets)

    async def _refuse(self, fault: Fault) -> None:
        for number, begins in enumerate(fault.beginnings()):
            await self._until(begins)
            if self._is_over(fault, number) or not self._faults.happens(fault):
                continue
            self._faults.fired(fault)
            async with self._door:
                self._close_door()
            await self._until(fault.end(number))
            async with self._door:
                await self._open_door()

    async def _retire_at_each_beginning(self, fault: Fault) -> None:
        for number, begins in enumerate(fault.beginnings()):
            await self._until(begins)
            if not self._is_over(fault, number):
                self._retire_connections()

    def _is_over(self, fault: Fault, number: int) -> bool:
        """Whether it came and went unnoticed, while the process was suspended."""
        return fault.end(number) <= self._faults.elapsed

    async def _until(self, moment: float) -> None:
        if moment == math.inf:
            await self._stopping.wait()
            return
        # Again where the timer was a little early: the fault would not have begun yet.
        while (seconds := moment - self._faults.elapsed) > 0:  # noqa: ASYNC110 - time is no event
            await asyncio.sleep(seconds)

    def _close_door(self) -> None:
        self._closed_by += 1
        if self._closed_by == 1:
            for server in self.servers:
                server.close()
            self._holder = bound(self._port)
        self._retire_connections()

    async def _open_door(self) -> None:
        self._closed_by -= 1
        if self._closed_by or self._holder is None or self._stopping.is_set():
            return
        listener, self._holder = self._holder, None
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            self._connection, sock=listener, ssl=self.config.ssl, backlog=self.config.backlog
        )
        self.servers: list[asyncio.Server] = [server]

    def _connection(self) -> Connection:
        return Connection(self.config, self.server_state, self.lifespan.state, asyncio.get_running_loop())

    def _retire_connections(self) -> None:
        for connection in list(self.server_state.connections):
            if isinstance(connection, Connection):
                connection.retire()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (problem := task.exception()) is not None:
            self.failure = problem
            self.should_exit = True
