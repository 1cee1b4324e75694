"""The delivery half: journal ─► pipeline ─► sink ─► acknowledge.

The journal's pump reads the next frame when the chain has returned from the last, so the sink simply blocks. What the
sink has settled is acknowledged, and only that: whatever happens to the process, the journal still holds the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import reactivex
from loguru import logger
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.scheduler import NewThreadScheduler

from operators import SteadyScheduler, retry_with_backoff
from rxbridge.books import CHANNEL, Books, log_trouble, resumed
from rxbridge.channel_history import ChannelHistory, FollowedChannels, channels_as_received
from rxbridge.custom_pipelines import (
    BUILTIN_ONLY,
    WARM_UP_FRAMES,
    Failures,
    Pipelines,
    Run,
    read_withheld,
    record_pipelines,
    release,
)
from rxbridge.doubts import DoubtNote
from rxbridge.errors import EventRejected, JournalError, PipelineFailed
from rxbridge.events import EncodedEvent, EventRules, Rules
from rxbridge.journal import DeadLetter, Journal
from rxbridge.messages import BookImage, BookPart, Candle, EventMessage, Frame, GapNotice, Ticker, Trade
from rxbridge.overload import WINDOW_EVENTS, Policy, shed
from rxbridge.pipeline import batches, events_of, ids
from rxbridge.progress import STATE_CONSUMER, Progress
from rxbridge.rule_history import record_rules
from rxbridge.telemetry.statistics import DeliveryStatistics

_LONGEST_BACKOFF_SECONDS = 30.0


class Sink(Protocol):
    """A subscriber that delivers: `on_next` blocks until the batch is settled or abandoned."""

    @property
    def abandoned(self) -> bool:
        """Whether it gave a batch up because of a shutdown; it takes no further ones then."""
        ...

    def on_next(self, value: Sequence[EncodedEvent]) -> None:
        """Deliver a batch."""
        ...


class Delivery:
    """The delivery half, from start to drain.

    Args:
        journal: Where the frames are.
        sink: Makes the sink, given what to call when a batch is settled and when an event is refused.
        channels: Whose messages become events, where the journal does not say for which channels its frames came.
        rules: How messages become events.
        batch_count: Events in a batch.
        batch_seconds: A batch closes so long after its first event.
        batch_bytes: Bytes of events in a batch.
        statistics: Where to count.
        verbose: Whether to tell of every message.
        overload: What is given up while PulseStream is slower than the market.
        overload_max_age_seconds: How long is too long for the policy `drop_oldest`.
        pipelines: What turns frames into events.
        is_fed_by_another: Whether another process feeds the journal, and may begin to ask for other channels.

    Attributes:
        overloaded: Set by its owner while PulseStream is slower than the market.
        failure: What ended the delivery for good; else None.
    """

    def __init__(
        self,
        journal: Journal,
        sink: Callable[[Progress], Sink],
        *,
        channels: Sequence[str],
        rules: EventRules,
        batch_count: int,
        batch_seconds: float,
        batch_bytes: int,
        statistics: DeliveryStatistics,
        verbose: bool = False,
        overload: Policy = "keep",
        overload_max_age_seconds: float = 60.0,
        pipelines: Pipelines = BUILTIN_ONLY,
        is_fed_by_another: bool = False,
    ) -> None:
        self.overloaded = False
        self.failure: Exception | None = None
        self.statistics = statistics
        self.progress: Progress = Progress(journal, statistics)
        self._journal = journal
        self._sink = sink(self.progress)
        self._channels = channels
        self._is_fed_by_another = is_fed_by_another
        self._rules = rules
        self._told = _tell if verbose else None
        self._pipelines = pipelines
        self._failures: Failures | None = None
        self._overload: Policy = overload
        self._overload_max_age_seconds = overload_max_age_seconds
        self._batch_count = batch_count
        self._timers = SteadyScheduler()
        self._batches = batches(
            count=self._window_events, seconds=batch_seconds, size_bytes=batch_bytes, scheduler=self._timers
        )
        self._finish = threading.Event()
        self._stop = threading.Event()
        self._done = threading.Event()
        self._subscription: DisposableBase | None = None

    def start(self) -> None:
        """Begin, on threads of its own; returns at once, although the books of a long connection take seconds."""
        stream = reactivex.defer(lambda _: self._from_cursor()).pipe(
            _without_scheduler,
            ops.subscribe_on(NewThreadScheduler()),
            # Nothing should end the stream but its completion. If something does (a page of the journal that cannot
            # be read, a defect of ours), it is said, and everything unacknowledged is read again.
            retry_with_backoff(
                lambda attempt, _: min(2.0**attempt, _LONGEST_BACKOFF_SECONDS),
                retryable=self._is_worth_another_try,
                on_retry=_say_why,
                scheduler=self._timers,
            ),
        )
        self._subscription = stream.subscribe(self._sink.on_next, self._failed, self._done.set)

    @property
    def ended(self) -> bool:
        """Whether it is over, or has given up, without having been drained."""
        return self._done.is_set() or self._sink.abandoned

    def drain(self, seconds: float) -> bool:
        """Deliver what is in the journal for three quarters of the time, then only what is in hand; then stop.

        Returns:
            Whether everything was delivered. What was not waits in the journal.
        """
        deadline = time.monotonic() + seconds
        self._finish.set()
        while not self._done.wait(0.02) and time.monotonic() < deadline:
            if self._sink.abandoned or time.monotonic() > deadline - seconds / 4:
                self._stop.set()
        complete = self._done.is_set() and self.progress.caught_up()
        if complete:
            self.progress.acknowledge_idle()
        if self._subscription is not None:
            self._subscription.dispose()
        self._timers.dispose()
        return complete

    def _from_cursor(self) -> Observable[Sequence[EncodedEvent]]:
        after = self.progress.restart()
        begin, run = self._run(after)
        rules = record_rules(self._journal, self._rules, after)
        asked = self._asked()
        frames = self._journal.frames(begin, finish=self._finish, stop=self._stop)
        chain = events_of(
            run,
            channels=asked,
            rules=rules,
            statistics=self.statistics,
            dead_letter=self.progress.dead,
            seen=ids(_recent(self._journal, after), asked),
            told=self._told,
            kept_books=self._books(after, rules, asked),
        )
        made = self.progress.track(frames, chain)
        if self._told is not None and self._pipelines.custom:
            made = made.pipe(ops.do_action(_tell_custom))
        return made.pipe(self._batches, ops.map(self._shed), ops.filter(bool))

    def _run(self, after: int) -> tuple[int, Run]:
        """From where to read, and how, so that users' pipelines have the state that they had."""
        record_pipelines(self._journal, self._pipelines.names, after)
        if not self._pipelines.custom:
            release(self._journal, STATE_CONSUMER)
            return after, Run(self._pipelines)
        begin, holdings = self.progress.rebuild()
        if self._failures is None:
            self._failures = Failures(read_withheld(self._journal, begin))
        failures = self._failures
        return begin, Run(
            self._pipelines, after, withheld=dict(failures.withheld), holdings=holdings, newest=failures.newest
        )

    def _is_worth_another_try(self, error: Exception) -> bool:
        if self._failures is None or not isinstance(error, PipelineFailed):
            return True
        final = self._failures.note(error)
        if final is not None:
            self.failure = final
        return final is None

    def _asked(self) -> ChannelHistory:
        if self._is_fed_by_another:
            return FollowedChannels(self._journal, self._channels)
        return channels_as_received(self._journal, self._channels)

    def _books(self, after: int, rules: Rules, asked: ChannelHistory) -> Books | None:
        if not self._pipelines.builtin:
            return None
        if asked.has_asked(CHANNEL, after=after):
            books = resumed(rules, self._journal, after)
        elif self._is_fed_by_another:
            books = Books(rules)  # none has begun yet
        else:
            return None
        books.troubled = log_trouble
        books.doubted = DoubtNote(self._journal).doubt
        if not books.is_whole:
            log_trouble("", "the journal has the beginning of the connection no more; they wait for its next snapshots")
        return books

    def _window_events(self) -> int:
        """How many events a batch takes: under a policy that gives something up, so many that there is a choice."""
        return WINDOW_EVENTS if self.overloaded and self._overload != "keep" else self._batch_count

    def _shed(self, window: Sequence[EncodedEvent]) -> Sequence[EncodedEvent]:
        """What of a window is to be delivered."""
        kept, dropped = window, list[int]()
        if self.overloaded and self._overload != "keep":
            oldest = time.time_ns() - int(self._overload_max_age_seconds * 1e9)
            kept, dropped = shed(self._overload, window, oldest=oldest)
        self.progress.keep(window, kept, dropped)
        return kept

    def _failed(self, error: Exception) -> None:
        logger.opt(exception=error).error("[FATAL] The delivery has ended: {}", self.failure or error)
        self.failure = self.failure or error
        self._done.set()


def refused(progress: Progress) -> Callable[[EncodedEvent, EventRejected, int, int, int], None]:
    """What the sink calls for an event that PulseStream refuses for good: a dead letter with its story."""

    def keep(event: EncodedEvent, error: EventRejected, first_attempt: int, last_attempt: int, attempts: int) -> None:
        progress.dead(
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

    return keep


def _recent(journal: Journal, cursor: int) -> Iterator[Frame]:
    """The last frames up to the cursor, as far as the journal still keeps them."""
    after = max(cursor - WARM_UP_FRAMES, 0)
    while after < cursor and (frames := journal.read(after)):
        for frame in frames:
            if frame.offset > cursor:
                return
            yield frame
        after = frames[-1].offset


def _without_scheduler(source: Observable[Sequence[EncodedEvent]]) -> Observable[Sequence[EncodedEvent]]:
    """The same, to which no scheduler is given on.

    With one, the journal would be asked for new frames ten times a second; on a thread of its own it is woken by them.
    """

    def subscribe(
        observer: ObserverBase[Sequence[EncodedEvent]], _scheduler: SchedulerBase | None = None
    ) -> DisposableBase:
        return source.subscribe(observer)

    return Observable(subscribe)


def _tell(message: EventMessage) -> None:
    if isinstance(message, GapNotice):
        logger.debug("[GAP] {} of {} are missing: {}", message.kind, ", ".join(message.products), message.reason)
        return
    if isinstance(message, BookPart):
        logger.debug("[BOOK] Part {} of {} of a book: {}", message.chunk + 1, message.chunks, message.product_id)
        return
    if isinstance(message, BookImage):
        logger.debug("[BOOK] Image of a book: {}", message.product_id)
        return
    if isinstance(message, Candle):
        logger.debug("[CANDLE] Received candle: {} from {}", message.product_id, message.start)
        return
    if isinstance(message, Ticker):
        logger.debug("[TICKER] Received ticker update: {} @ ${}", message.product_id, message.price)
    elif isinstance(message, Trade):
        logger.debug("[TRADE] Received trade: {} @ ${}", message.product_id, message.price)
    else:
        logger.debug("[{}] Received: {}", type(message).__name__.upper(), message.product_id)


def _tell_custom(event: EncodedEvent) -> None:
    if event.service:
        logger.debug("[EVENT] {}: {}", event.service, event.title)


def _say_why(error: Exception, attempt: int, seconds: float) -> None:
    # A journal that cannot be used now, such as on a full disk, says all there is to say; else it is a defect of ours.
    logger.opt(exception=None if isinstance(error, JournalError) else error).error(
        "[RESTARTING] The delivery stopped and starts again from the journal in {:.1f} s (attempt {}): {}",
        seconds,
        attempt,
        error,
    )
