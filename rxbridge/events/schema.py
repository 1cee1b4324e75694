"""One PulseStream record, field by field as its ingestion API takes it, and its encoded form.

The field names and their order are those of PulseStream's `EventIngestionRequest`; docs/events.md says what each one
holds. Of `metrics` the server stores only the first two fields, so the prices stand in `payload` too.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec
from msgspec import UNSET

from rxbridge.events.book_parts import BookPartMetrics, BookPartPayload
from rxbridge.events.listing import AuctionMetrics, AuctionPayload, StatusMetrics, StatusPayload
from rxbridge.events.orders import OrderMetrics, OrderPayload
from rxbridge.events.trades import (
    CandleMetrics,
    CandlePayload,
    MatchMetrics,
    MatchPayload,
    TickerMetrics,
    TickerPayload,
)
from rxbridge.messages import WHOLE, Part
from rxbridge.version import __version__


class Source(msgspec.Struct, frozen=True, gc=False):
    """Where the event comes from. At most 100, 500, 10, 20 and 50 characters."""

    service: str
    endpoint: str
    method: str
    version: str
    environment: str


class Tags(msgspec.Struct, frozen=True, gc=False):
    """Text by which PulseStream can filter."""

    product_id: str
    source: str
    channel: str


class Context(msgspec.Struct, frozen=True, gc=False):
    """`request_id` is the event id again; the server takes at most 255 characters."""

    request_id: str
    tags: Tags


class BookMetrics(msgspec.Struct, frozen=True, gc=False):
    """The server demands the first two; a socket has neither. `price` lies in the middle between the best two."""

    response_time_ms: float
    status_code: int
    price: float
    spread: float


class GapMetrics(msgspec.Struct, frozen=True, gc=False):
    """The server demands the two; nothing was measured."""

    response_time_ms: float
    status_code: int


class BookPayload(msgspec.Struct, frozen=True, gc=False):
    """The best levels of an order book.

    Attributes:
        best_bid: In the quote currency; null where nobody bids. Likewise the other numbers.
        spread: The best ask less the best bid.
        bids: Price and size as text, exactly as Coinbase wrote them, the highest price first.
        asks: Likewise, the lowest first.
        is_reset: Whether the book was begun anew since the event before.
        is_crossed: Whether a bid is as high as an ask, which says that the book is wrong.
    """

    product_id: str
    best_bid: float | None
    best_bid_size: float | None
    best_ask: float | None
    best_ask_size: float | None
    middle: float | None
    spread: float | None
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    is_reset: bool
    is_crossed: bool


class GapPayload(msgspec.Struct, frozen=True, gc=False):
    """What is missing from the market, and stays so.

    Attributes:
        kind: `trades` or `quotes`.
        products: Whose.
        channel: The channel that lost them.
        first_trade_id: The first missing trade; null for quotes.
        last_trade_id: The last missing trade; null for quotes.
        trades: How many trades are missing; null for quotes, which nobody can count.
        began_at: When the last frame before was received, naive UTC; null for trades.
        ended_at: When the first frame after was received, naive UTC; null for trades.
        seconds: How long nothing came; null for trades.
        reason: Why, in words.
    """

    kind: str
    products: tuple[str, ...]
    channel: str
    first_trade_id: int | None
    last_trade_id: int | None
    trades: int | None
    began_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    reason: str


class Metadata(msgspec.Struct, frozen=True, gc=False):
    """About the bridge. `processed_at` is naive UTC, and all that differs when the same frame is mapped again."""

    processed_at: datetime
    source_system: str = "coinbase-websocket-bridge"
    bridge_version: str = __version__


Metrics: TypeAlias = (
    TickerMetrics
    | MatchMetrics
    | CandleMetrics
    | BookMetrics
    | BookPartMetrics
    | StatusMetrics
    | AuctionMetrics
    | OrderMetrics
    | GapMetrics
)

Payload: TypeAlias = (
    TickerPayload
    | MatchPayload
    | CandlePayload
    | BookPayload
    | BookPartPayload
    | StatusPayload
    | AuctionPayload
    | OrderPayload
    | GapPayload
)


class Event(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One PulseStream record. `timestamp` is naive UTC, as the server demands."""

    event_type: str = "custom_event"
    severity: str = "info"
    event_id: str
    title: str
    message: str
    source: Source
    context: Context
    metrics: Metrics
    payload: Payload
    metadata: Metadata
    timestamp: datetime


class EncodedEvent(msgspec.Struct, frozen=True, gc=False):
    """An event ready to be joined into a batch, with what log lines and the audit need of it.

    Attributes:
        event_id: Its id.
        title: Its title.
        price: Its price, in the quote currency; None for one that has none.
        offset: The journal offset of its frame.
        timestamp: The event time, naive UTC, by which PulseStream finds it.
        body: Its JSON.
        quote_of: The product that it quotes: a newer quote of the same product says all that this one did. Empty for
            what nothing can stand for, such as a trade.
        received_at: When its frame was received: nanoseconds since the Unix epoch.
        ends_frame: Whether its frame is done once the event is delivered: no other event of that frame follows.
        service: Its `source.service`; empty for an event of the built-in pipeline.
        is_one_of_a_row: Whether those behind it are worth nothing without it, as with the parts of a book.
    """

    event_id: str
    title: str
    price: float | None
    offset: int
    timestamp: datetime
    body: bytes
    quote_of: str = ""
    received_at: int = 0
    ends_frame: bool = True
    service: str = ""
    is_one_of_a_row: bool = False


def _price(payload: Payload) -> float | None:
    if isinstance(payload, (TickerPayload, MatchPayload)):
        return payload.price
    return payload.price if isinstance(payload, OrderPayload) and payload.price is not UNSET else None


_ENCODER = msgspec.json.Encoder()


def encode(event: Event, offset: int, received_at: int = 0, part: Part = WHOLE) -> EncodedEvent:
    """The event as JSON.

    Args:
        event: The event.
        offset: The journal offset of its frame.
        received_at: When its frame was received: nanoseconds since the Unix epoch.
        part: Which part of that frame it is.
    """
    payload = event.payload
    # What is dropped is known by its frame, so nothing may stand for one ticker of several.
    return EncodedEvent(
        event.event_id,
        event.title,
        _price(payload),
        offset,
        event.timestamp,
        _ENCODER.encode(event),
        payload.product_id if isinstance(payload, TickerPayload) and part.count == 1 else "",
        received_at,
        part.is_last,
        is_one_of_a_row=isinstance(payload, BookPartPayload),
    )
