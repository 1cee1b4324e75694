"""What becomes of an accepted event in the database: what is kept, under which name, and what PostgreSQL refuses."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from rxbridge.pulsestream_server.store import EventRow
from rxbridge.pulsestream_server.validation import EventContext, EventError, EventMetrics, EventSource, IncomingEvent

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_LARGEST_INTEGER = 2**31 - 1
_LONGEST_CORRELATION_ID = 255
_DURATION_PARAMETER = 11


class DatabaseRefused(Exception):
    """PostgreSQL would not take it. The message is what SQLAlchemy would make of that, as the API shows it."""

    def __init__(self, kind: str, problem: str, statement: str = "INSERT INTO events") -> None:
        super().__init__(
            f"(sqlalchemy.dialects.postgresql.asyncpg.Error) <class 'asyncpg.exceptions.{kind}'>: {problem}\n"
            f"[SQL: {statement} ...]"
        )


def stored(event: IncomingEvent, *, tenant_id: int, event_id: str, timestamp: datetime, ingested_at: str) -> EventRow:
    """The row of an event.

    Args:
        event: The event as it was accepted.
        tenant_id: Whose it is.
        event_id: Its id.
        timestamp: When it happened; UTC, naive.
        ingested_at: When it came, in the database's format.

    Raises:
        DatabaseRefused: It holds something that a PostgreSQL column cannot.
    """
    context, metrics = event.context, event.metrics
    # The driver refuses a number before the database sees the rest.
    duration_ms = _integer(metrics.response_time_ms) if metrics else None
    return EventRow(
        tenant_id=tenant_id,
        event_type=event.event_type.value,
        source=event.source.service,
        source_version=event.source.version,
        event_timestamp=database_time(timestamp),
        ingested_at=ingested_at,
        payload=jsonb(_payload(event)),
        event_metadata=jsonb(_metadata(event)),
        external_id=event_id,
        correlation_id=_fitting(context.request_id) if context else None,
        duration_ms=duration_ms,
        status_code=metrics.status_code if metrics else None,
        error_message=event.error_details.error_message if event.error_details else None,
        user_agent=context.user_agent if context else None,
    )


def database_time(time: datetime) -> str:
    """A naive UTC time in the database's format."""
    return time.isoformat(" ", "microseconds")


def _payload(event: IncomingEvent) -> dict[str, Any]:
    return {
        "title": event.title,
        "message": event.message,
        "severity": event.severity.value,
        "source": _source(event.source),
        "context": _context(event.context) if event.context else None,
        "metrics": _metrics(event.metrics) if event.metrics else None,
        "error_details": _error_details(event.error_details) if event.error_details else None,
        "custom_data": event.payload or {},
    }


def _source(source: EventSource) -> dict[str, Any]:
    return {
        "service": source.service,
        "endpoint": source.endpoint,
        "method": source.method,
        "version": source.version,
        "environment": source.environment,
    }


def _context(context: EventContext) -> dict[str, Any]:
    return {
        "user_id": context.user_id,
        "session_id": context.session_id,
        "request_id": context.request_id,
        "ip_address": context.ip_address,
        "user_agent": context.user_agent,
        "tags": context.tags,
    }


def _metrics(metrics: EventMetrics) -> dict[str, Any]:
    return {
        "response_time_ms": metrics.response_time_ms,
        "status_code": metrics.status_code,
        "request_size_bytes": metrics.request_size_bytes,
        "response_size_bytes": metrics.response_size_bytes,
        "cache_hit": metrics.cache_hit,
    }


def _error_details(error: EventError) -> dict[str, Any]:
    return {"error_code": error.error_code, "error_message": error.error_message, "error_type": error.error_type}


def _metadata(event: IncomingEvent) -> dict[str, Any]:
    metadata = event.metadata or {}
    context = event.context
    return {
        "test_run": metadata.get("test_run"),
        "priority": metadata.get("priority"),
        "tags": context.tags if context else None,
        "user_agent": context.user_agent if context else None,
        "ip_address": context.ip_address if context else None,
        "additional_metadata": metadata,
    }


def jsonb(value: dict[str, Any]) -> str:
    """JSON text, if a jsonb column would take it.

    Raises:
        DatabaseRefused: It holds a NaN, an infinity, a NUL or a lone surrogate.
    """
    try:
        text = _encoded(value)
    except UnicodeEncodeError:
        raise DatabaseRefused(
            "InvalidTextRepresentationError",
            "invalid input syntax for type json\nDETAIL:  Unicode low surrogate must follow a high surrogate.",
        ) from None
    except ValueError:
        raise DatabaseRefused(
            "InvalidTextRepresentationError", 'invalid input syntax for type json\nDETAIL:  Token "NaN" is invalid.'
        ) from None
    if "\\u0000" in text and _ESCAPED_NUL.search(text):
        raise DatabaseRefused(
            "UntranslatableCharacterError",
            "unsupported Unicode escape sequence\nDETAIL:  \\u0000 cannot be converted to text.",
        )
    return text


def _encoded(value: dict[str, Any]) -> str:
    # This encoder is four times as fast, but refuses what is nested deeply and takes what is not finite.
    with suppress(ValueError):
        text = to_json(value, inf_nan_mode="constants").decode()
        if "NaN" not in text and "Infinity" not in text:
            return text
    text = _encode(value)
    text.encode()
    return text


def _fitting(correlation_id: str | None) -> str | None:
    if correlation_id is not None and len(correlation_id) > _LONGEST_CORRELATION_ID:
        raise DatabaseRefused(
            "StringDataRightTruncationError", f"value too long for type character varying({_LONGEST_CORRELATION_ID})"
        )
    return correlation_id


def _integer(milliseconds: float) -> int:
    """Whole milliseconds, cut off as the database driver cuts them."""
    if milliseconds >= _LARGEST_INTEGER + 1:
        raise DatabaseRefused(
            "DataError",
            f"invalid input for query argument ${_DURATION_PARAMETER}: {milliseconds} (value out of int32 range)",
        )
    return int(milliseconds)
