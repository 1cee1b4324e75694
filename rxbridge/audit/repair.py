"""Sending again what an audit found missing, until it is proven to be stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from rxbridge.audit.ledger import Ledger
from rxbridge.confirmation import EventMaker, Prover, confirmed_up_to
from rxbridge.events import EncodedEvent
from rxbridge.journal import DeadLetter, Journal
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.telemetry.statistics import DeliveryStatistics

_AT_ONCE = 1_000


class Repair:
    """Sends missing events again. A bridge may be at work: what it may itself be sending again is left to it.

    Args:
        journal: Where the frames are; its role must permit dead letters.
        client: Where to send.
        channels: Whose messages become events.
        environment: `source.environment` of the events.
        after_seconds: How long after it was sent an event is looked for.
        wait_after_timeout_seconds: The pause after a request that was not answered in time.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        journal: Journal,
        client: PulseStreamClient,
        *,
        channels: Sequence[str],
        environment: str,
        after_seconds: float = 5.0,
        wait_after_timeout_seconds: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._journal = journal
        self._make = EventMaker(channels=channels, environment=environment)
        self._after_seconds = after_seconds
        self._sleep = sleep
        self._prover = Prover(
            client,
            refused=self._refused,
            stop=threading.Event(),
            statistics=DeliveryStatistics(),
            wait_after_timeout_seconds=wait_after_timeout_seconds,
        )

    def run(self, ledger: Ledger, report: Callable[[int], None]) -> int:
        """Send again what the ledger misses, prove it, and enter it; how many events that were.

        Args:
            ledger: Of an audit that knows what the server holds.
            report: Is told how many are done.
        """
        repaired = 0
        for events in self._missing(ledger):
            waiting = events
            while waiting:
                posted = self._prover.post(waiting)
                for event in posted.proven:
                    ledger.found(event.event_id)
                ledger.dead(event.event_id for event in posted.refused)
                repaired += len(posted.proven)
                report(repaired)
                waiting = posted.sent
                if waiting:
                    # PulseStream commits after it has answered; the same events must not come before that.
                    self._sleep(self._after_seconds)
        return repaired

    def _missing(self, ledger: Ledger) -> Iterator[list[EncodedEvent]]:
        events: list[EncodedEvent] = []
        for key, offset in ledger.missing(below=confirmed_up_to(self._journal)):
            frames = self._journal.read(offset - 1, 1)
            if not frames or frames[0].offset != offset:
                # It was removed meanwhile, as old as it is.
                continue
            events += [event for event in self._make(frames[0]) if event.event_id == key]
            if len(events) >= _AT_ONCE:
                yield events
                events = []
        if events:
            yield events

    def _refused(self, letter: DeadLetter) -> None:
        self._journal.add_dead_letters([letter])
