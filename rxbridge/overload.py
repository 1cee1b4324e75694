"""When PulseStream is slower than the market: noticing it, saying it once, and what a policy then gives up.

Pure: counts and times come in, decisions come out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal, TypeAlias

import msgspec

from rxbridge.events import EncodedEvent
from rxbridge.telemetry.statistics import Statistics

Policy: TypeAlias = Literal["keep", "conflate", "drop_oldest"]
"""`keep` gives nothing up; `conflate` all quotes of a product but the newest; `drop_oldest` what waited too long."""

WINDOW_EVENTS = 10_000
"""How far a policy looks ahead: the most events of which the superfluous ones are given up together."""

_SUSTAINED_SECONDS = 30.0
_NOTABLE_AGE_SECONDS = 10.0
_CALM_AGE_SECONDS = 5.0
_CALM_SECONDS = 120.0


class Load(msgspec.Struct, frozen=True):
    """What a moment looks like.

    Attributes:
        at: Seconds that only rise.
        arrived: Frames that were ever received.
        settled: Frames that are acknowledged.
        delivered: Events that were ever delivered.
        throttled: How often the rate limit was met.
        dropped: Events that a policy has given up.
        oldest_seconds: How long the oldest waiting frame has waited.
        journal_bytes: What the journal holds.
        journal_limit: What it may hold.
    """

    at: float
    arrived: int
    settled: int
    delivered: int
    throttled: int
    dropped: int
    oldest_seconds: float
    journal_bytes: int
    journal_limit: int

    @property
    def waiting(self) -> int:
        """Frames that are not acknowledged."""
        return self.arrived - self.settled


def load_of(statistics: Statistics, *, at: float, journal_limit: int) -> Load:
    """The load that the statistics show."""
    return Load(
        at=at,
        arrived=statistics.arrived_frames,
        settled=statistics.arrived_frames - statistics.waiting_frames,
        delivered=statistics.delivery.delivered,
        throttled=statistics.delivery.throttled,
        dropped=statistics.delivery.dropped,
        oldest_seconds=statistics.oldest_waiting_seconds,
        journal_bytes=statistics.journal_bytes,
        journal_limit=journal_limit,
    )


class OverloadMonitor:
    """Tells a PulseStream that is too slow from one that is down, and from a backlog that is being worked off.

    Overloaded is: for half a minute the backlog has grown, although PulseStream answers, and what waits has waited for
    a notable time. It is over when for two minutes nothing waited long, and no policy had to give anything up.

    Args:
        policy: What is done about it, for the words.

    Attributes:
        overloaded: Whether it is so now.
    """

    def __init__(self, policy: Policy) -> None:
        self.overloaded: bool = False
        self._policy: Policy = policy
        self._loads: deque[Load] = deque()
        self._calm_since: Load | None = None
        self._since: Load | None = None

    def observe(self, load: Load) -> str | None:
        """Take a moment, about one a second; what to tell the user, if anything."""
        self._loads.append(load)
        while len(self._loads) > 1 and load.at - self._loads[1].at >= _SUSTAINED_SECONDS:
            self._loads.popleft()
        before = self._loads[0]
        if load.at - before.at < _SUSTAINED_SECONDS:
            return None
        if not self.overloaded:
            return self._begin(before, load) if _grows(before, load) else None
        return self._end(load) if self._is_calm(load) else None

    def _begin(self, before: Load, load: Load) -> str:
        self.overloaded = True
        self._since, self._calm_since = load, None
        minutes = (load.at - before.at) / 60
        return (
            f"PulseStream is slower than the market: in the last {load.at - before.at:.0f} s "
            f"{(load.arrived - before.arrived) / minutes:,.0f} frames a minute came and "
            f"{(load.settled - before.settled) / minutes:,.0f} were settled"
            f"{', its rate limit being used up' if load.throttled > before.throttled else ''}; "
            f"{load.waiting:,} wait, the oldest for {load.oldest_seconds:,.0f} s. {self._consequence(before, load)} "
            "To keep up: raise the tenant's rate limit, ask for fewer products or channels"
            f"{', or set delivery.overload to conflate' if self._policy == 'keep' else ''}."
        )

    def _consequence(self, before: Load, load: Load) -> str:
        match self._policy:
            case "conflate":
                return "Only the newest ticker of each product is kept until it is over; trades are all kept."
            case "drop_oldest":
                return "What waits too long is dropped until it is over; parts of whole books are all kept."
            case "keep":
                growth = (load.journal_bytes - before.journal_bytes) / (load.at - before.at)
                room = max(load.journal_limit - load.journal_bytes, 0)
                lasts = f" for about {_duration(room / growth)} at this rate" if growth > 0 else ""
                return f"Nothing is lost: the journal has room{lasts}."

    def _is_calm(self, load: Load) -> bool:
        since = self._calm_since
        if load.oldest_seconds > _CALM_AGE_SECONDS or since is None or load.dropped > since.dropped:
            self._calm_since = load if load.oldest_seconds <= _CALM_AGE_SECONDS else None
            return False
        return load.at - since.at >= _CALM_SECONDS

    def _end(self, load: Load) -> str:
        self.overloaded = False
        since, self._since = self._since, None
        assert since is not None, "an end has a begin"  # noqa: S101
        dropped = load.dropped - since.dropped
        return (
            f"PulseStream keeps up again, after {_duration(load.at - since.at)}; {load.waiting:,} frames wait"
            f"{f', {dropped:,} events were dropped' if dropped else ', nothing was dropped'}."
        )


def _grows(before: Load, load: Load) -> bool:
    answers = load.delivered > before.delivered or load.throttled > before.throttled
    return answers and load.waiting > before.waiting and load.oldest_seconds >= _NOTABLE_AGE_SECONDS


def shed(policy: Policy, events: Sequence[EncodedEvent], *, oldest: int) -> tuple[list[EncodedEvent], list[int]]:
    """What a policy keeps of events that wait, and the journal offsets of what it gives up; both in order.

        events     tick-a  trade  tick-a'  tick-b
                       shed("conflate")
        kept               trade  tick-a'  tick-b

    Parts of books are kept by every policy: without one of them, all behind it make a wrong book, up to the next
    snapshot, and nothing in them shows it.

    Args:
        policy: The policy.
        events: In order.
        oldest: `drop_oldest` gives up what was received before: nanoseconds since the Unix epoch.
    """
    match policy:
        case "keep":
            return list(events), []
        case "drop_oldest":
            keeps = [event.received_at >= oldest or event.is_one_of_a_row for event in events]
        case "conflate":
            newest = {event.quote_of: number for number, event in enumerate(events)}
            keeps = [not event.quote_of or newest[event.quote_of] == number for number, event in enumerate(events)]
    kept = [event for event, keep in zip(events, keeps, strict=True) if keep]
    return kept, [event.offset for event, keep in zip(events, keeps, strict=True) if not keep]


def _duration(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:.0f} s"
