"""Clients that are not served as they should be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from random import Random
from typing import cast

from rxbridge.faults import Fault, Faults
from rxbridge.simulator.faulty_connection import FaultyConnection
from rxbridge.simulator.session import Session, SimulatorStatistics
from rxbridge.simulator.spoiling import Outgoing, Spoiler

ANSWER_SECONDS = 1.0
"""How long a client may take to answer a close frame before its connection is cut."""


class FaultySession(Session):
    """A connection whose frames are spoiled on their way."""

    def __init__(
        self,
        connection: FaultyConnection,
        statistics: SimulatorStatistics,
        spoiler: Spoiler,
        *,
        backlog_limit_bytes: int,
        too_slow: Callable[[Session], None],
        number: int,
    ) -> None:
        """Take a connection, as `Session` does.

        Args:
            connection: An open connection.
            statistics: Where frames are counted, those that were made up by the name of their fault.
            spoiler: What becomes of the frames.
            backlog_limit_bytes: How much `push` lets wait in memory.
            too_slow: Called by `push` when more than that waits.
            number: How many were connected up to this one.
        """
        super().__init__(connection, statistics, backlog_limit_bytes=backlog_limit_bytes, too_slow=too_slow)
        self.faulty = connection
        self.number = number
        self._spoiler = spoiler

    @property
    def is_heard(self) -> bool:
        """Not while the connection is half open."""
        return not self.faulty.is_silent

    def push(self, kind: str, frame: bytes, *, text: bool = True) -> None:
        """Send what becomes of a frame."""
        del text
        if not self.faulty.is_mute and self.takes_frames:
            for outgoing in self._spoiled(kind, frame):
                super().push(outgoing.kind, outgoing.data, text=outgoing.text)

    async def send(self, kind: str, frame: bytes, *, text: bool = True) -> None:
        """Send what becomes of a frame, as fast as the client reads.

        Raises:
            websockets.exceptions.ConnectionClosed: The connection ended.
        """
        del text
        if not self.faulty.is_mute:
            for outgoing in self._spoiled(kind, frame):
                await super().send(outgoing.kind, outgoing.data, text=outgoing.text)

    def _spoiled(self, kind: str, frame: bytes) -> list[Outgoing]:
        spoiled = self._spoiler.spoil(kind, frame)
        for outgoing in spoiled:
            self._frames.setdefault(outgoing.kind, 0)
        return spoiled


class Saboteur:
    """Commits the faults of a schedule that concern connections: at each beginning, and while they last.

    At its beginning a fault hits who is connected; while it lasts, who connects.
    """

    KINDS = ("silence", "trickle", "reset", "close")

    def __init__(self, faults: Faults, seed: int, sessions: Collection[Session]) -> None:
        """Prepare.

        Args:
            faults: The schedule.
            seed: Makes what is left to chance.
            sessions: Who is connected; it changes.
        """
        self._faults = faults
        self._seed = seed
        self._sessions = sessions
        self._opened = 0
        self._largest_frame = max((fault.whole("bytes") for fault in faults.of("huge")), default=0)
        self._closing: set[asyncio.Task[None]] = set()

    def session(
        self,
        connection: FaultyConnection,
        statistics: SimulatorStatistics,
        *,
        backlog_limit_bytes: int,
        too_slow: Callable[[Session], None],
    ) -> FaultySession:
        """A connection of which the schedule makes what it will."""
        self._opened += 1
        dice = Random(f"{self._seed} connection {self._opened}")  # noqa: S311  (dice, not a secret)
        return FaultySession(
            connection,
            statistics,
            Spoiler(self._faults, dice),
            # A huge frame by itself is no sign of a client that does not read.
            backlog_limit_bytes=backlog_limit_bytes + self._largest_frame,
            too_slow=too_slow,
            number=self._opened,
        )

    def opened(self, session: FaultySession) -> None:
        """Somebody has connected."""
        for kind in self.KINDS:
            for fault in self._faults.lasting(kind):
                if fault.text("clients") == "all":
                    self._hit(fault, session)

    async def run(self) -> None:
        """Wait for the beginnings until cancelled; the schedule has started."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for fault in self._faults.of(*self.KINDS):
                    tasks.create_task(self._await_beginnings(fault))
        finally:
            for task in self._closing:
                task.cancel()

    async def _await_beginnings(self, fault: Fault) -> None:
        for beginning in fault.beginnings():
            while (wait := beginning - self._faults.elapsed) > 0:  # noqa: ASYNC110  a timer may be a trifle early
                await asyncio.sleep(wait)
            # Nobody is connected but through `session`.
            sessions = cast("list[FaultySession]", list(self._sessions))
            connected = sorted([one for one in sessions if one.takes_frames], key=lambda session: session.number)
            for session in connected if fault.text("clients") == "all" else connected[:1]:
                self._hit(fault, session)

    def _hit(self, fault: Fault, session: FaultySession) -> None:
        connection = session.faulty
        if not session.takes_frames or connection.is_mute or not self._faults.happens(fault):
            return
        self._faults.fired(fault)
        left = self._seconds_left(fault)
        match fault.kind:
            case "silence":
                connection.fall_silent(left)
            case "trickle":
                connection.drip(fault.number("bytes_per_second"), left)
            case "reset":
                connection.reset()
            case _:
                self._close(connection, fault.whole("code"), fault.text("reason"))

    def _seconds_left(self, fault: Fault) -> float:
        elapsed = self._faults.elapsed
        return fault.end(fault.occurrence(elapsed) or 0) - elapsed

    def _close(self, connection: FaultyConnection, code: int, reason: str) -> None:
        connection.say_goodbye(code, reason)
        closing = asyncio.create_task(_cut_later(connection))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)


async def _cut_later(connection: FaultyConnection) -> None:
    try:
        await asyncio.wait_for(connection.wait_closed(), ANSWER_SECONDS)
    except TimeoutError:
        connection.transport.abort()
