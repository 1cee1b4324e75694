"""When an event was delivered long enough ago to be looked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


class Ripening:
    """Which offsets were acknowledged at least so many seconds ago. Pure but for the clock.

    Args:
        seconds: How long an offset takes to ripen.
        clock: Seconds that only rise.
        first_seconds: How long what is acknowledged at the first look takes; nobody knows since when it is.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], *, first_seconds: float | None = None) -> None:
        self._seconds = seconds
        self._first_seconds = seconds if first_seconds is None else first_seconds
        self._clock = clock
        self._growing: deque[tuple[float, int]] = deque()
        self._newest = -1
        self._ripe = 0

    @property
    def step_seconds(self) -> float:
        """How often to look: seldom enough that little is remembered, often enough that little is added to the wait."""
        return min(max(self._seconds / 5, 0.01), 1.0)

    def look(self, acknowledged: int) -> int:
        """Take note of what is acknowledged now; the offset up to which all is ripe."""
        now = self._clock()
        if acknowledged > self._newest:
            # At the end of what the first look found: nothing may overtake it.
            at = now + (self._first_seconds if self._newest < 0 else self._seconds)
            self._growing.append((max(at, self._growing[-1][0] if self._growing else at), acknowledged))
            self._newest = acknowledged
        while self._growing and self._growing[0][0] <= now:
            self._ripe = self._growing.popleft()[1]
        return self._ripe

    def next_at(self) -> float | None:
        """When more will be ripe, by the clock; None if nothing grows."""
        return self._growing[0][0] if self._growing else None
