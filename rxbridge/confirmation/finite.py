"""Posting that ends: each event has a verdict, or the whole comes to nothing.

An event that PulseStream's database cannot take makes it refuse all others of its request. So a request that fails is
sent again in halves, down to that event, which is then given up; if PulseStream is well otherwise.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Literal, NamedTuple

from loguru import logger
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from rxbridge.errors import ReadTimedOut, ServerFailed, Throttled, Unreachable
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream import BatchAnswer, EventOutcome, PulseStreamClient

_TRIES = 3
_DOUBT_SECONDS = 5.0
_MAY_BE_THE_EVENTS = frozenset({200, 400, 403, 413, 422, 500})


class Verdict(NamedTuple):
    """What became of an event, and why if it is not stored."""

    fate: Literal["stored", "already_stored", "refused", "failed"]
    reason: str = ""


class FinitePosts:
    """Posts events, one request at a time.

    Args:
        client: Where to.
        request_events: Events in a request.
        sleep: Waits so many seconds.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        client: PulseStreamClient,
        *,
        request_events: int = 100,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._request_events = request_events
        self._sleep = sleep
        self._clock = clock
        self._retrying = Retrying(
            # After a time-out the request may still be running: the same events must not follow it at once.
            retry=retry_if_exception(
                lambda error: isinstance(error, Unreachable) and not isinstance(error, ReadTimedOut)
            ),
            stop=stop_after_attempt(_TRIES),
            wait=wait_random_exponential(multiplier=1, max=10),
            sleep=sleep,
            before_sleep=_tell,
            reraise=True,
        )

    def post(self, events: Sequence[EncodedEvent]) -> Iterator[tuple[EncodedEvent, Verdict]]:
        """Send them all; a verdict for each, as it is known.

        Raises:
            Unreachable: PulseStream cannot be reached, or did not answer in time.
            Unauthorized: It refuses the key.
            ServerFailed: It is in trouble, whatever it is asked.
        """
        for begin in range(0, len(events), self._request_events):
            yield from self._request(events[begin : begin + self._request_events])

    def _request(self, events: Sequence[EncodedEvent]) -> Iterator[tuple[EncodedEvent, Verdict]]:
        waiting = list(events)
        while waiting:
            try:
                answer: BatchAnswer = self._retrying(self._client.post_batch, waiting)
            except Throttled as error:
                self._wait_for_limit(len(waiting), error.resume_at)
                continue
            except ServerFailed as error:
                yield from self._after_failure(waiting, error)
                return
            put_off: list[EncodedEvent] = []
            for event, outcome in zip(waiting, answer.outcomes, strict=True):
                if outcome.fate == "throttled":
                    put_off.append(event)
                else:
                    yield event, _verdict(outcome)
            waiting = put_off
            if waiting:
                self._wait_for_limit(len(waiting), answer.resume_at)

    def _after_failure(
        self, events: Sequence[EncodedEvent], error: ServerFailed
    ) -> Iterator[tuple[EncodedEvent, Verdict]]:
        if error.status not in _MAY_BE_THE_EVENTS:
            raise error
        if error.status == HTTPStatus.OK:
            # It may have stored some all the same, and commits after it has answered.
            self._sleep(_DOUBT_SECONDS)
        if len(events) > 1:
            half = (len(events) + 1) // 2
            yield from self._request(events[:half])
            yield from self._request(events[half:])
            return
        # Is it this event, or PulseStream itself? That raises.
        self._client.check()
        yield events[0], Verdict("failed", str(error))

    def _wait_for_limit(self, events: int, resume_at: float) -> None:
        seconds = max(resume_at - self._clock(), 0.0)
        logger.info("[THROTTLED] The rate limit is reached; {} events go on in {:.1f} s", events, seconds)
        self._sleep(seconds)


def _verdict(outcome: EventOutcome) -> Verdict:
    reason = "; ".join(outcome.reasons)
    match outcome.fate:
        case "stored" | "already_stored":
            return Verdict(outcome.fate)
        case "early":
            return Verdict("failed", reason)
        case _:
            return Verdict("refused", reason)


def _tell(state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    logger.warning("[FAILURE] {}; next try in {:.1f} s", error, state.upcoming_sleep)
