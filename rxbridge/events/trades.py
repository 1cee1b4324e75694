"""What the events of tickers, trades and candles hold."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, Raw, UnsetType

from rxbridge.channels import FeedName
from rxbridge.events.cleaning import difference, multiplied, naive_utc
from rxbridge.events.reader import Reader
from rxbridge.messages import CANDLE_SECONDS, Candle, RfqMatch, Ticker, Trade

_LATEST_START = 253_402_300_799
"""The last second of the year 9999, which is the end of time in Python."""


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


def ticker_payload(ticker: Ticker, product: str, read: Reader) -> TickerPayload:
    """The payload of a ticker, whose product and time have been read."""
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


def match_payload(match: Trade | RfqMatch, product: str, read: Reader) -> MatchPayload:
    """Likewise, of a trade."""
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
        backfilled=True if isinstance(match, Trade) and match.is_backfilled else UNSET,
        invalid_fields=read.invalid_fields(),
    )


def candle_payload(candle: Candle, product: str, read: Reader) -> CandlePayload:
    """Likewise, of a candle."""
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
