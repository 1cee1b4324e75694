"""Which request may still be at work at the server: after a crash, and after a time-out.

PulseStream looks each event up before it stores it, so a request that comes while another one with the same event is
still at work stores it twice. A client that has hung up, or died, does not stop the one at work. So before each request
a note of it is kept durably. Who finds that its events were not acknowledged asks for them by search, and sends none of
them again before they are found, or enough time has passed. A request is one transaction: when one of its events is
there, it is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from threading import Event
from typing import Literal, TypeAlias

import msgspec
from loguru import logger

from rxbridge.errors import DeliveryError
from rxbridge.events import SERVICE, EncodedEvent
from rxbridge.pulsestream.client import PulseStreamClient

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 5.0
_LONGEST_SEARCH_SECONDS = 5.0
_ROWS = 1000

_EVERY_OFFSET = 2**63 - 1

Outcome: TypeAlias = Literal["found", "over", "stopped"]


class Trace(msgspec.Struct, frozen=True):
    """By what an event is found: its id, its timestamp, naive, in ISO 8601, and its service if it has another one."""

    event_id: str
    timestamp: str
    service: str = ""


class Note(msgspec.Struct, frozen=True):
    """A request that was about to be sent.

    Attributes:
        started_at: When, or when it was given up, in nanoseconds since the Unix epoch.
        started_monotonic: When, in seconds of the system's clock that only rises, which a restart of the system sets
            back to about 0.
        first_offset: The lowest offset of its events.
        last_offset: The highest one.
        highest_offset: The highest one that was ever sent.
        events: How many there were.
        attempt: How often they were sent, this one included.
        traces: A few of its events; if possible such that were never sent before, since finding those that were could
            be the work of an earlier request.
    """

    started_at: int
    started_monotonic: float
    first_offset: int
    last_offset: int
    highest_offset: int
    events: int
    attempt: int
    traces: tuple[Trace, ...]


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Note)


class InFlight:
    """Keeps the note of the request that is under way.

    Args:
        remember: Keeps a note durably, instead of the one before.
        earlier: The note that an earlier process left, if any.
        service: `source.service` of the events that have none of their own.
        clock: Nanoseconds since the Unix epoch.
        monotonic: Seconds that only rise, also from one process to the next.

    Attributes:
        earlier: The request that an earlier process may have left; None if it left none.
        service: As above.
    """

    def __init__(
        self,
        remember: Callable[[bytes], None],
        earlier: bytes | None = None,
        *,
        service: str = SERVICE,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self._remember = remember
        self._clock = clock
        self._monotonic = monotonic
        self.earlier: Note | None = self._read(earlier) if earlier else None
        # Nobody knows how far a note that cannot be read went; it must not make everything look as if sent before.
        known = self.earlier is not None and self.earlier.highest_offset < _EVERY_OFFSET
        self._highest_offset = self.earlier.highest_offset if self.earlier is not None and known else 0

    def sending(self, events: Sequence[EncodedEvent], never_sent: Sequence[EncodedEvent], attempt: int) -> Note:
        """Keep a note of a request that is about to be sent.

        Args:
            events: What it holds, at least one, in offset order.
            never_sent: Those of them that this process never sent before.
            attempt: How often they were sent, this time included.

        Raises:
            JournalError: It could not be kept; the request must not be sent.
        """
        never_sent = [event for event in never_sent if event.offset > self._highest_offset]
        last_offset = events[-1].offset
        self._highest_offset = max(self._highest_offset, last_offset)
        note = Note(
            started_at=self._clock(),
            started_monotonic=self._monotonic(),
            first_offset=events[0].offset,
            last_offset=last_offset,
            highest_offset=self._highest_offset,
            events=len(events),
            attempt=attempt,
            traces=tuple(_traces(never_sent or events)),
        )
        self._remember(_encoder.encode(note))
        return note

    def unanswered(self, note: Note) -> Note:
        """Keep that a request was given up only now: a pause that the next process makes begins here.

        Raises:
            JournalError: It could not be kept.
        """
        note = msgspec.structs.replace(note, started_at=self._clock(), started_monotonic=self._monotonic())
        self._remember(_encoder.encode(note))
        return note

    def ended(self) -> None:
        """Keep that nothing is under way.

        Raises:
            JournalError: It could not be kept.
        """
        self._remember(b"")

    def patience(self, note: Note, seconds: float) -> float:
        """What is left of a pause after a request began; never more than the pause, whatever the clocks say.

        The wall clock may have been set in between, and the other one begins anew with the system: where both can be
        true, the one by which less time has passed is believed.
        """
        passed = (self._clock() - note.started_at) / 1e9
        risen = self._monotonic() - note.started_monotonic
        if risen >= 0:
            passed = min(passed, risen)
        return seconds - min(max(passed, 0.0), seconds)

    def _read(self, earlier: bytes) -> Note:
        try:
            return _decoder.decode(earlier)
        except msgspec.MsgspecError as error:
            logger.warning("[UNCERTAIN] The note of the last request cannot be read: {}", error)
        now, risen = self._clock(), self._monotonic()
        return Note(now, risen, 0, _EVERY_OFFSET, _EVERY_OFFSET, 0, 1, ())


def await_outcome(
    note: Note,
    client: PulseStreamClient,
    *,
    service: str,
    seconds: float,
    stop: Event,
    monotonic: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Wait until a request that may be at work is over.

    Args:
        note: Of the request.
        client: Where to search. A search that fails is no answer.
        service: `source.service` of the events that have none of their own.
        seconds: How long to wait at most.
        stop: Ends the wait.
        monotonic: Seconds that only rise.

    Returns:
        `found`: it is over, and stored its events. `over`: the time has passed. `stopped`: `stop` was set.
    """
    deadline = monotonic() + seconds
    pause = _FIRST_PAUSE_SECONDS
    while not stop.is_set():
        if (left := deadline - monotonic()) <= 0:
            return "over"
        if any(_is_stored(trace, client, service, min(left, _LONGEST_SEARCH_SECONDS)) for trace in note.traces):
            return "found"
        left = max(deadline - monotonic(), 0.0)
        if stop.wait(min(pause, left)):
            break
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
    return "stopped"


def _is_stored(trace: Trace, client: PulseStreamClient, service: str, seconds: float) -> bool:
    moment = trace.timestamp
    try:
        page = client.search(
            service=trace.service or service, start=moment, end=moment, limit=_ROWS, timeout_seconds=seconds
        )
    except DeliveryError as error:
        logger.debug("[UNCERTAIN] The search does not help: {}", error)
        return False
    return any(row.external_id == trace.event_id for row in page.events)


def _traces(events: Sequence[EncodedEvent]) -> Iterator[Trace]:
    """The first event, which the rate limit refuses last, the last one, and one in between."""
    for index in sorted({0, len(events) // 2, len(events) - 1}):
        event = events[index]
        yield Trace(event.event_id, event.timestamp.isoformat(), event.service)
