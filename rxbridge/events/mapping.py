"""Messages to events.

What the server would refuse or choke on is replaced, and `payload.invalid_fields` names what was. So there is an event
for every ticker and every match, however damaged, and the original stands in it as far as it can.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec
from msgspec import UNSET, UnsetType

from rxbridge.events.book_parts import BookPartMetrics, book_part_payload, book_part_text
from rxbridge.events.cleaning import clean, difference, finite, naive_utc, shorten
from rxbridge.events.identity import event_id
from rxbridge.events.listing import (
    AuctionMetrics,
    StatusMetrics,
    auction_payload,
    auction_text,
    status_payload,
    status_text,
)
from rxbridge.events.orders import OrderMetrics, order_payload, order_text
from rxbridge.events.reader import TEXT_LENGTH, Reader
from rxbridge.events.rules import EventRules
from rxbridge.events.schema import (
    BookMetrics,
    BookPayload,
    CandleMetrics,
    Context,
    Event,
    GapMetrics,
    GapPayload,
    MatchMetrics,
    Metadata,
    Metrics,
    Payload,
    Source,
    Tags,
    TickerMetrics,
)
from rxbridge.events.trades import candle_payload, match_payload, ticker_payload
from rxbridge.messages import (
    CANDLE_SECONDS,
    Auction,
    BookImage,
    BookPart,
    Candle,
    EventMessage,
    GapNotice,
    Order,
    ProductStatus,
    RfqMatch,
    Ticker,
    Trade,
)

_Market: TypeAlias = Ticker | Trade | Candle | ProductStatus | Auction | Order | RfqMatch
_Channel: TypeAlias = Literal["ticker", "matches", "candles", "level2", "status", "auctionfeed", "full", "rfq_matches"]
_SUBJECTS: dict[_Channel, str] = {
    "ticker": "Price Update",
    "matches": "Trade",
    "candles": "Candle",
    "level2": "Book",
    "status": "Status",
    "auctionfeed": "Auction",
    "full": "Order",
    "rfq_matches": "RFQ Trade",
}

SERVICE = "coinbase-exchange"
"""`source.service` of every event, by which the server can be searched."""

DEFAULT_RULES = EventRules()
"""What holds if nobody chooses."""

ENVIRONMENT_LENGTH = 50
"""Characters of `source.environment`."""

MESSAGE_LENGTH = 2000
"""Characters of `message`."""


def to_event(message: EventMessage, rules: EventRules = DEFAULT_RULES, *, now: int | None = None) -> Event:
    """The event of a message of the market, the image of a book, or a gap; docs/events.md lists it field by field.

    The same message gives the same event, but for `metadata.processed_at`.

    Args:
        message: With the frame that it came in.
        rules: What the user has chosen.
        now: `metadata.processed_at`, in nanoseconds since the Unix epoch; the clock's time if not given.

    Raises:
        OverflowError: The frame was received before the year 1, or after 9999.
    """
    if isinstance(message, GapNotice):
        return gap_event(message, environment=rules.environment, now=now)
    environment = rules.environment
    read = Reader(raw=rules.raw)
    product = read.product(message.product_id)
    if isinstance(message, BookImage):
        return _book_event(message, product, _constant("level2", product, environment), now)
    if isinstance(message, BookPart):
        return _book_part_event(message, product, _constant("level2", product, environment), now)
    timestamp = _time_of(message, read)
    channel, text, payload, metrics = _told(message, product, read)
    constant = _constant(channel, product, environment)
    identity = event_id(message)
    return Event(
        event_id=identity,
        title=constant.title,
        message=text,
        source=constant.source,
        context=Context(identity, constant.tags),
        metrics=metrics,
        payload=payload,
        metadata=Metadata(naive_utc(time.time_ns() if now is None else now)),
        timestamp=timestamp,
    )


def _time_of(message: _Market, read: Reader) -> datetime:
    received_at = message.frame.received_at
    if isinstance(message, ProductStatus) and message.part.feed == "exchange":
        return naive_utc(received_at)  # it has no time
    if isinstance(message, Order) and message.timestamp is not None:
        return read.epoch("timestamp", message.timestamp, received_at)
    return read.time("timestamp" if isinstance(message, Auction) else "time", message.time, received_at)


def _told(message: _Market, product: str, read: Reader) -> tuple[_Channel, str, Payload, Metrics]:
    """The channel that it belongs to, what is said of it in words, its payload and its metrics."""
    match message:
        case Ticker():
            ticker = ticker_payload(message, product, read)
            metrics = TickerMetrics(0.0, 200, ticker.price, ticker.volume_24h or 0.0, ticker.spread)
            volume = _shown(ticker.volume_24h)
            text = f"Real-time price update for {product}: ${ticker.price:.2f}. Volume (24h): ${volume}"
            return "ticker", text, ticker, metrics
        case Candle():
            candle = candle_payload(message, product, read)
            prices = f"${candle.open:.2f} to ${candle.close:.2f}"
            text = f"{CANDLE_SECONDS} s of {product}: {prices}. Volume: {candle.volume:.8f}"
            return "candles", text, candle, CandleMetrics(0.0, 200, candle.close, candle.volume)
        case Trade() | RfqMatch():
            match = match_payload(message, product, read)
            metrics = MatchMetrics(0.0, 200, match.price, match.size)
            said = f"${match.price:.2f}. Size: {match.size:.8f}"
            if isinstance(message, RfqMatch):
                return "rfq_matches", f"Trade for {product} on a request for quotes: {said}", match, metrics
            return "matches", f"Real-time trade for {product}: {said}", match, metrics
        case _:
            return _told_besides(message, product, read)


def _told_besides(
    message: ProductStatus | Auction | Order, product: str, read: Reader
) -> tuple[_Channel, str, Payload, Metrics]:
    match message:
        case ProductStatus():
            status = status_payload(message, product, read)
            return "status", status_text(status), status, StatusMetrics(0.0, 200)
        case Auction():
            auction = auction_payload(message, product, read)
            metrics = AuctionMetrics(0.0, 200, auction.open_price or 0.0, auction.open_size or 0.0)
            return "auctionfeed", auction_text(auction), auction, metrics
        case Order():
            order = order_payload(message, product, read)
            return "full", order_text(order), order, OrderMetrics(0.0, 200, order.price or 0.0)


def _shown(volume: float | UnsetType) -> str:
    return "unknown" if volume is UNSET else f"{volume:.2f}"


def _book_event(image: BookImage, product: str, constant: _Constant, now: int | None) -> Event:
    bid, bid_size = _best(image.bids)
    ask, ask_size = _best(image.asks)
    middle = spread = None
    if bid is not None and ask is not None:
        middle, spread = (bid + ask) / 2, finite(difference(image.asks[0][0], image.bids[0][0]))
    payload = BookPayload(
        product_id=product,
        best_bid=bid,
        best_bid_size=bid_size,
        best_ask=ask,
        best_ask_size=ask_size,
        middle=None if middle is None else finite(middle),
        spread=spread,
        bids=image.bids,
        asks=image.asks,
        is_reset=image.is_reset,
        is_crossed=image.is_crossed,
    )
    identity = event_id(image)
    return Event(
        event_id=identity,
        title=constant.title,
        message=f"Order book of {product}: {_quoted(image.bids)} bid, {_quoted(image.asks)} asked",
        source=constant.source,
        context=Context(identity, constant.tags),
        metrics=BookMetrics(0.0, 200, payload.middle or 0.0, payload.spread or 0.0),
        payload=payload,
        metadata=Metadata(naive_utc(time.time_ns() if now is None else now)),
        timestamp=naive_utc(image.at),
    )


def _book_part_event(part: BookPart, product: str, constant: _Constant, now: int | None) -> Event:
    payload = book_part_payload(part, product, Reader().text("time", part.time))
    identity = event_id(part)
    return Event(
        event_id=identity,
        title=constant.title,
        message=book_part_text(payload),
        source=constant.source,
        context=Context(identity, constant.tags),
        metrics=BookPartMetrics(0.0, 200),
        payload=payload,
        metadata=Metadata(naive_utc(time.time_ns() if now is None else now)),
        timestamp=naive_utc(part.frame.received_at),
    )


def _best(levels: Sequence[tuple[str, str]]) -> tuple[float | None, float | None]:
    if not levels:
        return None, None
    price, size = levels[0]
    return finite(float(price)), finite(float(size))


def _quoted(levels: Sequence[tuple[str, str]]) -> str:
    return f"{shorten(levels[0][1], TEXT_LENGTH)} at ${shorten(levels[0][0], TEXT_LENGTH)}" if levels else "nothing"


def gap_event(gap: GapNotice, *, environment: str, now: int | None) -> Event:
    """The event, of severity warning, that tells PulseStream what is missing from the market."""
    products = ", ".join(gap.products)
    if gap.kind == "trades":
        trades, seconds = gap.last - gap.first + 1, None
        began_at = ended_at = None
        text = f"{trades} trades of {products} are missing, ids {gap.first} to {gap.last}: {gap.reason}"
    else:
        trades, seconds = None, (gap.last - gap.first) / 1e9
        began_at, ended_at = naive_utc(gap.first), naive_utc(gap.last)
        text = f"No {gap.channel} of {products} was received for {seconds:.3f} s: {gap.reason}"
    identity = event_id(gap)
    subject = shorten(products, TEXT_LENGTH)
    payload = GapPayload(
        kind=gap.kind,
        products=tuple(map(clean, gap.products)),
        channel=clean(gap.channel),
        first_trade_id=gap.first if trades else None,
        last_trade_id=gap.last if trades else None,
        trades=trades,
        began_at=began_at,
        ended_at=ended_at,
        seconds=seconds,
        reason=clean(gap.reason),
    )
    return Event(
        event_type="system_event",
        severity="warning",
        event_id=identity,
        title=clean(f"Coinbase Gap: {subject}"),
        message=clean(shorten(text, MESSAGE_LENGTH)),
        source=Source(SERVICE, "/gaps", "WEBSOCKET", "v1", clean(shorten(environment, ENVIRONMENT_LENGTH))),
        context=Context(identity, Tags(clean(subject), "coinbase", clean(gap.channel))),
        metrics=GapMetrics(0.0, 200),
        payload=payload,
        metadata=Metadata(naive_utc(time.time_ns() if now is None else now)),
        timestamp=naive_utc(gap.frame.received_at),
    )


class _Constant(msgspec.Struct, frozen=True, gc=False):
    title: str
    source: Source
    tags: Tags


@lru_cache(maxsize=4096)
def _constant(channel: _Channel, product: str, environment: str) -> _Constant:
    """What the events of a product have in common."""
    return _Constant(
        title=f"Coinbase {_SUBJECTS[channel]}: {product}",
        source=Source(
            service=SERVICE,
            endpoint="/" + channel,
            method="WEBSOCKET",
            version="v1",
            environment=clean(shorten(environment, ENVIRONMENT_LENGTH)),
        ),
        tags=Tags(product, "coinbase", channel),
    )
