"""The sink: delivers one batch at a time, for as long as it takes.

`on_next` returns when the batch is settled, and that is the backpressure. Nothing is ever raised from it: RxPY ends a
stream without a word when a subscriber raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from threading import Event
from typing import TypeAlias

from loguru import logger
from reactivex.abc import ObserverBase
from tenacity import RetryCallState, Retrying, stop_when_event_set, wait_random_exponential

from rxbridge.errors import CutOff, EventRejected, ReadTimedOut, ServerFailed, Throttled
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream.answers import BatchAnswer, EventOutcome
from rxbridge.pulsestream.client import PulseStreamClient
from rxbridge.pulsestream.flow import Flow
from rxbridge.pulsestream.in_flight import InFlight, Note, await_outcome
from rxbridge.pulsestream.limits import Limit
from rxbridge.pulsestream.pending import PendingBatch
from rxbridge.pulsestream.probes import Probes
from rxbridge.pulsestream.reports import Reports
from rxbridge.telemetry.statistics import DeliveryStatistics

Settled: TypeAlias = Callable[[Sequence[EncodedEvent]], None]
Refused: TypeAlias = Callable[[EncodedEvent, EventRejected, int, int, int], None]
OnOutcome: TypeAlias = Callable[[EncodedEvent, EventOutcome], None]

LARGEST_REQUEST = 1000
"""PulseStream's declared limit, which it does not enforce."""

CUT_OFF_SECONDS = 5.0
"""How long PulseStream may go on with a request whose connection broke; mostly it has broken off too."""

_backoff = wait_random_exponential(multiplier=1, max=30)


class PulseStreamSink(ObserverBase[Sequence[EncodedEvent]]):
    """An observer of batches: non-empty, in offset order.

    A batch is sent in requests that take about `target_seconds` each, and the first part of it that is settled is
    acknowledged at once. There is never more than one request, and so never two with the same event. Tries go on for
    ever, with pauses drawn from 0 to 1, 2, 4 ... 30 seconds (full jitter), and only what is not yet known to be stored
    is sent again:

    - Rate limit: what is sent is paced so that the limit is met as rarely as it can be; see
      `rxbridge.pulsestream.pacing`. Where it is met, it goes on when the server's next minute has begun. This is no
      failure.
    - No answer in time: `wait_after_timeout_seconds` pass first, because the server may still be at work, and would
      store the events twice. With `in_flight`, it goes on as soon as a search finds them. A request in which the
      connection broke is treated likewise, with a shorter time.
    - A refused key: retried like any failure. PulseStream refuses valid keys while its database is down.
    - An event whose timestamp is too far ahead of the server's clock: kept if it will be valid within ten minutes, as
      when a clock runs wrong; else refused for good.
    - An event that the server cannot store, and so refuses all its request: see `rxbridge.pulsestream.pending`.

    An exception from `settled` or `refused` is logged, with its traceback unless it is one of the journal (a full disk,
    say), and they are called again.

    When `stop` is set: a request in flight may end, and a pause after a failure ends with one last try at once; a pause
    for the rate limit or after a time-out ends without. A batch that is then not settled is abandoned: what is left of
    it is not acknowledged, and no later one is sent, so that order holds. A batch that comes after `stop` was set is
    tried once, as far as the rate limit allows.

    Args:
        client: Where to deliver.
        settled: Called in order with each part of a batch, when each of its events is stored or recorded as refused:
            acknowledges.
        refused: Called once for an event that is refused for good, before its part is settled, with the times of the
            first and the last attempt (nanoseconds since the Unix epoch) and the number of attempts: records a dead
            letter, and counts it.
        stop: Set by its owner when time is up.
        statistics: Where requests and deliveries are counted; deliveries once they are acknowledged.
        on_outcome: Told of every event that was stored, had been stored, or is refused.
        wait_after_timeout_seconds: The pause after a request that was not answered in time.
        largest_request: Most events in a request.
        target_seconds: How long a request should take.
        events_per_minute: The tenant's rate limit; None to learn it.
        in_flight: Where a note of each request is kept, for the next process; None to keep none. The first batch waits
            for what the last process may have left at work.
        clock: Nanoseconds since the Unix epoch.
        monotonic: Seconds that only rise.
    """

    def __init__(
        self,
        client: PulseStreamClient,
        *,
        settled: Settled,
        refused: Refused,
        stop: Event,
        statistics: DeliveryStatistics,
        on_outcome: OnOutcome | None = None,
        wait_after_timeout_seconds: float = 30.0,
        largest_request: int = LARGEST_REQUEST,
        target_seconds: float = 2.0,
        events_per_minute: int | None = None,
        in_flight: InFlight | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._settled = settled
        self._refused = refused
        self._stop = stop
        self._statistics = statistics
        self._on_outcome = on_outcome
        self._wait_after_timeout_seconds = wait_after_timeout_seconds
        self._flow = Flow(
            largest_request=largest_request,
            target_seconds=target_seconds,
            events_per_minute=events_per_minute,
            clock=clock,
            monotonic=monotonic,
        )
        self._probes = Probes()
        self._in_flight = in_flight
        self._earlier = None if in_flight is None else in_flight.earlier
        self._clock = clock
        self._monotonic = monotonic
        self._reports = Reports(clock)
        self._abandoned = False
        self._pause_seconds = 0.0
        self._under_way: Note | None = None
        self._given_up = False
        self._uncertain_seconds = 0.0
        self._retrying = Retrying(
            wait=self._wait,
            sleep=self._sleep,
            stop=stop_when_event_set(stop),
            before_sleep=self._tell_failure,
            retry_error_callback=_give_up,
        )

    @property
    def abandoned(self) -> bool:
        """Whether a batch was given up because of a shutdown; no further ones are taken then."""
        return self._abandoned

    @property
    def request_size(self) -> int:
        """How many events a request holds at the moment, at most: there is no use in batches of fewer."""
        return self._flow.request_size

    def on_next(self, value: Sequence[EncodedEvent]) -> None:
        """Deliver a batch; return when it is settled or abandoned."""
        if self._abandoned or not value:
            return
        self._recall(value)
        batch = PendingBatch(value, self._probes)
        try:
            while not batch.settled:
                self._retrying(self._step, batch)
        except _Stopped:
            self._abandon(batch)

    def on_error(self, error: Exception) -> None:
        """The stream is dead; whoever subscribed the sink must start it anew. Every batch that came is settled."""
        logger.opt(exception=error).error("[FATAL] The stream of batches has ended: {}", error)

    def on_completed(self) -> None:
        """The stream is complete. Every batch that came is settled, or abandoned."""

    def _recall(self, value: Sequence[EncodedEvent]) -> None:
        """Before the first batch: what the last process had sent of it may still be at work."""
        earlier, self._earlier = self._earlier, None
        if self._in_flight is not None and earlier is not None and value[0].offset <= earlier.last_offset:
            self._under_way = earlier
            self._uncertain_seconds = self._in_flight.patience(earlier, self._wait_after_timeout_seconds)

    def _step(self, batch: PendingBatch) -> None:
        """One request at most, and what follows from its answer; whatever it raises, it is simply done again."""
        self._pause()
        if batch.waiting:
            self._send(batch)
        self._record_refusals(batch)
        self._settle(batch)

    def _pause(self) -> None:
        if self._under_way is not None and not self._is_over(self._under_way):
            raise _Stopped
        self._under_way = None
        seconds, self._pause_seconds = self._pause_seconds, 0.0
        if seconds and self._stop.wait(seconds):
            raise _Stopped

    def _is_over(self, note: Note) -> bool:
        """Wait until a request that may still be at work is over; False if `stop` was set before."""
        if self._in_flight is None or not self._uncertain_seconds:
            return True
        if self._given_up:
            self._in_flight.unanswered(note)
            self._given_up = False
        seconds, self._uncertain_seconds = self._uncertain_seconds, 0.0
        self._reports.uncertain(note, seconds)
        outcome = await_outcome(
            note,
            self._client,
            service=self._in_flight.service,
            seconds=seconds,
            stop=self._stop,
            monotonic=self._monotonic,
        )
        self._reports.awaited(outcome)
        return outcome != "stopped"

    def _send(self, batch: PendingBatch) -> None:
        allowance = self._flow.begin(hurry=self._stop.is_set())
        if not allowance.events:
            self._pause_seconds = allowance.seconds
            self._reports.paced(batch, allowance.seconds)
            return
        events = batch.next_request(self._clock(), allowance.events)
        if self._in_flight is not None and not batch.probing:
            self._under_way = self._in_flight.sending(events, batch.first_sent, batch.attempt)
        self._statistics.requests += 1
        believed = self._flow.limit
        try:
            answer = self._client.post_batch(events)
            batch.answered(answer)
        except Throttled as error:
            self._under_way = None
            self._reports.recovered(batch)
            self._throttle(len(events), self._flow.throttled(error), believed)
        except Exception as error:
            self._statistics.failed_requests += 1
            self._flow.failed(error, len(events))
            self._doubt(error)
            if isinstance(error, ServerFailed) and batch.failed(error):
                logger.warning("[FAILURE] {}; it was about {} events, and concerns them alone", error, len(events))
                return
            self._reports.failed()
            raise
        else:
            self._under_way = None
            self._take(batch, events, answer, believed)

    def _doubt(self, error: Exception) -> None:
        """After some failures the server may still be at work on the request."""
        if isinstance(error, ReadTimedOut):
            seconds = self._wait_after_timeout_seconds
        elif isinstance(error, CutOff) or (isinstance(error, ServerFailed) and error.status == HTTPStatus.BAD_GATEWAY):
            seconds = min(CUT_OFF_SECONDS, self._wait_after_timeout_seconds)
        else:
            self._under_way = None
            return
        if self._under_way is None:
            self._pause_seconds = seconds
        else:
            self._uncertain_seconds, self._given_up = seconds, True

    def _take(
        self, batch: PendingBatch, events: Sequence[EncodedEvent], answer: BatchAnswer, believed: Limit | None
    ) -> None:
        """Do what an answer that the batch has taken calls for."""
        if not batch.in_parts:
            self._reports.recovered(batch)
        seconds = self._flow.answered(
            answer, stored=batch.newly_stored, throttled=batch.throttled, learns=not batch.probing
        )
        if batch.throttled:
            self._throttle(batch.throttled, seconds, believed)
        elif batch.early_seconds:
            self._pause_seconds = batch.early_seconds
            self._reports.early(batch, self._pause_seconds)
        if batch.probing:
            return
        self._reports.outcomes(events, answer)
        if self._on_outcome is not None:
            for event, outcome in zip(events, answer.outcomes, strict=True):
                if outcome.fate in ("stored", "already_stored"):
                    self._on_outcome(event, outcome)

    def _throttle(self, events: int, seconds: float, believed: Limit | None) -> None:
        self._statistics.throttled += 1
        self._pause_seconds = seconds
        self._reports.throttled(events, seconds, believed, self._flow.limit)

    def _record_refusals(self, batch: PendingBatch) -> None:
        while batch.refusals:
            refusal = batch.refusals[0]
            self._refused(refusal.event, refusal.error, refusal.first_attempt, refusal.last_attempt, refusal.attempts)
            batch.refusals.popleft()
            logger.warning("[REJECTED] {}", refusal.error)
            if self._on_outcome is not None:
                self._on_outcome(refusal.event, EventOutcome("refused", refusal.error.reasons))

    def _settle(self, batch: PendingBatch) -> None:
        part = batch.next_settled()
        if part is None:
            return
        self._settled(part.events)
        batch.acknowledged(part)
        self._statistics.delivered += part.delivered
        self._statistics.already_stored += part.already_stored
        self._statistics.last_delivery_at = self._clock()
        if batch.settled:
            self._reports.recovered(batch)

    def _abandon(self, batch: PendingBatch) -> None:
        self._abandoned = True
        first, last = batch.first_unsettled, batch.events[-1]
        # Those of no journal have the offset 0.
        stay = f"offsets {first.offset} to {last.offset} stay in the journal" if first.offset else "nothing keeps them"
        logger.warning("[STOPPED] {} of {} events are not delivered; {}", batch.waiting, len(batch.events), stay)
        if self._in_flight is None or self._under_way is not None:
            return
        try:
            self._in_flight.ended()
        except Exception as error:  # noqa: BLE001 - raised, it would end the stream without a word
            logger.warning("[JOURNAL] The next start will wait without need: {}", error)

    def _wait(self, state: RetryCallState) -> float:
        # After a time-out the next step pauses by itself: a shutdown must not cut that short with a last try.
        error = state.outcome.exception() if state.outcome else None
        return 0.0 if isinstance(error, ReadTimedOut) else _backoff(state)

    def _sleep(self, seconds: float) -> None:
        if seconds:
            self._stop.wait(seconds)

    def _tell_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        seconds = state.upcoming_sleep or self._pause_seconds or self._uncertain_seconds
        self._reports.retrying(state.args[0], error, state.attempt_number + 1, seconds)


class _Stopped(Exception):
    """A shutdown ends the delivery of a batch."""


def _give_up(state: RetryCallState) -> None:
    del state
    raise _Stopped
