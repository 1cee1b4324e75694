"""One PulseStream record, field by field as its ingestion API takes it, and its encoded form.

The field names and their order are those of PulseStream's `EventIngestionRequest`; docs/events.md says what each one
holds. Of `metrics` the server stores only the first two fields, so the prices stand in `payload` too.
"""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import msgspec
from msgspec import UNSET, Raw, UnsetType

from rxbridge.channels import FeedName
from rxbridge.events.book_parts import BookPartMetrics, BookPartPayload
from rxbridge.events.listing import AuctionMetrics, AuctionPayload, StatusMetrics, StatusPayload
from rxbridge.events.orders import OrderMetrics, OrderPayload
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


class TickerMetrics(msgspec.Struct, frozen=True, gc=False):
    """The server demands the first two; a socket has neither."""

    response_time_ms: float
    status_code: int
    price: float
    volume_24h: float
    spread: float


class MatchMetrics(msgspec.Struct, frozen=True, gc=False):
    """The server demands the first two; a socket has neither."""

    response_time_ms: float
    status_code: int
    price: float
    size: float


class CandleMetrics(msgspec.Struct, frozen=True, gc=False):
    """The server demands the first two; a socket has neither. `price` is that of the last trade."""

    response_time_ms: float
    status_code: int
    price: float
    volume: float


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


class TickerPayload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a ticker says; `side` is the taker's.

    Attributes:
        volume_24h: Unset, like the other numbers below, where Advanced Trade does not send it.
        feed: `advanced` if it came by Advanced Trade; absent otherwise.
        raw_ticker: The ticker as received, byte for byte, unless `invalid_fields` names it.
        invalid_fields: Wire fields that were replaced, because they were missing or of no use; absent if none were.
    """

    product_id: str
    price: float
    volume_24h: float | UnsetType = UNSET
    last_trade_id: int | None
    best_bid: float | UnsetType = UNSET
    best_ask: float | UnsetType = UNSET
    spread: float
    low_24h: float | UnsetType = UNSET
    high_24h: float | UnsetType = UNSET
    open_24h: float | UnsetType = UNSET
    last_size: float | UnsetType = UNSET
    side: str | None
    sequence: int | None
    raw_ticker: Raw | UnsetType = UNSET
    low_52w: float | UnsetType = UNSET
    high_52w: float | UnsetType = UNSET
    price_percent_change_24h: float | UnsetType = UNSET
    feed: FeedName | UnsetType = UNSET
    invalid_fields: tuple[str, ...] | UnsetType = UNSET


class MatchPayload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a match says; `side`, as on the wire, is the maker's, and `taker_side` the other one.

    Attributes:
        value: Price times size, in the quote currency.
        feed: `advanced` if it came by Advanced Trade; absent otherwise.
        backfilled: True for a trade that was fetched from REST; absent for one that came by the feed.
        raw_match: The match as received, byte for byte, unless `invalid_fields` names it.
        invalid_fields: Wire fields that were replaced, because they were missing or of no use; absent if none were.
    """

    product_id: str
    price: float
    size: float
    value: float
    trade_id: int | None
    side: str | None
    taker_side: str | None
    sequence: int | None
    time: str | None
    maker_order_id: str | None
    taker_order_id: str | None
    raw_match: Raw | UnsetType = UNSET
    feed: FeedName | UnsetType = UNSET
    backfilled: bool | UnsetType = UNSET
    invalid_fields: tuple[str, ...] | UnsetType = UNSET


class CandlePayload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """What a product did in a stretch of time; a later event of the same `start` revises it.

    Attributes:
        start: The beginning, naive UTC; null where it is not known.
        seconds: How long it lasts.
        volume: In the base currency.
        raw_candle: The candle as received, byte for byte, unless `invalid_fields` names it.
        invalid_fields: Fields that were replaced, because they were missing or of no use; absent if none were.
    """

    product_id: str
    start: datetime | None
    seconds: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    raw_candle: Raw | UnsetType = UNSET
    feed: FeedName = "advanced"
    invalid_fields: tuple[str, ...] | UnsetType = UNSET


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
    )
