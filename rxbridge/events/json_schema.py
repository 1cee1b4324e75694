"""The JSON Schema of the events, made of the very types that they are encoded from."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from rxbridge.events.book_parts import BookPartMetrics, BookPartPayload
from rxbridge.events.listing import AuctionMetrics, AuctionPayload, StatusMetrics, StatusPayload
from rxbridge.events.orders import OrderMetrics, OrderPayload
from rxbridge.events.schema import (
    BookMetrics,
    BookPayload,
    CandleMetrics,
    CandlePayload,
    Event,
    GapMetrics,
    GapPayload,
    MatchMetrics,
    MatchPayload,
    TickerMetrics,
    TickerPayload,
)

_KINDS: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct]]] = {
    "TickerEvent": (TickerMetrics, TickerPayload),
    "TradeEvent": (MatchMetrics, MatchPayload),
    "CandleEvent": (CandleMetrics, CandlePayload),
    "BookEvent": (BookMetrics, BookPayload),
    "BookPartEvent": (BookPartMetrics, BookPartPayload),
    "StatusEvent": (StatusMetrics, StatusPayload),
    "AuctionEvent": (AuctionMetrics, AuctionPayload),
    "OrderEvent": (OrderMetrics, OrderPayload),
    "GapEvent": (GapMetrics, GapPayload),
}


def json_schema() -> dict[str, Any]:
    """The schema, of the draft 2020-12: an event is one of nine kinds, told apart by metrics and payload.

    Times are ISO 8601 in UTC without a zone, as PulseStream demands; that is a little less than `date-time` means.
    """
    kinds = [_kind(name, metrics, payload) for name, (metrics, payload) in _KINDS.items()]
    references, definitions = msgspec.json.schema_components(kinds)
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = str(definition["description"]).split("\n\n", maxsplit=1)[0]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Events of rxbridge",
        "anyOf": list(references),
        "$defs": definitions,
    }


def _kind(name: str, metrics: type[msgspec.Struct], payload: type[msgspec.Struct]) -> type[msgspec.Struct]:
    """`Event`, with its metrics and payload of one kind."""
    special = {"metrics": metrics, "payload": payload}
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(Event):
        kind = cast("Any", special.get(field.name, field.type))
        fields.append((field.name, kind) if field.required else (field.name, kind, field.default))
    made = msgspec.defstruct(name, fields, kw_only=True)
    made.__doc__ = Event.__doc__
    return made
