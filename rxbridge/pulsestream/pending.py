"""What has become of a batch so far, and what of it to send next. Pure: no clock, no network.

PulseStream stores a batch in one transaction, so one event that its database cannot take makes it refuse all of them,
on every try, without saying which one it was. Such a batch is sent in ever smaller parts until that event stands alone.
What tells it from a server in trouble is a probe: between its tries, an event of the same batch that was delivered is
sent once more, which PulseStream answers as a repeat, at no cost. Only an event that is refused again and again while
every probe is answered is given up; while no probe can be made, or none is answered, the tries simply go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC

import msgspec

from rxbridge.errors import EventRejected, ServerFailed
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream.answers import FUTURE_SECONDS, BatchAnswer, EventOutcome

LONGEST_EARLY_SECONDS = 600.0
"""An event that will be valid within this time is kept until then; one from further ahead is refused for good."""

TRIES_BEFORE_HALVING = 3
TRIES_ALONE = 10

_NAMES_THE_EVENTS = frozenset({413, 422})
_MAY_BE_THE_EVENTS = frozenset({200, 400, 403, 500})


class Refusal(msgspec.Struct, frozen=True):
    """An event that was refused for good; times are nanoseconds since the Unix epoch."""

    event: EncodedEvent
    error: EventRejected
    first_attempt: int
    last_attempt: int
    attempts: int


class _Suspect(msgspec.Struct):
    """An event that was refused when it was sent alone.

    Attributes:
        index: Its place in the batch.
        answers: How many requests of the batch had been answered by then.
        failures: How often it was refused again, another request having been answered since the last time.
    """

    index: int
    answers: int
    failures: int = 0


class PendingBatch:
    """A batch until each of its events is delivered or refused.

    Attributes:
        events: The batch.
        delivered: How many are stored, those included that were stored already.
        already_stored: Those that were stored already.
        refusals: What was refused for good and is not recorded yet, oldest first.
        throttled: How many the last answer put off because of the rate limit.
        early_seconds: When the first of those that the last answer called early will be valid; 0 if there was none.
        probing: Whether the last request was a probe, about which nobody needs to hear.
        settled: Set by the owner, once all of it is acknowledged.
    """

    def __init__(self, events: Sequence[EncodedEvent]) -> None:
        self.events = events
        self.delivered = 0
        self.already_stored = 0
        self.refusals: deque[Refusal] = deque()
        self.throttled = 0
        self.early_seconds = 0.0
        self.probing = False
        self.settled = False
        self._fresh = list(range(len(events)))
        self._suspects: deque[_Suspect] = deque()
        self._sent: list[int] = []
        self._probe: int | None = None
        self._answers = 0
        self._part = len(events)
        self._halved = False
        self._failures = 0
        self._attempts = [0] * len(events)
        self._first_attempt = 0
        self._last_attempt = 0

    @property
    def waiting(self) -> int:
        """How many events are neither delivered nor refused."""
        return len(self._fresh) + len(self._suspects)

    @property
    def in_parts(self) -> bool:
        """Whether an event is being looked for that makes PulseStream refuse the others."""
        return self._halved or bool(self._suspects)

    def next_request(self, now: int) -> Sequence[EncodedEvent]:
        """What to send now, `now` being nanoseconds since the Unix epoch. Something must be waiting."""
        self._first_attempt = self._first_attempt or now
        self._last_attempt = now
        self.probing = False
        if self._fresh:
            self._sent = self._fresh[: self._part]
        elif self._probe is not None and self._suspects[0].answers == self._answers:
            self.probing = True
            self._sent = [self._probe]
        else:
            self._sent = [self._suspects[0].index]
        for index in self._sent:
            self._attempts[index] += 1
        return [self.events[index] for index in self._sent]

    def answered(self, answer: BatchAnswer) -> None:
        """Take an answer that can be believed to the last request."""
        self.throttled, self.early_seconds = 0, 0.0
        self._answers += 1
        if self.probing:
            return
        outcomes = zip(self._sent, answer.outcomes, strict=True)
        left = [index for index, outcome in outcomes if self._keeps(index, outcome, answer.server_time)]
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
        if not certain and error.status not in _MAY_BE_THE_EVENTS:
            return False
        if self.probing:
            return False
        if len(self._sent) > 1:
            self._failures += 1
            if certain or self._halved or self._failures >= TRIES_BEFORE_HALVING:
                self._halved = True
                self._part = (len(self._sent) + 1) // 2
            return certain
        suspect = _Suspect(self._fresh.pop(0), self._answers) if self._fresh else self._suspects.popleft()
        suspect.failures += self._answers > suspect.answers
        suspect.answers = self._answers
        if certain:
            self._refuse(suspect.index, [str(error)])
            return True
        if suspect.failures == TRIES_ALONE:
            proof = f"sent alone it was refused {TRIES_ALONE} times, while another event was taken in between"
            self._refuse(suspect.index, [str(error), proof])
            return True
        self._suspects.append(suspect)
        return False

    def _keeps(self, index: int, outcome: EventOutcome, server_time: float) -> bool:
        """Whether an event waits on after this outcome."""
        match outcome.fate:
            case "stored" | "already_stored":
                self.delivered += 1
                self.already_stored += outcome.fate == "already_stored"
                self._probe = index
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
        self.refusals.append(
            Refusal(
                event=event,
                error=EventRejected(event.event_id, reasons),
                first_attempt=self._first_attempt,
                last_attempt=self._last_attempt,
                attempts=self._attempts[index],
            )
        )
