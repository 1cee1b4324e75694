"""Events that were sent again, until a later request proves that they are stored."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from rxbridge.events import EncodedEvent

MAX_EVENTS = 5_000
MAX_BYTES = 16 * 2**20


class Resent:
    """What was sent again and when it may be looked for. Pure."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, list[EncodedEvent]]] = deque()
        self._events = 0
        self._bytes = 0

    def __len__(self) -> int:
        """How many events wait."""
        return self._events

    @property
    def is_full(self) -> bool:
        """Whether no more should be looked for before some of these are proven."""
        return self._events >= MAX_EVENTS or self._bytes >= MAX_BYTES

    def add(self, events: Sequence[EncodedEvent], due_at: float) -> None:
        """Take events that may be looked for at `due_at`, which is not before that of those added earlier."""
        if events:
            self._waiting.append((due_at, list(events)))
            self._events += len(events)
            self._bytes += sum(len(event.body) for event in events)

    def next_at(self) -> float | None:
        """When the first of them may be looked for; None if there is none."""
        return self._waiting[0][0] if self._waiting else None

    def take(self, now: float) -> list[EncodedEvent]:
        """Let go of those that may be looked for now: the ones of one time."""
        if not self._waiting or self._waiting[0][0] > now:
            return []
        _, events = self._waiting.popleft()
        self._events -= len(events)
        self._bytes -= sum(len(event.body) for event in events)
        return events

    def first_offset(self) -> int | None:
        """The lowest offset of an event that waits; None if there is none."""
        return min((event.offset for _, events in self._waiting for event in events), default=None)
