"""Sending again what an audit found missing, until it is proven to be stored."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from rxbridge.audit.expectations import run_as_delivered
from rxbridge.audit.ledger import Ledger
from rxbridge.books import CHANNEL, Books
from rxbridge.channel_history import ChannelHistory, channels_as_received
from rxbridge.confirmation import EventMaker, Prover, confirmed_up_to, read_frames
from rxbridge.custom_pipelines import BUILTIN_ONLY, Pipelines
from rxbridge.events import EncodedEvent, EventRules
from rxbridge.journal import DeadLetter, Journal
from rxbridge.pulsestream import PulseStreamClient
from rxbridge.rule_history import rules_as_delivered
from rxbridge.telemetry.statistics import DeliveryStatistics

_AT_ONCE = 1_000


class Repair:
    """Sends missing events again. A bridge may be at work: what it may itself be sending again is left to it.

    Args:
        journal: Where the frames are; its role must permit dead letters.
        client: Where to send.
        channels: Whose messages become events, where the journal does not say for which channels its frames came.
        rules: How messages become events, where the journal does not say how they did.
        after_seconds: How long after it was sent an event is looked for.
        wait_after_timeout_seconds: The pause after a request that was not answered in time.
        sleep: Waits so many seconds.
        pipelines: Those that ran, the users' ones at least.
    """

    def __init__(
        self,
        journal: Journal,
        client: PulseStreamClient,
        *,
        channels: Sequence[str],
        rules: EventRules,
        after_seconds: float = 5.0,
        wait_after_timeout_seconds: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        pipelines: Pipelines = BUILTIN_ONLY,
    ) -> None:
        self._journal = journal
        self._pipelines = pipelines
        self._channels = channels
        self._rules = rules
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
        asked = channels_as_received(self._journal, self._channels)
        needs_all = asked.has_asked(CHANNEL) or self._pipelines.custom
        make = self._continuous(asked) if needs_all else self._single(asked)
        for key, offset in ledger.missing(below=confirmed_up_to(self._journal)):
            # It may have been removed meanwhile, as old as it is.
            events += [event for event in make(offset) if event.event_id == key]
            if len(events) >= _AT_ONCE:
                yield events
                events = []
        if events:
            yield events

    def _single(self, asked: ChannelHistory) -> Callable[[int], list[EncodedEvent]]:
        """Makes the events of any frame."""
        rules = rules_as_delivered(self._journal, self._rules)
        make = EventMaker(channels=asked, rules=rules)

        def at(offset: int) -> list[EncodedEvent]:
            frames = self._journal.read(offset - 1, 1)
            return make(frames[0]) if frames and frames[0].offset == offset else []

        return at

    def _continuous(self, asked: ChannelHistory) -> Callable[[int], list[EncodedEvent]]:
        """Makes the events of later and later frames, for which it reads those between.

        An order book needs all of them, and so may a user's pipeline.
        """
        run = run_as_delivered(self._journal, self._pipelines)
        rules = rules_as_delivered(self._journal, self._rules)
        make = EventMaker(channels=asked, rules=rules, kept_books=Books(rules, once_more=True), run=run)
        position, last = 0, list[EncodedEvent]()

        def at(offset: int) -> list[EncodedEvent]:
            nonlocal position, last
            for frame in read_frames(self._journal, position, offset):
                position, last = frame.offset, make(frame)
            return last if position == offset else []

        return at

    def _refused(self, letter: DeadLetter) -> None:
        self._journal.add_dead_letters([letter])
