"""Messages to events.

What the server would refuse or choke on is replaced, and `payload.invalid_fields` names what was. So there is an event
for every ticker and every match, however damaged, and the original stands in it as far as it can.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from rxbridge.events.cleaning import clean, difference, finite, multiplied, naive_utc, shorten
from rxbridge.events.identity import event_id
from rxbridge.events.reader import TEXT_LENGTH, Reader
from rxbridge.events.rules import EventRules
from rxbridge.events.schema import (
    BookMetrics,
    BookPayload,
    CandleMetrics,
    CandlePayload,
    Context,
    Event,
    GapMetrics,
    GapPayload,
    MatchMetrics,
    MatchPayload,
    Metadata,
    Source,
    Tags,
    TickerMetrics,
    TickerPayload,
)
from rxbridge.messages import CANDLE_SECONDS, BookImage, Candle, EventMessage, GapNotice, Ticker, Trade

SERVICE = "coinbase-exchange"
"""`source.service` of every event, by which the server can be searched."""

DEFAULT_RULES = EventRules()
"""What holds if nobody chooses."""

ENVIRONMENT_LENGTH = 50
"""Characters of `source.environment`."""

MESSAGE_LENGTH = 2000
"""Characters of `message`."""

_LATEST_START = 253_402_300_799
"""The last second of the year 9999, which is the end of time in Python."""


def to_event(message: EventMessage, rules: EventRules = DEFAULT_RULES, *, now: int | None = None) -> Event:
    """The event of a ticker, a trade, a candle, the image of a book, or a gap; docs/events.md lists it field by field.

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
    timestamp = read.time("time", message.time, message.frame.received_at)
    if isinstance(message, Ticker):
        constant = _constant("ticker", product, environment)
        ticker = _ticker_payload(message, product, read)
        payload, metrics = ticker, TickerMetrics(0.0, 200, ticker.price, ticker.volume_24h or 0.0, ticker.spread)
        text = f"Real-time price update for {product}: ${ticker.price:.2f}. Volume (24h): ${_shown(ticker.volume_24h)}"
    elif isinstance(message, Candle):
        constant = _constant("candles", product, environment)
        candle = _candle_payload(message, product, read)
        payload, metrics = candle, CandleMetrics(0.0, 200, candle.close, candle.volume)
        text = (
            f"{CANDLE_SECONDS} s of {product}: ${candle.open:.2f} to ${candle.close:.2f}. Volume: {candle.volume:.8f}"
        )
    else:
        constant = _constant("matches", product, environment)
        match = _match_payload(message, product, read)
        payload, metrics = match, MatchMetrics(0.0, 200, match.price, match.size)
        text = f"Real-time trade for {product}: ${match.price:.2f}. Size: {match.size:.8f}"
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


def _shown(volume: float | UnsetType) -> str:
    return "unknown" if volume is UNSET else f"{volume:.2f}"


def _ticker_payload(ticker: Ticker, product: str, read: Reader) -> TickerPayload:
    is_advanced = ticker.part.feed == "advanced"
    # Advanced Trade sends some of these, and on some channels only.
    number = read.number_if_any if is_advanced else read.number
    best_bid = number("best_bid", ticker.best_bid)
    best_ask = number("best_ask", ticker.best_ask)
    spread = difference(ticker.best_ask, ticker.best_bid) if best_bid and best_ask else 0.0
    return TickerPayload(
        product_id=product,
        price=read.number("price", ticker.price),
        volume_24h=number("volume_24h", ticker.volume_24h),
        last_trade_id=read.whole("trade_id", ticker.trade_id, minimum=1),
        best_bid=best_bid,
        best_ask=best_ask,
        spread=read.number("spread", spread),
        low_24h=number("low_24h", ticker.low_24h),
        high_24h=number("high_24h", ticker.high_24h),
        open_24h=number("open_24h", ticker.open_24h),
        last_size=number("last_size", ticker.last_size),
        side=read.text("side", ticker.side),
        sequence=read.whole("sequence", ticker.sequence, minimum=0),
        raw_ticker=read.raw("raw_ticker", ticker.data),
        low_52w=read.number_if_any("low_52w", ticker.low_52w) if is_advanced else UNSET,
        high_52w=read.number_if_any("high_52w", ticker.high_52w) if is_advanced else UNSET,
        price_percent_change_24h=(
            read.number_if_any("price_percent_change_24h", ticker.price_percent_change_24h) if is_advanced else UNSET
        ),
        feed="advanced" if is_advanced else UNSET,
        invalid_fields=read.invalid_fields(),
    )


def _match_payload(match: Trade, product: str, read: Reader) -> MatchPayload:
    price = read.number("price", match.price)
    size = read.number("size", match.size)
    side = read.text("side", match.side)
    return MatchPayload(
        product_id=product,
        price=price,
        size=size,
        value=read.number("value", multiplied(match.price, match.size) if price and size else 0.0),
        trade_id=read.whole("trade_id", match.trade_id, minimum=1),
        side=side,
        taker_side=match.taker_side,
        sequence=read.whole("sequence", match.sequence, minimum=0),
        time=read.text("time", match.time),
        maker_order_id=read.text("maker_order_id", match.maker_order_id),
        taker_order_id=read.text("taker_order_id", match.taker_order_id),
        raw_match=read.raw("raw_match", match.data),
        feed="advanced" if match.part.feed == "advanced" else UNSET,
        backfilled=True if match.is_backfilled else UNSET,
        invalid_fields=read.invalid_fields(),
    )


def _candle_payload(candle: Candle, product: str, read: Reader) -> CandlePayload:
    start = read.whole("start", candle.start, minimum=1)
    if start is not None and start > _LATEST_START:
        start = read.whole("start", "", minimum=1)
    return CandlePayload(
        product_id=product,
        start=None if start is None else naive_utc(start * 1_000_000_000),
        seconds=CANDLE_SECONDS,
        open=read.number("open", candle.open),
        high=read.number("high", candle.high),
        low=read.number("low", candle.low),
        close=read.number("close", candle.close),
        volume=read.number("volume", candle.volume),
        raw_candle=read.raw("raw_candle", candle.data),
        invalid_fields=read.invalid_fields(),
    )


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
def _constant(channel: Literal["ticker", "matches", "candles", "level2"], product: str, environment: str) -> _Constant:
    """What the events of a product have in common."""
    subject = {"ticker": "Price Update", "matches": "Trade", "candles": "Candle", "level2": "Book"}[channel]
    return _Constant(
        title=f"Coinbase {subject}: {product}",
        source=Source(
            service=SERVICE,
            endpoint="/" + channel,
            method="WEBSOCKET",
            version="v1",
            environment=clean(shorten(environment, ENVIRONMENT_LENGTH)),
        ),
        tags=Tags(product, "coinbase", channel),
    )
