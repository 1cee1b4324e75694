"""The server: connections that subscribe to a feed, and REST on the same port."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus
from itertools import islice

from loguru import logger
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.http11 import Request as HttpRequest
from websockets.http11 import Response

from rxbridge.errors import ConfigError
from rxbridge.faults import Faults
from rxbridge.simulator import rest
from rxbridge.simulator.faulty_connection import FaultyConnection
from rxbridge.simulator.faulty_rest import Rest
from rxbridge.simulator.faulty_session import FaultySession, Saboteur
from rxbridge.simulator.rest_limit import RateLimit
from rxbridge.simulator.service import Service
from rxbridge.simulator.session import Session, SimulatorStatistics

HOST = "127.0.0.1"
"""Loopback only: this is no server for strangers."""

OPEN_TIMEOUT_SECONDS = 10.0
"""How long a handshake, or a question to REST, may take: longer than a busy machine stands still."""

CLOSE_TIMEOUT_SECONDS = 1.0
"""How long a client may take to answer a close before its connection is cut."""


class SimulatorServer:
    """Serves any number of clients, in the protocol of its service."""

    def __init__(
        self,
        service: Service,
        *,
        port: int,
        seed: int,
        subscribe_deadline_seconds: float,
        backlog_limit_bytes: int,
        rest_limit: RateLimit,
        faults: Faults,
    ) -> None:
        """Prepare a server; `run` opens the port.

        Args:
            service: Answers the clients, and feeds them.
            port: The TCP port on loopback; 0 for any that is free.
            seed: Makes what faults leave to chance.
            subscribe_deadline_seconds: How long a client may take to subscribe to something.
            backlog_limit_bytes: How much may wait for a client that reads too slowly.
            rest_limit: How many REST requests are answered.
            faults: What goes wrong, and when, counted from when clients can connect.
        """
        self.statistics: SimulatorStatistics = SimulatorStatistics(faults=faults.counts)
        self._service = service
        self._port = port
        self._subscribe_deadline_seconds = subscribe_deadline_seconds
        self._backlog_limit_bytes = backlog_limit_bytes
        # In the order in which they came; a set has none.
        self._sessions: dict[Session, None] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._faults = faults
        self._rest = Rest(
            faults, rest_limit, products=service.products, markets=service.markets, delisted=service.delisted
        )
        self._saboteur = Saboteur(faults, seed, self._sessions.keys())

    async def run(self, stop: asyncio.Event, listening: Callable[[int], None]) -> None:
        """Serve until `stop` is set, then close every connection with code 1001.

        Args:
            stop: Ends it.
            listening: Called with the port, once clients can connect.

        Raises:
            ConfigError: The port cannot be listened on.
        """
        try:
            server = await serve(
                self._converse,
                HOST,
                self._port,
                process_request=self._answer_http,
                create_connection=FaultyConnection if self._faults else None,
                # An answer of REST is a handshake that ends otherwise.
                open_timeout=OPEN_TIMEOUT_SECONDS + self._rest.longest_delay_seconds,
                close_timeout=CLOSE_TIMEOUT_SECONDS,
                # Coinbase's heartbeats are messages; and a client that is slow to read is slow to answer a ping.
                ping_interval=None,
            )
        except OSError as error:
            raise ConfigError("port", f"{self._port} cannot be listened on: {error.strerror or error}") from error
        try:
            self._faults.start()
            listening(next(iter(server.sockets)).getsockname()[1])
            await self._feed_until(stop)
        finally:
            server.close(close_connections=False)
            await self.disconnect(CloseCode.GOING_AWAY, "")
            await server.wait_closed()
            await asyncio.gather(*self._closing)

    async def disconnect(self, code: int | None, reason: str, *, most: int | None = None) -> int:
        """Close connections, those first that came first, with a close frame or, if `code` is None, without one.

        Args:
            code: The WebSocket close code.
            reason: The close reason.
            most: How many at most; None for all.

        Returns:
            How many it were.
        """
        connections = [session.connection for session in islice(self._sessions, most)]
        if code is None:
            for connection in connections:
                connection.transport.abort()
        else:
            await asyncio.gather(*(_close(connection, code, reason) for connection in connections))
        await asyncio.gather(*(connection.wait_closed() for connection in connections))
        return len(connections)

    async def _feed_until(self, stop: asyncio.Event) -> None:
        feeding = asyncio.create_task(self._work())
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((feeding, stopping), return_when=asyncio.FIRST_COMPLETED)
            if feeding.done():
                feeding.result()
        finally:
            feeding.cancel()
            stopping.cancel()
            await asyncio.wait((feeding, stopping))

    async def _work(self) -> None:
        if not self._faults:
            await self._service.run()
            return
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._service.run())
            tasks.create_task(self._saboteur.run())

    async def _converse(self, connection: ServerConnection) -> None:
        session = self._session(connection)
        self.statistics.connections += 1
        self._sessions[session] = None
        loop = asyncio.get_running_loop()
        deadline = loop.call_later(self._subscribe_deadline_seconds, self._give_up_silent, session)
        if isinstance(session, FaultySession):
            self._saboteur.opened(session)
        try:
            with contextlib.suppress(ConnectionClosed):
                async for message in connection:
                    if self._service.obey(session, message):
                        deadline.cancel()
        finally:
            deadline.cancel()
            del self._sessions[session]
            self._service.leave(session)

    def _session(self, connection: ServerConnection) -> Session:
        limit, too_slow = self._backlog_limit_bytes, self._give_up_slow
        if isinstance(connection, FaultyConnection):
            return self._saboteur.session(connection, self.statistics, backlog_limit_bytes=limit, too_slow=too_slow)
        return Session(connection, self.statistics, backlog_limit_bytes=limit, too_slow=too_slow)

    def _give_up_slow(self, session: Session) -> None:
        self.statistics.slow_clients += 1
        logger.warning("simulator: a client reads too slowly, more than {} bytes wait", self._backlog_limit_bytes)
        self._give_up(session, "ErrSlowConsume")

    def _give_up_silent(self, session: Session) -> None:
        if not session.is_heard:
            return
        self.statistics.silent_clients += 1
        self._give_up(session, f"no subscribe within {self._subscribe_deadline_seconds:g} s")

    def _give_up(self, session: Session, reason: str) -> None:
        closing = asyncio.create_task(_close(session.connection, CloseCode.POLICY_VIOLATION, reason))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def _answer_http(self, connection: ServerConnection, request: HttpRequest) -> Response | None:
        del connection
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return None
        answer = await self._rest.answer(request.path) if request.method == "GET" else rest.METHOD_NOT_ALLOWED
        headers = Headers(
            {
                "Content-Type": "application/json; charset=utf-8",
                "Content-Length": str(len(answer.body)),
                "Connection": "close",
                **answer.headers,
            }
        )
        return Response(answer.status, HTTPStatus(answer.status).phrase, headers, answer.body)


async def _close(connection: ServerConnection, code: int, reason: str) -> None:
    """Close a connection; cut it if that takes too long.

    The library's own time-out only begins when the close frame is on its way: it waits without end where a client that
    does not read holds up what is to be sent before.
    """
    try:
        await asyncio.wait_for(connection.close(code, reason), CLOSE_TIMEOUT_SECONDS)
    except TimeoutError:
        connection.transport.abort()
