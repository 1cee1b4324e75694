"""Tells a quiet connection from a dead one. Pure: time and counts come in, what to do comes out."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Finding: TypeAlias = Literal["alive", "ping", "stalled"]

PING: Final = b"rxbridge"
_STEPS = 3
_PROGRESS_BYTES = 16_384


class Watchdog:
    """Declares a connection dead after `stall_seconds` without a data frame, having sent pings meanwhile.

    Silence passes in three equal steps, each taken by one `look` at the earliest after the one before. So a process
    that was suspended for an hour, or a subscriber that blocked, first reads what has come in meanwhile. A frame too
    large to arrive within the time is life too, as long as it keeps coming.

    Attributes:
        alive_at: When the reader was last known to be reading after a data frame; the reader sets it.
        deadline: When to `look` next.
        answers_pings: Whether a ping of this silence was answered.
    """

    def __init__(self, stall_seconds: float, now: float) -> None:
        self.alive_at: float = now
        self.answers_pings: bool = False
        self._step_seconds = stall_seconds / _STEPS
        self._silent_since: float = now
        self._steps = 0
        self._received = 0
        self.deadline: float = now + self._step_seconds

    def look(self, now: float, received: int) -> Finding:
        """Take one step, at the deadline or after it.

        Args:
            now: The time, on the clock of `alive_at`.
            received: How many bytes the connection has received so far of messages that were not complete yet. A
                server that sends nothing but pings, however many, has stalled.
        """
        if received - self._received >= _PROGRESS_BYTES and self.alive_at == self._silent_since:
            self.alive_at = now
        self._received = received
        if self.alive_at != self._silent_since:
            self._silent_since = self.alive_at
            self._steps = 0
            self.answers_pings = False
            if now < self.alive_at + self._step_seconds:
                self.deadline = self.alive_at + self._step_seconds
                return "alive"
        self._steps += 1
        self.deadline = now + self._step_seconds
        return "stalled" if self._steps >= _STEPS else "ping"

    def pong(self, payload: bytes) -> None:
        """A pong came."""
        if payload == PING:
            self.answers_pings = True
