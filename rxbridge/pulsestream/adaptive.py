"""How many events a request holds, so that it takes about as long as it should. Pure: no clock, no network."""

from __future__ import annotations

FIRST_REQUEST = 100
"""Events in the first request, of whose cost nothing is known yet: about 0.4 s of an idle PulseStream."""

_MEMORY = 0.8
"""What an observation still weighs when the next one comes."""

_LARGEST_GROWTH = 2.0
_LARGEST_SHRINKING = 0.1


class RequestSize:
    """Learns from each answer what a request costs: a fixed part, and one for each event.

    The two are told apart by a straight line through what was seen lately. While all requests have been of one size,
    and so there is no line, everything counts as the events' part: a slow server is given less at once, and whether
    that makes the answers come sooner, the next ones show. Where the fixed part alone is more than half of the target,
    a request may take twice the fixed part: ever smaller ones would only cost ever more.

    Args:
        largest: Most events in a request.
        target_seconds: What a request should take.
    """

    def __init__(self, largest: int, target_seconds: float) -> None:
        self._largest = largest
        self._target_seconds = target_seconds
        self._events = min(FIRST_REQUEST, largest)
        self._forget()

    @property
    def events(self) -> int:
        """Most events for the next request: at least one."""
        return self._events

    def answered(self, events: int, seconds: float) -> None:
        """Learn from a request that stored all its events; what is refused, or stored already, costs far less."""
        self._weight = self._weight * _MEMORY + 1
        self._sum_n = self._sum_n * _MEMORY + events
        self._sum_s = self._sum_s * _MEMORY + seconds
        self._sum_nn = self._sum_nn * _MEMORY + events * events
        self._sum_ns = self._sum_ns * _MEMORY + events * seconds
        each = self._each()
        if each is not None:
            fixed = (self._sum_s - each * self._sum_n) / self._weight
            wanted = max(self._target_seconds - fixed, fixed) / each if each > 0 else float("inf")
        elif events == 1 and seconds > self._target_seconds:
            # A request cannot be smaller. Whether two events take longer than one must be tried.
            wanted = 2.0
        else:
            wanted = events * self._target_seconds / seconds if seconds > 0 else float("inf")
            if events < self._events:
                # So few, because there were no more. If they took too long, more would not be better.
                wanted = max(wanted, events) if seconds > self._target_seconds else self._events
        least, most = self._events * _LARGEST_SHRINKING, self._events * _LARGEST_GROWTH
        self._events = _whole(min(max(wanted, least), most), self._largest)

    def timed_out(self, events: int) -> None:
        """A request was not answered in time: half of it next, and what was learnt before counts no more."""
        self._events = _whole(min(events, self._events) / 2, self._largest)
        self._forget()

    def _each(self) -> float | None:
        """Seconds of each event; None where there is no line that is worth anything."""
        mean_n, mean_s = self._sum_n / self._weight, self._sum_s / self._weight
        variance = self._sum_nn / self._weight - mean_n * mean_n
        # Sizes that differ by less than a tenth show nothing but noise.
        if variance <= (mean_n / 10) ** 2:
            return None
        slope = (self._sum_ns / self._weight - mean_n * mean_s) / variance
        return min(max(slope, 0.0), mean_s / mean_n)

    def _forget(self) -> None:
        self._weight = self._sum_n = self._sum_s = self._sum_nn = self._sum_ns = 0.0


def _whole(events: float, largest: int) -> int:
    return max(int(min(events, largest)), 1)
