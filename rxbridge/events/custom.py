"""Events of a user's own pipeline: what the user says of one, and how it becomes a record that PulseStream takes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

import msgspec
from loguru import logger
from msgspec import UNSET, Raw, UnsetType

from rxbridge.errors import quoted
from rxbridge.events.cleaning import clean, instant, naive_utc, shorten
from rxbridge.events.raw import MAXIMUM_BYTES, MAXIMUM_DEPTH, embeddable
from rxbridge.events.schema import EncodedEvent, GapMetrics, Metadata, Source
from rxbridge.messages import Frame

CUSTOM_SERVICE = "rxbridge-pipeline"
"""`source.service` of the events of a user's pipeline that names none."""

Severity: TypeAlias = Literal["info", "warning", "error", "critical"]
EventType: TypeAlias = Literal["custom_event", "system_event", "user_action", "api_call", "error_event"]
Payload: TypeAlias = Mapping[str, Any] | msgspec.Struct
Moment: TypeAlias = datetime | int | str | None

_LONGEST_ID = 100
_LONGEST_SERVICE = 100
_LONGEST_ENDPOINT = 500
_LONGEST_TITLE = 200
_LONGEST_MESSAGE = 2000
_LONGEST_ENVIRONMENT = 50
_SERVICE_IN_ID = 60
_DIGEST_LENGTH = 32

Take: TypeAlias = Callable[[object, Exception], None]

TAKES_DEAD_LETTERS: ContextVar[Take | None] = ContextVar("takes_dead_letters", default=None)
"""Whoever runs a pipeline sets this meanwhile, to be given what `dead_letter` is given."""


class CustomEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a user's pipeline, as `event` made it."""

    title: str
    payload: Payload
    timestamp: Moment = None
    event_id: str | None = None
    service: str = CUSTOM_SERVICE
    severity: Severity = "info"
    event_type: EventType = "custom_event"
    message: str = ""
    endpoint: str = "/custom"
    tags: Mapping[str, str] = {}
    holds: int | UnsetType | None = UNSET


def event(
    title: str,
    payload: Payload,
    *,
    timestamp: Moment = None,
    event_id: str | None = None,
    service: str = CUSTOM_SERVICE,
    severity: Severity = "info",
    event_type: EventType = "custom_event",
    message: str = "",
    endpoint: str = "/custom",
    tags: Mapping[str, str] | None = None,
    holds: int | UnsetType | None = UNSET,
) -> CustomEvent:
    """An event of a user's pipeline.

    It is checked when it is delivered; one that PulseStream could never take becomes a dead letter.

    Args:
        title: At most 200 characters; what is longer is cut.
        payload: A mapping or a msgspec Struct, of what JSON can hold; decimals and times become text.
        timestamp: The event's time: a datetime (without a zone it is UTC), nanoseconds since the Unix epoch, or ISO
            8601. By default when the frame was received that made the event.
        event_id: At most 100 characters. PulseStream keeps the first event of an id, so name what the event stands for,
            such as a product and a time, and no number that a restart might compute otherwise. By default it is derived
            from all else that the event says.
        service: `source.service`, by which the server can be searched; at most 100 characters.
        severity: PulseStream's.
        event_type: PulseStream's.
        message: At most 2000 characters; what is longer is cut.
        endpoint: `source.endpoint`; at most 500 characters.
        tags: Text by text.
        holds: The journal offset of the oldest frame that the pipeline still needs after this event, to make its next
            ones, such as the first trade of a candle that is open; 0 or None if it needs none. A restart reads again
            from there. If nothing is said, see docs/custom-pipelines.md.
    """
    return CustomEvent(
        title=title,
        payload=payload,
        timestamp=timestamp,
        event_id=event_id,
        service=service,
        severity=severity,
        event_type=event_type,
        message=message,
        endpoint=endpoint,
        tags={} if tags is None else tags,
        holds=holds,
    )


def dead_letter(item: object, error: Exception) -> None:
    """Make a dead letter of an item that a user's pipeline cannot use: `parse(decode, dead_letter)`.

    In a bridge it is kept with the frame that is just read, counted and audited; elsewhere it is a warning in the log.
    """
    take = TAKES_DEAD_LETTERS.get()
    if take is None:
        logger.warning("[DEAD LETTER] {}: {}", type(error).__name__, quoted(str(error)))
    else:
        take(item, error)


class _Context(msgspec.Struct, frozen=True, gc=False):
    request_id: str
    tags: dict[str, str]


class _Record(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """The fields of `schema.Event`, with a payload of any kind."""

    event_type: str
    severity: str
    event_id: str
    title: str
    message: str
    source: Source
    context: _Context
    metrics: GapMetrics
    payload: Raw
    metadata: Metadata
    timestamp: datetime


_ENCODER = msgspec.json.Encoder(order="deterministic")


def encode_custom(said: CustomEvent, frame: Frame, *, environment: str, now: int) -> EncodedEvent:
    """The event as JSON, ready for a batch.

    Args:
        said: What the user says.
        frame: The frame that made it.
        environment: `source.environment`.
        now: `metadata.processed_at`, in nanoseconds since the Unix epoch.

    Raises:
        ValueError: PulseStream could never take it: an id or a service of the wrong length, a time that is none.
        TypeError: A value has a type that JSON has not, or that is none of those that are allowed.
    """
    if not isinstance(said.payload, (Mapping, msgspec.Struct)):  # pyright: ignore[reportUnnecessaryIsInstance] users' code
        raise TypeError(f"a payload is a mapping or a Struct, not {type(said.payload).__name__}")
    if said.severity not in {"info", "warning", "error", "critical"}:
        raise ValueError(f"PulseStream has no severity {said.severity!r}")
    if said.event_type not in {"api_call", "user_action", "system_event", "error_event", "custom_event"}:
        raise ValueError(f"PulseStream has no event type {said.event_type!r}")
    service = _of_length("service", said.service, _LONGEST_SERVICE)
    endpoint = _of_length("endpoint", said.endpoint, _LONGEST_ENDPOINT)
    title = shorten(_of_length("title", said.title, None), _LONGEST_TITLE)
    timestamp = _naive(said.timestamp, frame)
    tags = {clean(name): clean(value) for name, value in said.tags.items()}
    message = clean(shorten(said.message, _LONGEST_MESSAGE))
    payload = _payload(said.payload)
    identity = said.event_id
    if identity is None:
        content = (service, endpoint, said.event_type, said.severity, title, message, tags, timestamp, Raw(payload))
        digest = hashlib.sha256(_ENCODER.encode(content)).hexdigest()[:_DIGEST_LENGTH]
        identity = f"{service[:_SERVICE_IN_ID]}-{digest}"
    elif not isinstance(identity, str):  # pyright: ignore[reportUnnecessaryIsInstance] users' code
        raise TypeError(f"an event id is text, not {type(identity).__name__}")
    elif not identity.isprintable() or not 0 < len(identity) <= _LONGEST_ID:
        raise ValueError(
            f"an event id has 1 to {_LONGEST_ID} printable characters, not {quoted(identity, _LONGEST_ID)}"
        )
    record = _Record(
        event_type=said.event_type,
        severity=said.severity,
        event_id=identity,
        title=title,
        message=message,
        source=Source(service, endpoint, "WEBSOCKET", "v1", clean(shorten(environment, _LONGEST_ENVIRONMENT))),
        context=_Context(identity, tags),
        metrics=GapMetrics(0.0, 200),
        payload=Raw(payload),
        metadata=Metadata(naive_utc(now)),
        timestamp=timestamp,
    )
    body = msgspec.json.encode(record)
    return EncodedEvent(
        identity, title, None, frame.offset, timestamp, body, "", frame.received_at, ends_frame=True, service=service
    )


def _of_length(name: str, text: str, length: int | None) -> str:
    if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance] users' code
        raise TypeError(f"{name} is text, not {type(text).__name__}")
    if not text or (length is not None and len(text) > length):
        raise ValueError(f"{name} must not be empty" + (f", nor longer than {length} characters" if length else ""))
    return clean(text)


def _naive(moment: Moment, frame: Frame) -> datetime:
    if moment is None:
        return naive_utc(frame.received_at)
    if isinstance(moment, datetime):
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    if isinstance(moment, str):
        if (read := instant(moment)) is None:
            raise ValueError(f"no time in ISO 8601: {quoted(moment, 40)}")
        return read
    if isinstance(moment, bool) or not isinstance(moment, int):  # pyright: ignore[reportUnnecessaryIsInstance] users' code
        raise TypeError(f"a timestamp is a datetime, an integer or text, not {type(moment).__name__}")
    return naive_utc(moment)


def _payload(payload: Payload) -> bytes:
    try:
        data = _ENCODER.encode(payload)
    except UnicodeEncodeError:
        # Half a surrogate pair, which only escapes can write; it is replaced below.
        data = json.dumps(msgspec.to_builtins(payload), sort_keys=True).encode()
    if len(data) > MAXIMUM_BYTES:
        raise ValueError(f"a payload has at most {MAXIMUM_BYTES:,} bytes as JSON, not {len(data):,}")
    kept = embeddable(data)
    if not kept.startswith(b"{"):
        raise ValueError(f"a payload has at most {MAXIMUM_DEPTH} levels, and keys that differ in more than NUL")
    return kept
