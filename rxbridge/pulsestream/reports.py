"""What the sink tells of itself: one line for each thing that happens, never one from the network unescaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from loguru import logger

from rxbridge.errors import DeliveryError, JournalError, Unauthorized, quoted
from rxbridge.events import EncodedEvent
from rxbridge.pulsestream.answers import BatchAnswer
from rxbridge.pulsestream.in_flight import Note, Outcome
from rxbridge.pulsestream.limits import Limit
from rxbridge.pulsestream.pending import PendingBatch

_NOTABLE_PAUSE_SECONDS = 5.0

_lazily = logger.opt(lazy=True)


class Reports:
    """Log lines, and since when PulseStream has failed.

    Args:
        clock: Nanoseconds since the Unix epoch.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._failing_since = 0
        self._failures = 0

    def failed(self) -> None:
        """A request has failed."""
        self._failures += 1
        self._failing_since = self._failing_since or self._clock()

    def retrying(self, batch: PendingBatch, error: BaseException | None, attempt: int, seconds: float) -> None:
        """Something is tried again."""
        then = (batch.waiting, attempt, seconds)
        if isinstance(error, Unauthorized):
            logger.error("[UNAUTHORIZED] {}; {} events wait, nothing is lost, try {} in {:.1f} s", error, *then)
        elif isinstance(error, DeliveryError):
            logger.warning("[FAILURE] {}; {} events wait, try {} in {:.1f} s", error, *then)
        elif isinstance(error, JournalError):
            logger.warning("[JOURNAL] {}; {} events are not acknowledged yet, try {} in {:.1f} s", error, *then)
        else:
            logger.opt(exception=error).error(
                "[ERROR] Unexpected, in the delivery of a batch: {}; {} events wait, try {} in {:.1f} s", error, *then
            )

    def recovered(self, batch: PendingBatch) -> None:
        """PulseStream answers; nothing to tell if it always did."""
        if not self._failures:
            return
        seconds = (self._clock() - self._failing_since) / 1e9
        logger.info(
            "[RECOVERED] PulseStream answers again after {:.1f} s and {} failed requests; {} events were sent again",
            *(seconds, self._failures, len(batch.events)),
        )
        self._failures, self._failing_since = 0, 0

    @staticmethod
    def throttled(events: int, seconds: float, before: Limit | None, limit: Limit | None) -> None:
        """The rate limit was met; `before` is what was believed of it until now."""
        logger.info("[THROTTLED] The rate limit is reached; {} events go on in {:.1f} s", events, seconds)
        if limit is not None and limit != before:
            logger.info(
                "[RATE LIMIT] PulseStream seems to take {} events in {} s; what waits is spread over that time",
                *(limit.events, limit.seconds),
            )

    @staticmethod
    def paced(batch: PendingBatch, seconds: float) -> None:
        """Nothing is sent for a while, so that the rate limit is not met."""
        if seconds >= _NOTABLE_PAUSE_SECONDS:
            logger.info(
                "[PACED] This minute's rate limit is used up; {} events go on in {:.1f} s", batch.waiting, seconds
            )

    @staticmethod
    def early(batch: PendingBatch, seconds: float) -> None:
        """Events from the future are kept until they are valid."""
        logger.warning(
            "[EARLY] {} events lie too far ahead of PulseStream's clock (does one run wrong?); they go on in {:.1f} s",
            *(batch.waiting, seconds),
        )

    @staticmethod
    def uncertain(note: Note, seconds: float) -> None:
        """A request may still be at work at the server."""
        logger.warning(
            "[UNCERTAIN] PulseStream may still be at work on {} events (offsets {} to {}); it is asked for them, and "
            "they are sent again once they are found, or in {:.1f} s",
            *(note.events, note.first_offset, note.last_offset, seconds),
        )

    @staticmethod
    def awaited(outcome: Outcome) -> None:
        """The end of that."""
        if outcome == "found":
            logger.info("[FOUND] PulseStream had stored what it did not confirm; the delivery goes on at once")
        elif outcome == "over":
            logger.info("[WAITED] What PulseStream did not confirm was not found; it is sent again")

    @staticmethod
    def outcomes(events: Sequence[EncodedEvent], answer: BatchAnswer) -> None:
        """A line for every event that is stored, if anybody reads it."""
        for event, outcome in zip(events, answer.outcomes, strict=True):
            if outcome.fate == "stored":
                _lazily.debug("[SUCCESS] Event sent successfully (200) | {}", partial(_line, event))
            elif outcome.fate == "already_stored":
                _lazily.debug("[DUPLICATE] Event was stored already (200) | {}", partial(_line, event))


def _line(event: EncodedEvent) -> str:
    title = quoted(event.title)[1:-1]
    return title if event.price is None else f"{title} | Price: ${event.price:.2f}"
