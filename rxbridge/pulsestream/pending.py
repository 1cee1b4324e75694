"""What has become of a batch so far, and what of it to send next. Pure: no clock, no network.

PulseStream stores a request in one transaction, so one event that its database cannot take makes it refuse all of them,
on every try, without saying which one it was. Such a request is sent in ever smaller parts until that event stands
alone. What tells it from a server in trouble are probes, sent between its tries: events of our own that are known to be
good. A probe that is stored already shows that the database can be read; a new one, that it can be written, which a
full disk or a replica does not allow. Only an event that is refused again and again, while every probe in between is
answered, and of which the last one was new, is given up; while no probe is answered, the tries simply go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC

import msgspec

from rxbridge.errors import EventRejected, ServerFailed
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream.answers import FUTURE_SECONDS, BatchAnswer, EventOutcome
from rxbridge.pulsestream.probes import Probes

LONGEST_EARLY_SECONDS = 600.0
"""An event that will be valid within this time is kept until then; one from further ahead is refused for good."""

TRIES_BEFORE_HALVING = 3
TRIES_ALONE = 10

_NAMES_THE_EVENTS = frozenset({413, 422})
_MAY_BE_THE_EVENTS = frozenset({200, 400, 403, 500})

_WAITING, _STORED, _ALREADY_STORED, _REFUSED = range(4)


class Refusal(msgspec.Struct, frozen=True):
    """An event that was refused for good; times are nanoseconds since the Unix epoch."""

    event: EncodedEvent
    error: EventRejected
    first_attempt: int
    last_attempt: int
    attempts: int


class SettledPart(msgspec.Struct, frozen=True):
    """A part of a batch, each event of which is stored or refused.

    Attributes:
        events: The part, in the order of the batch.
        delivered: How many of them are stored, those included that were stored already.
        already_stored: Those that were stored already.
    """

    events: Sequence[EncodedEvent]
    delivered: int
    already_stored: int


class _Suspect(msgspec.Struct):
    """An event that was refused when it was sent alone.

    Attributes:
        index: Its place in the batch.
        answers: How many requests had been answered when it was last refused.
        writes: How many of those had brought something new into the database.
        failures: How often it was refused again, another request having been answered since the last time.
    """

    index: int
    answers: int
    writes: int
    failures: int = 0


class PendingBatch:
    """A batch until each of its events is delivered or refused.

    Args:
        events: The batch, at least one event, in offset order.
        probes: What is sent between the tries of an event that stands alone.

    Attributes:
        events: The batch.
        refusals: What was refused for good and is not recorded yet, oldest first.
        throttled: How many the last answer put off because of the rate limit.
        newly_stored: How many the last answer said to have stored: those that count against the rate limit.
        early_seconds: When the first of those that the last answer called early will be valid; 0 if there was none.
        probing: Whether the last request was a probe, about which nobody needs to hear.
    """

    def __init__(self, events: Sequence[EncodedEvent], probes: Probes | None = None) -> None:
        self.events = events
        self.refusals: deque[Refusal] = deque()
        self.throttled: int = 0
        self.newly_stored: int = 0
        self.early_seconds: float = 0.0
        self.probing: bool = False
        self._probes = Probes() if probes is None else probes
        self._fates = bytearray(len(events))
        self._acknowledged = 0
        self._fresh = list(range(len(events)))
        self._suspects: deque[_Suspect] = deque()
        self._sent: list[int] = []
        self._probe: EncodedEvent | None = None
        self._answers = 0
        self._writes = 0
        self._part = len(events)
        self._halved = False
        self._failures = 0
        self._attempts = [0] * len(events)
        self._first_attempts = [0] * len(events)
        self._last_attempt = 0

    @property
    def waiting(self) -> int:
        """How many events are neither delivered nor refused."""
        return len(self._fresh) + len(self._suspects)

    @property
    def settled(self) -> bool:
        """Whether all of it is acknowledged."""
        return self._acknowledged == len(self.events)

    @property
    def first_unsettled(self) -> EncodedEvent:
        """The first event that is not acknowledged; there must be one."""
        return self.events[self._acknowledged]

    @property
    def in_parts(self) -> bool:
        """Whether an event is being looked for that makes PulseStream refuse the others."""
        return self._halved or bool(self._suspects)

    @property
    def first_sent(self) -> list[EncodedEvent]:
        """Those events of the last request that were never sent before."""
        return [self.events[index] for index in self._sent if self._attempts[index] == 1]

    @property
    def attempt(self) -> int:
        """How often the events of the last request were sent, those that were sent most."""
        return max((self._attempts[index] for index in self._sent), default=1)

    def next_request(self, now: int, most: int | None = None) -> Sequence[EncodedEvent]:
        """What to send now. Something must be waiting.

        Args:
            now: Nanoseconds since the Unix epoch.
            most: How many events at most, at least one; as many as there are if it is not given.
        """
        self._last_attempt = now
        self.probing = False
        if self._fresh:
            self._sent = self._fresh[: self._part if most is None else min(self._part, most)]
        elif (suspect := self._suspects[0]).answers == self._answers:
            self.probing = True
            self._sent = []
            self._probe = self._probes.next(now, writes=suspect.failures >= TRIES_ALONE - 1)
            return [self._probe]
        else:
            self._sent = [suspect.index]
        for index in self._sent:
            if not self._attempts[index]:
                self._first_attempts[index] = now
            self._attempts[index] += 1
        return [self.events[index] for index in self._sent]

    def answered(self, answer: BatchAnswer) -> None:
        """Take an answer that can be believed to the last request.

        Raises:
            ServerFailed: A probe, in which nothing is wrong, was refused: so nothing is known.
        """
        self.throttled, self.newly_stored, self.early_seconds = 0, 0, 0.0
        if self.probing:
            self._probed(answer.outcomes[0])
            return
        outcomes = zip(self._sent, answer.outcomes, strict=True)
        left = [index for index, outcome in outcomes if self._keeps(index, outcome, answer.server_time)]
        self._answers += 1
        self._writes += self.newly_stored > 0
        if self._fresh:
            self._fresh[: len(self._sent)] = left
        elif not left:
            self._suspects.popleft()
        self._failures = 0
        self._part = min(self._part * 2, len(self.events))

    def failed(self, error: ServerFailed) -> bool:
        """Take an answer to the last request that says nothing about its events, except perhaps by its status.

        Returns:
            Whether that status settles it: the next request is another one, and need not wait.
        """
        certain = error.status in _NAMES_THE_EVENTS
        if self.probing or (not certain and error.status not in _MAY_BE_THE_EVENTS):
            return False
        if len(self._sent) > 1:
            self._failures += 1
            if certain or self._halved or self._failures >= TRIES_BEFORE_HALVING:
                self._halved = True
                self._part = (len(self._sent) + 1) // 2
            return certain
        suspect = self._next_suspect()
        if certain:
            self._refuse(suspect.index, [str(error)])
            return True
        if self._is_given_up(suspect):
            proof = f"sent alone it was refused {TRIES_ALONE} times, while another event was taken in between"
            self._refuse(suspect.index, [str(error), proof])
            return True
        self._suspects.append(suspect)
        return False

    def next_settled(self) -> SettledPart | None:
        """What can be acknowledged, from the first event on that is not; None if nothing can."""
        end = min(
            self._fresh[0] if self._fresh else len(self.events),
            min((suspect.index for suspect in self._suspects), default=len(self.events)),
        )
        # An offset is acknowledged as a whole, and a frame may have made several events.
        while self._acknowledged < end < len(self.events) and self.events[end].offset == self.events[end - 1].offset:
            end -= 1
        if end <= self._acknowledged:
            return None
        fates = self._fates[self._acknowledged : end]
        already_stored = fates.count(_ALREADY_STORED)
        events = self.events if len(fates) == len(self.events) else self.events[self._acknowledged : end]
        return SettledPart(events, fates.count(_STORED) + already_stored, already_stored)

    def acknowledged(self, part: SettledPart) -> None:
        """Note that what `next_settled` gave is acknowledged."""
        self._acknowledged += len(part.events)

    def _probed(self, outcome: EventOutcome) -> None:
        match outcome.fate:
            case "stored" | "already_stored":
                self.newly_stored = int(outcome.fate == "stored")
                self._answers += 1
                self._writes += self.newly_stored
                if self._probe is not None:
                    self._probes.stored(self._probe)
            case "throttled":
                self.throttled = 1
            case "early" | "refused":
                raise ServerFailed(200, f"an event of our own that has nothing wrong: {'; '.join(outcome.reasons)}")

    def _next_suspect(self) -> _Suspect:
        if self._fresh:
            return _Suspect(self._fresh.pop(0), self._answers, self._writes)
        return self._suspects.popleft()

    def _is_given_up(self, suspect: _Suspect) -> bool:
        """Whether an event that was refused alone once more is poisonous; else it is noted what was known by now."""
        written = self._writes > suspect.writes
        if self._answers > suspect.answers and (written or suspect.failures < TRIES_ALONE - 1):
            suspect.failures += 1
        suspect.answers, suspect.writes = self._answers, self._writes
        return suspect.failures == TRIES_ALONE

    def _keeps(self, index: int, outcome: EventOutcome, server_time: float) -> bool:
        """Whether an event waits on after this outcome."""
        match outcome.fate:
            case "stored":
                self._fates[index] = _STORED
                self.newly_stored += 1
            case "already_stored":
                self._fates[index] = _ALREADY_STORED
            case "throttled":
                self.throttled += 1
                return True
            case "early":
                valid_at = self.events[index].timestamp.replace(tzinfo=UTC).timestamp() - FUTURE_SECONDS
                # At least a second: the server has just said that it is too early, whatever its `Date` tells.
                seconds = max(valid_at - server_time, 1.0)
                if seconds <= LONGEST_EARLY_SECONDS:
                    self.early_seconds = min(self.early_seconds or seconds, seconds)
                    return True
                self._refuse(index, outcome.reasons)
            case "refused":
                self._refuse(index, outcome.reasons)
        return False

    def _refuse(self, index: int, reasons: Sequence[str]) -> None:
        event = self.events[index]
        self._fates[index] = _REFUSED
        self.refusals.append(
            Refusal(
                event=event,
                error=EventRejected(event.event_id, reasons),
                first_attempt=self._first_attempts[index],
                last_attempt=self._last_attempt,
                attempts=self._attempts[index],
            )
        )
