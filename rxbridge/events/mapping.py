"""Messages to events.

What the server would refuse or choke on is replaced, and `payload.invalid_fields` names what was. So there is an event
for every ticker and every match, however damaged, and the original stands in it as far as it can.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Literal

import msgspec

from rxbridge.events.cleaning import clean, difference, multiplied, naive_utc, shorten
from rxbridge.events.identity import event_id
from rxbridge.events.reader import Reader
from rxbridge.events.schema import (
    Context,
    Event,
    MatchMetrics,
    MatchPayload,
    Metadata,
    Source,
    Tags,
    TickerMetrics,
    TickerPayload,
)
from rxbridge.messages import LastMatch, Match, Ticker

SERVICE = "coinbase-exchange"
"""`source.service` of every event, by which the server can be searched."""

ENVIRONMENT_LENGTH = 50
"""Characters of `source.environment`."""

_OTHER_SIDE = {"buy": "sell", "sell": "buy"}


def to_event(message: Ticker | Match | LastMatch, *, environment: str = "production", now: int | None = None) -> Event:
    """The event of a ticker or a match; docs/events.md lists it field by field.

    The same message gives the same event, but for `metadata.processed_at`.

    Args:
        message: With the frame that it came in.
        environment: `source.environment`, of which the server takes 50 characters.
        now: `metadata.processed_at`, in nanoseconds since the Unix epoch; the clock's time if not given.

    Raises:
        OverflowError: The frame was received before the year 1, or after 9999.
    """
    read = Reader()
    product = read.product(message.product_id)
    timestamp = read.time("time", message.time, message.frame.received_at)
    if isinstance(message, Ticker):
        constant = _constant("ticker", product, environment)
        ticker = _ticker_payload(message, product, read)
        payload, metrics = ticker, TickerMetrics(0.0, 200, ticker.price, ticker.volume_24h, ticker.spread)
        text = f"Real-time price update for {product}: ${ticker.price:.2f}. Volume (24h): ${ticker.volume_24h:.2f}"
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


def _ticker_payload(ticker: Ticker, product: str, read: Reader) -> TickerPayload:
    best_bid = read.number("best_bid", ticker.best_bid)
    best_ask = read.number("best_ask", ticker.best_ask)
    spread = difference(ticker.best_ask, ticker.best_bid) if best_bid and best_ask else 0.0
    return TickerPayload(
        product_id=product,
        price=read.number("price", ticker.price),
        volume_24h=read.number("volume_24h", ticker.volume_24h),
        last_trade_id=read.whole("trade_id", ticker.trade_id, minimum=1),
        best_bid=best_bid,
        best_ask=best_ask,
        spread=read.number("spread", spread),
        low_24h=read.number("low_24h", ticker.low_24h),
        high_24h=read.number("high_24h", ticker.high_24h),
        open_24h=read.number("open_24h", ticker.open_24h),
        last_size=read.number("last_size", ticker.last_size),
        side=read.text("side", ticker.side),
        sequence=read.whole("sequence", ticker.sequence, minimum=0),
        raw_ticker=read.raw("raw_ticker", ticker.frame.data),
        invalid_fields=read.invalid_fields(),
    )


def _match_payload(match: Match, product: str, read: Reader) -> MatchPayload:
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
        taker_side=_OTHER_SIDE.get(side) if side else None,
        sequence=read.whole("sequence", match.sequence, minimum=0),
        time=read.text("time", match.time),
        maker_order_id=read.text("maker_order_id", match.maker_order_id),
        taker_order_id=read.text("taker_order_id", match.taker_order_id),
        raw_match=read.raw("raw_match", match.frame.data),
        invalid_fields=read.invalid_fields(),
    )


class _Constant(msgspec.Struct, frozen=True, gc=False):
    title: str
    source: Source
    tags: Tags


@lru_cache(maxsize=4096)
def _constant(channel: Literal["ticker", "matches"], product: str, environment: str) -> _Constant:
    """What the events of a product have in common."""
    subject = "Price Update" if channel == "ticker" else "Trade"
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
