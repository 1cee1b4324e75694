"""The sink: delivers one batch at a time, for as long as it takes.

`on_next` returns when the batch is settled, and that is the backpressure. Nothing is ever raised from it: RxPY ends a
stream without a word when a subscriber raises.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from random import SystemRandom
from threading import Event
from typing import TypeAlias

from loguru import logger
from reactivex.abc import ObserverBase
from tenacity import RetryCallState, Retrying, stop_when_event_set, wait_random_exponential

from rxbridge.errors import DeliveryError, EventRejected, ReadTimedOut, ServerFailed, Throttled, Unauthorized, quoted
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream.answers import BatchAnswer, EventOutcome
from rxbridge.pulsestream.client import PulseStreamClient
from rxbridge.pulsestream.pending import PendingBatch
from rxbridge.telemetry.statistics import DeliveryStatistics

Settled: TypeAlias = Callable[[Sequence[EncodedEvent]], None]
Refused: TypeAlias = Callable[[EncodedEvent, EventRejected, int, int, int], None]
OnOutcome: TypeAlias = Callable[[EncodedEvent, EventOutcome], None]

SPREAD_SECONDS = 2.0
"""After a rate limit, clients go on at random moments of this time, and not all at the same one."""

_backoff = wait_random_exponential(multiplier=1, max=30)
_lazily = logger.opt(lazy=True)


class PulseStreamSink(ObserverBase[Sequence[EncodedEvent]]):
    """An observer of batches: non-empty, in offset order.

    There is never more than one request, and so never two with the same event. Tries go on for ever, with pauses drawn
    from 0 to 1, 2, 4 ... 30 seconds (full jitter), and only what is not yet known to be stored is sent again:

    - Rate limit: it goes on when the server's next minute has begun. This is no failure.
    - No answer in time: `wait_after_timeout_seconds` pass first, because the server may still be at work, and would
      store the events twice.
    - A refused key: retried like any failure. PulseStream refuses valid keys while its database is down.
    - An event whose timestamp is too far ahead of the server's clock: kept if it will be valid within ten minutes, as
      when a clock runs wrong; else refused for good.
    - An event that the server cannot store, and so refuses all its batch: see `rxbridge.pulsestream.pending`. One that
      is alone in its batch is tried for ever, since nothing tells it from a server in trouble; after a restart it is in
      a batch with others.

    An exception from `settled` or `refused` (a full disk, say) is logged with its traceback, and they are called again.

    When `stop` is set: a request in flight may end, and a pause after a failure ends with one last try at once; a pause
    for the rate limit or after a time-out ends without. A batch that is then not settled is abandoned: it is not
    acknowledged, and no later one is sent, so that order holds. A batch that comes after `stop` was set is tried once.

    Args:
        client: Where to deliver.
        settled: Called once a batch, in order, when each of its events is stored or recorded as refused: acknowledges.
        refused: Called once for an event that is refused for good, before its batch is settled, with the times of the
            first and the last attempt (nanoseconds since the Unix epoch) and the number of attempts: records a dead
            letter, and counts it.
        stop: Set by its owner when time is up.
        statistics: Where requests and deliveries are counted; deliveries once their batch is acknowledged.
        on_outcome: Told of every event that was stored, had been stored, or is refused.
        wait_after_timeout_seconds: The pause after a request that was not answered in time.
        clock: Nanoseconds since the Unix epoch.
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
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._client = client
        self._settled = settled
        self._refused = refused
        self._stop = stop
        self._statistics = statistics
        self._on_outcome = on_outcome
        self._wait_after_timeout_seconds = wait_after_timeout_seconds
        self._clock = clock
        self._abandoned = False
        self._pause_seconds = 0.0
        self._failing_since = 0
        self._failures = 0
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

    def on_next(self, value: Sequence[EncodedEvent]) -> None:
        """Deliver a batch; return when it is settled or abandoned."""
        if self._abandoned or not value:
            return
        batch = PendingBatch(value)
        try:
            while not batch.settled:
                self._retrying(self._step, batch)
        except _Stopped:
            self._abandoned = True
            logger.warning(
                "[STOPPED] {} of {} events (offsets {} to {}) are not delivered; they stay in the journal",
                *(batch.waiting, len(value), value[0].offset, value[-1].offset),
            )

    def on_error(self, error: Exception) -> None:
        """The stream is dead; whoever subscribed the sink must start it anew. Every batch that came is settled."""
        logger.opt(exception=error).error("[FATAL] The stream of batches has ended: {}", error)

    def on_completed(self) -> None:
        """The stream is complete. Every batch that came is settled, or abandoned."""

    def _step(self, batch: PendingBatch) -> None:
        """One request at most, and what follows from its answer; whatever it raises, it is simply done again."""
        self._pause()
        if batch.waiting:
            self._send(batch)
        self._record_refusals(batch)
        if not batch.waiting:
            self._settle(batch)

    def _pause(self) -> None:
        seconds, self._pause_seconds = self._pause_seconds, 0.0
        if seconds and self._stop.wait(seconds):
            raise _Stopped

    def _send(self, batch: PendingBatch) -> None:
        events = batch.next_request(self._clock())
        self._statistics.requests += 1
        try:
            answer = self._client.post_batch(events)
        except Throttled as error:
            self._tell_recovery(batch)
            self._throttle(len(events), error.resume_at)
        except Exception as error:
            self._statistics.failed_requests += 1
            if isinstance(error, ServerFailed) and batch.failed(error):
                logger.warning("[FAILURE] {}; it was about {} events, and concerns them alone", error, len(events))
                return
            if isinstance(error, ReadTimedOut):
                self._pause_seconds = self._wait_after_timeout_seconds
            self._failures += 1
            self._failing_since = self._failing_since or self._clock()
            raise
        else:
            batch.answered(answer)
            if not batch.in_parts:
                self._tell_recovery(batch)
            if batch.throttled:
                self._throttle(batch.throttled, answer.resume_at)
            elif batch.early_seconds:
                self._hold_early(batch)
            if not batch.probing:
                self._tell_outcomes(events, answer)

    def _throttle(self, events: int, resume_at: float) -> None:
        self._statistics.throttled += 1
        self._pause_seconds = max(resume_at - self._clock() / 1e9, 0.0) + SystemRandom().uniform(0.0, SPREAD_SECONDS)
        logger.info("[THROTTLED] The rate limit is reached; {} events go on in {:.1f} s", events, self._pause_seconds)

    def _hold_early(self, batch: PendingBatch) -> None:
        self._pause_seconds = batch.early_seconds
        logger.warning(
            "[EARLY] {} events lie too far ahead of PulseStream's clock (does one run wrong?); they go on in {:.1f} s",
            *(batch.waiting, self._pause_seconds),
        )

    def _record_refusals(self, batch: PendingBatch) -> None:
        while batch.refusals:
            refusal = batch.refusals[0]
            self._refused(refusal.event, refusal.error, refusal.first_attempt, refusal.last_attempt, refusal.attempts)
            batch.refusals.popleft()
            logger.warning("[REJECTED] {}", refusal.error)
            if self._on_outcome is not None:
                self._on_outcome(refusal.event, EventOutcome("refused", refusal.error.reasons))

    def _settle(self, batch: PendingBatch) -> None:
        self._settled(batch.events)
        batch.settled = True
        self._statistics.delivered += batch.delivered
        self._statistics.already_stored += batch.already_stored
        self._statistics.last_delivery_at = self._clock()
        self._tell_recovery(batch)

    def _wait(self, state: RetryCallState) -> float:
        # After a time-out the next step pauses by itself: a shutdown must not cut that short with a last try.
        return 0.0 if self._pause_seconds else _backoff(state)

    def _sleep(self, seconds: float) -> None:
        if seconds:
            self._stop.wait(seconds)

    def _tell_outcomes(self, events: Sequence[EncodedEvent], answer: BatchAnswer) -> None:
        for event, outcome in zip(events, answer.outcomes, strict=True):
            if outcome.fate == "stored":
                _lazily.debug("[SUCCESS] Event sent successfully (200) | {}", partial(_line, event))
            elif outcome.fate == "already_stored":
                _lazily.debug("[DUPLICATE] Event was stored already (200) | {}", partial(_line, event))
            else:
                continue
            if self._on_outcome is not None:
                self._on_outcome(event, outcome)

    def _tell_failure(self, state: RetryCallState) -> None:
        batch: PendingBatch = state.args[0]
        error = state.outcome.exception() if state.outcome else None
        seconds = state.upcoming_sleep or self._pause_seconds
        then = (batch.waiting, state.attempt_number + 1, seconds)
        if isinstance(error, Unauthorized):
            logger.error("[UNAUTHORIZED] {}; {} events wait, nothing is lost, try {} in {:.1f} s", error, *then)
        elif isinstance(error, DeliveryError):
            logger.warning("[FAILURE] {}; {} events wait, try {} in {:.1f} s", error, *then)
        else:
            logger.opt(exception=error).error(
                "[ERROR] Unexpected, in the delivery of a batch: {}; {} events wait, try {} in {:.1f} s", error, *then
            )

    def _tell_recovery(self, batch: PendingBatch) -> None:
        if not self._failures:
            return
        seconds = (self._clock() - self._failing_since) / 1e9
        logger.info(
            "[RECOVERED] PulseStream answers again after {:.1f} s and {} failed requests; {} events were sent again",
            *(seconds, self._failures, len(batch.events)),
        )
        self._failures, self._failing_since = 0, 0


class _Stopped(Exception):
    """A shutdown ends the delivery of a batch."""


def _give_up(state: RetryCallState) -> None:
    del state
    raise _Stopped


def _line(event: EncodedEvent) -> str:
    title = quoted(event.title)[1:-1]
    return title if event.price is None else f"{title} | Price: ${event.price:.2f}"
