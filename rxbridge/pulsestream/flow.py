"""How much is sent at once, and when: the pace and the size of requests, fed with what becomes of them."""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom

from rxbridge.errors import ReadTimedOut, ServerFailed, Throttled
from rxbridge.pulsestream.adaptive import RequestSize
from rxbridge.pulsestream.answers import BatchAnswer
from rxbridge.pulsestream.limits import Limit, told_limit
from rxbridge.pulsestream.pacing import Allowance, Pace

SPREAD_SECONDS = 2.0
"""After a rate limit, clients go on at random moments of this time, and not all at the same one."""

_COUNTED_BUT_NOT_STORED = frozenset({200, 500})
"""With these, PulseStream may have counted events against the rate limit, and rolled them back."""


class Flow:
    """What the next request may hold.

    Args:
        largest_request: Most events in a request.
        target_seconds: How long a request should take.
        events_per_minute: The tenant's rate limit; None to learn it.
        clock: Nanoseconds since the Unix epoch.
        monotonic: Seconds that only rise.
    """

    def __init__(
        self,
        *,
        largest_request: int,
        target_seconds: float,
        events_per_minute: int | None,
        clock: Callable[[], int],
        monotonic: Callable[[], float],
    ) -> None:
        self._size = RequestSize(largest_request, target_seconds)
        self._pace = Pace(events_per_minute)
        self._clock = clock
        self._monotonic = monotonic
        self._began = 0.0

    @property
    def request_size(self) -> int:
        """Most events in a request, whatever the rate limit."""
        return self._size.events

    @property
    def limit(self) -> Limit | None:
        """What is believed of the rate limit."""
        return self._pace.limit

    def begin(self, *, hurry: bool) -> Allowance:
        """How many events a request may hold that begins now; see `Pace.allowance`."""
        self._began = self._monotonic()
        allowance = self._pace.allowance(self._began, hurry=hurry)
        return Allowance(min(allowance.events, self._size.events), allowance.seconds)

    def answered(self, answer: BatchAnswer, *, stored: int, throttled: int, learns: bool) -> float:
        """Learn from an answer.

        Args:
            answer: The answer.
            stored: How many events it says to have stored.
            throttled: How many it put off because of the rate limit.
            learns: Whether the time that it took says something.

        Returns:
            How long to pause now.
        """
        now = self._monotonic()
        if learns and stored == len(answer.outcomes):
            self._size.answered(stored, now - self._began)
        if not throttled:
            self._pace.answered(now, stored=stored, server_time=answer.server_time)
            return 0.0
        seconds = self._until(answer.resume_at)
        self._pace.refused(
            now, resume_seconds=seconds, stored=stored, limit=answer.limit, server_time=answer.server_time
        )
        return self._spread(seconds)

    def throttled(self, error: Throttled) -> float:
        """Learn from a request of which nothing was taken; how long to pause now."""
        seconds = self._until(error.resume_at)
        if not error.named:
            # Who names a time has a limit of another kind: nothing follows from it for PulseStream's windows.
            self._pace.refused(self._monotonic(), resume_seconds=seconds, limit=told_limit([error.detail]))
        return self._spread(seconds)

    def failed(self, error: Exception, events: int) -> None:
        """Learn from a request of so many events that failed."""
        timed_out = isinstance(error, ReadTimedOut)
        if timed_out:
            self._size.timed_out(events)
        if timed_out or (isinstance(error, ServerFailed) and error.status in _COUNTED_BUT_NOT_STORED):
            self._pace.unanswered(self._monotonic(), events)

    def _until(self, moment: float) -> float:
        return max(moment - self._clock() / 1e9, 0.0)

    @staticmethod
    def _spread(seconds: float) -> float:
        return seconds + SystemRandom().uniform(0.0, SPREAD_SECONDS)
