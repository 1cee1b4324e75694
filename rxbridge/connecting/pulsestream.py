"""PulseStream as a sink of whatever a notebook has: messages, events, dicts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias, cast, get_args

import msgspec
from loguru import logger
from reactivex.abc import DisposableBase, ObserverBase
from reactivex.subject import Subject

from operators import SteadyScheduler, batch
from rxbridge.errors import ConfigError, EventRejected
from rxbridge.events import EncodedEvent, Event, EventRules, encode, to_event
from rxbridge.events.custom import CUSTOM_SERVICE, CustomEvent, encode_custom, event
from rxbridge.messages import NO_FRAME, EventMessage, Frame
from rxbridge.pulsestream import PulseStreamClient, PulseStreamSink
from rxbridge.telemetry.statistics import DeliveryStatistics

Item: TypeAlias = CustomEvent | EventMessage | Event | EncodedEvent | Mapping[str, Any]
"""What becomes an event."""

Refused: TypeAlias = Callable[[object, Exception], None]

_MESSAGES: tuple[type, ...] = get_args(EventMessage)


class PulseStream(ObserverBase[object], DisposableBase):
    """A subscriber that delivers to PulseStream, each item as an event.

        connect(observable).to(PulseStream("http://localhost:8000", key))

    A ticker, a trade, a candle, the image of a book, or a gap becomes the event that the bridge would make of it, with
    the same id, so it is stored once whoever sends it. `rxbridge.event(...)` says what an event of your own holds; a
    mapping becomes the payload of one, whose time is that of its coming. What else comes, or could never be stored,
    goes to `refused`.

    Events are sent in batches, for as long as it takes: a server that is down, slow or at its rate limit is waited for,
    and whoever calls `on_next` meanwhile. Nothing is kept anywhere but in memory, and PulseStream's word is taken for
    it: `rxbridge.Bridge` has a journal, and proofs. `on_completed` returns when everything is delivered; disposing
    gives up what is not. One instance serves one stream: what has ended takes nothing more, and says so.

    Args:
        url: PulseStream's base, or any address of its ingestion API.
        api_key: The tenant's key. It is not shown anywhere.
        title: Of the events that mappings become.
        service: `source.service` of these, by which the server can be searched.
        environment: `source.environment` of all events.
        refused: Is given what cannot be an event, and what PulseStream refuses for good (the EncodedEvent); else the
            log is told.
        batch_count: Events in a batch.
        batch_seconds: A batch closes so long after its first event.
        batch_bytes: Bytes of events in a batch.
        events_per_minute: The tenant's rate limit; None to learn it.
        read_timeout_seconds: How long an answer may take.
        ca_file: Certificates to trust instead of the usual ones.

    Attributes:
        refused_items: How many were refused, here or by PulseStream.

    Raises:
        ConfigError: The address, the key or the certificate file is not usable.
        ValueError: A limit of the batches is not positive.
    """

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        title: str = "Custom event",
        service: str = CUSTOM_SERVICE,
        environment: str = "production",
        refused: Refused | None = None,
        batch_count: int = 100,
        batch_seconds: float = 0.25,
        batch_bytes: int = 1_000_000,
        events_per_minute: int | None = None,
        read_timeout_seconds: float = 120.0,
        ca_file: str | Path | None = None,
    ) -> None:
        for name, given in (("url", url), ("api_key", api_key or "")):
            if not isinstance(given, str):  # pyright: ignore[reportUnnecessaryIsInstance] a notebook has no type checker
                raise ConfigError(name, f"is of type {type(given).__name__}", "give it as text")
        self.refused_items: int = 0
        self._refused = _tell_refused if refused is None else refused
        self._title, self._service, self._environment = title, service, environment
        self._rules = EventRules(environment)
        self._statistics = DeliveryStatistics()
        self._stop, self._done, self._busy = threading.Event(), threading.Event(), threading.Lock()
        # Held while something is taken, and by the end of the stream, so that nothing slips in behind that. `refused`
        # is called within, and may call in turn.
        self._taking = threading.RLock()
        self._ended = False
        self._failure: Exception | None = None
        self._client = PulseStreamClient(url, api_key, read_timeout_seconds=read_timeout_seconds, ca_file=ca_file)
        self._sink = PulseStreamSink(
            self._client,
            settled=_forget,
            refused=self._refused_by_pulsestream,
            stop=self._stop,
            statistics=self._statistics,
            largest_request=batch_count,
            events_per_minute=events_per_minute,
        )
        self._timers = SteadyScheduler()
        self._events = Subject[EncodedEvent]()
        batches = self._events.pipe(
            batch(
                count=batch_count,
                seconds=batch_seconds,
                bytes=batch_bytes,
                size=lambda one: len(one.body),
                scheduler=self._timers,
            )
        )
        self._subscription = batches.subscribe(self._deliver, self._fail, self._done.set)

    @property
    def is_stopped(self) -> bool:
        """Whether it has ended, by completion or disposal, and takes nothing more."""
        return self._ended

    def statistics(self) -> DeliveryStatistics:
        """The counters as they are now; what is received and neither delivered nor dead is in hand, or was given up."""
        return replace(self._statistics)

    def check(self) -> None:
        """Ask whether PulseStream is up and takes the key.

        Raises:
            DeliveryError: It is not, or does not.
        """
        with self._busy:
            self._client.check()

    def on_next(self, value: object) -> None:
        """Take an item; wait if two batches wait already.

        Raises:
            RuntimeError: It has ended.
            Exception: What has ended the delivery of earlier items.
        """
        with self._taking:
            if self._ended:
                raise RuntimeError("this PulseStream has ended, and takes nothing more; make another one")
            self._raise()
            try:
                encoded = self._encode(value)
            except Exception as error:  # noqa: BLE001 whatever a user's item does is no failure of the stream
                self._refuse(value, error)
            else:
                self._events.on_next(encoded)

    def on_error(self, error: Exception) -> None:
        """Deliver what is in hand. Whoever subscribed is told of the error."""
        del error
        self.on_completed()

    def on_completed(self) -> None:
        """Deliver what is in hand, and let go of the connection.

        Raises:
            Exception: What has ended the delivery before all was delivered.
        """
        with self._taking:
            self._ended = True
            self._events.on_completed()
        self._done.wait()
        self.dispose()
        self._raise()

    def dispose(self) -> None:
        """Give up what is not delivered, and let go of everything; a request that is under way may end."""
        self._ended = True
        self._stop.set()
        self._done.set()
        self._subscription.dispose()
        self._timers.dispose()
        self._close()

    def __repr__(self) -> str:
        now = self._statistics
        counts = f"{now.received:,} received, {now.delivered:,} delivered, {self.refused_items:,} refused"
        return f"<PulseStream at {self._client.address.base}; {counts}>"

    def _deliver(self, events: Sequence[EncodedEvent]) -> None:
        with self._busy:
            self._sink.on_next(events)
        if self._stop.is_set():
            self._close()

    def _fail(self, error: Exception) -> None:
        self._failure = error
        self._done.set()

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _close(self) -> None:
        # One who is at work closes it when it is done.
        if self._busy.acquire(blocking=False):
            self._client.close()
            self._busy.release()

    def _encode(self, value: object) -> EncodedEvent:
        now = time.time_ns()
        number = self._statistics.received + 1
        if isinstance(value, Mapping):
            value = event(self._title, cast("Mapping[str, Any]", value), service=self._service)
        if isinstance(value, CustomEvent):
            made = Frame(b"", now, 0, 0, number)
            encoded = encode_custom(value, made, environment=self._environment, now=now)
        elif isinstance(value, EncodedEvent):
            encoded = msgspec.structs.replace(value, offset=number)
        elif isinstance(value, Event):
            encoded = encode(value, number, now)
        elif isinstance(value, _MESSAGES):
            encoded = self._of_message(cast("EventMessage", value), number, now)
        else:
            raise TypeError(f"{type(value).__name__} is nothing that becomes an event")
        self._statistics.received = number
        return encoded

    def _of_message(self, message: EventMessage, number: int, now: int) -> EncodedEvent:
        if message.frame is NO_FRAME:
            # One that was made by hand has come just now.
            message = msgspec.structs.replace(message, frame=Frame(b"{}", now, 0, 0))
        return encode(to_event(message, self._rules, now=now), number, message.frame.received_at)

    def _refused_by_pulsestream(self, item: EncodedEvent, error: EventRejected, *_times: int) -> None:
        self._statistics.dead += 1
        self._refuse(item, error)

    def _refuse(self, item: object, error: Exception) -> None:
        self.refused_items += 1
        self._refused(item, error)


def _forget(_events: Sequence[EncodedEvent]) -> None:
    """What is settled is no more in hand, and nobody else keeps it."""


def _tell_refused(item: object, error: Exception) -> None:
    logger.warning("[REFUSED] {}: {}", type(item).__name__, error)
