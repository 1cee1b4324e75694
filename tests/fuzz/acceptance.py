"""Whether PulseStream would take an event, by the embedded server's own rules, which are those of the real one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NoReturn, cast

from rxbridge.events import EncodedEvent
from rxbridge.pulsestream_server.ingestion import FURTHEST_FUTURE, LARGEST_PAYLOAD
from rxbridge.pulsestream_server.stored_event import stored
from rxbridge.pulsestream_server.validation import IncomingEvent

LONGEST_ID = 100
DEEPEST_PAYLOAD = 200
"""Levels; the server stores more, but its search then fails on what is nested more than 253 levels deep."""


def require_accepted(encoded: EncodedEvent, received_at: int) -> dict[str, Any]:
    """Assert that the event would be stored, whole, and give what the server parsed.

    Args:
        encoded: As it would be sent.
        received_at: When its frame was received, by which the server's clock goes: nanoseconds since the epoch.
    """
    event = json.loads(encoded.body, parse_constant=_refuse)
    now = datetime.fromtimestamp(received_at // 10**9, UTC).replace(tzinfo=None)
    incoming = IncomingEvent.model_validate(event)
    assert incoming.timestamp is not None
    assert incoming.timestamp.tzinfo is None, "the server compares it with a naive time"
    assert incoming.timestamp <= now + FURTHEST_FUTURE
    assert len(json.dumps(event["payload"])) <= LARGEST_PAYLOAD
    # Raises what PostgreSQL refuses: NUL, lone surrogates, NaN, infinities, overlong texts, and with them the batch.
    stored(incoming, tenant_id=1, event_id=encoded.event_id, timestamp=incoming.timestamp, ingested_at="")
    assert not set(event) - set(IncomingEvent.model_fields), "the server would drop it silently"
    assert event["event_id"] == encoded.event_id
    assert 0 < len(encoded.event_id) <= LONGEST_ID
    assert encoded.event_id.isascii()
    assert encoded.event_id.isprintable()
    for text, depth in _texts(event):
        assert depth <= DEEPEST_PAYLOAD
        assert "\0" not in text
        text.encode()
    return event


def _refuse(constant: str) -> NoReturn:
    raise AssertionError(f"{constant} is no JSON")


def _texts(value: Any) -> Iterator[tuple[str, int]]:
    """Every text, keys included, with the depth at which it stands."""
    left: list[tuple[Any, int]] = [(value, 0)]
    while left:
        item, depth = left.pop()
        if isinstance(item, str):
            yield item, depth
        elif isinstance(item, list):
            left += ((inner, depth + 1) for inner in cast("list[Any]", item))
        elif isinstance(item, dict):
            fields = cast("dict[str, Any]", item)
            left += ((inner, depth + 1) for pair in fields.items() for inner in pair)
