"""Posting events once more: what PulseStream has already is proven, what it has not is thereby sent again.

PulseStream answers before it commits. So its answer to an event that it did not have is no proof, and the same event
must not come again before that commit: whoever posts here waits in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import NamedTuple

from rxbridge.errors import EventRejected
from rxbridge.events import EncodedEvent
from rxbridge.journal import DeadLetter
from rxbridge.pulsestream import EventOutcome, PulseStreamClient, PulseStreamSink
from rxbridge.telemetry.statistics import DeliveryStatistics


class Posted(NamedTuple):
    """What became of events that were posted once more.

    Attributes:
        proven: PulseStream had them.
        sent: It did not, and says that it has stored them now.
        refused: It refuses them for good.
        left: Nothing is known of them, because of a shutdown.
    """

    proven: list[EncodedEvent]
    sent: list[EncodedEvent]
    refused: list[EncodedEvent]
    left: list[EncodedEvent]


class Prover:
    """Posts events through a sink of its own: one request at a time, for ever, as `PulseStreamSink` says.

    Args:
        client: Where to; it must not be in use by anybody else at the same time.
        refused: Is given the dead letter of an event that is refused for good.
        stop: Set by its owner when time is up.
        statistics: Where requests are counted.
        request_events: Events in a request.
        request_bytes: Bytes of events in a request.
        wait_after_timeout_seconds: The pause after a request that was not answered in time.
    """

    def __init__(
        self,
        client: PulseStreamClient,
        *,
        refused: Callable[[DeadLetter], None],
        stop: Event,
        statistics: DeliveryStatistics,
        request_events: int = 100,
        request_bytes: int = 1_000_000,
        wait_after_timeout_seconds: float = 30.0,
    ) -> None:
        self._refused = refused
        self._request_events = request_events
        self._request_bytes = request_bytes
        self._outcomes: dict[str, EventOutcome] = {}
        self._sink = PulseStreamSink(
            client,
            settled=_nothing_to_acknowledge,
            refused=self._keep,
            stop=stop,
            statistics=statistics,
            on_outcome=self._note,
            wait_after_timeout_seconds=wait_after_timeout_seconds,
        )

    def post(self, events: Sequence[EncodedEvent]) -> Posted:
        """Post them, each id once; returns when all have been answered, or `stop` was set."""
        self._outcomes.clear()
        for request in self._requests(events):
            self._sink.on_next(request)
        posted = Posted([], [], [], [])
        places = {
            "already_stored": posted.proven,
            "stored": posted.sent,
            "refused": posted.refused,
        }
        for event in events:
            outcome = self._outcomes.get(event.event_id)
            (posted.left if outcome is None else places[outcome.fate]).append(event)
        return posted

    def _requests(self, events: Sequence[EncodedEvent]) -> Iterator[list[EncodedEvent]]:
        request: list[EncodedEvent] = []
        size = 0
        for event in events:
            if request and (len(request) == self._request_events or size + len(event.body) > self._request_bytes):
                yield request
                request, size = [], 0
            request.append(event)
            size += len(event.body)
        if request:
            yield request

    def _note(self, event: EncodedEvent, outcome: EventOutcome) -> None:
        # The first one counts: what was stored by a request that failed afterwards is found by the next.
        self._outcomes.setdefault(event.event_id, outcome)

    def _keep(
        self, event: EncodedEvent, error: EventRejected, first_attempt: int, last_attempt: int, attempts: int
    ) -> None:
        self._refused(
            DeadLetter(
                offset=event.offset,
                event_id=event.event_id,
                stage="deliver",
                reason="; ".join(error.reasons),
                content=event.body,
                first_attempt=first_attempt,
                last_attempt=last_attempt,
                attempts=attempts,
            )
        )


def _nothing_to_acknowledge(events: Sequence[EncodedEvent]) -> None:
    """What is proven is acknowledged by whoever asked for the proof."""
