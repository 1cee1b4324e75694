"""The Advanced Trade feed's frames to messages. A frame may hold none, or many, in the order in which they happened.

https://docs.cdp.coinbase.com/advanced-trade/docs/ws-channels
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

from rxbridge.coinbase import lenient
from rxbridge.coinbase.advanced import wire
from rxbridge.messages import (
    NO_LEVELS,
    BookSnapshot,
    BookUpdate,
    Candle,
    Frame,
    Heartbeat,
    Message,
    Part,
    ProductStatus,
    SubscribedChannel,
    Subscriptions,
    Ticker,
    Trade,
)

_Envelope: TypeAlias = (
    wire.MarketTrades
    | wire.Tickers
    | wire.TickerBatch
    | wire.Candles
    | wire.Books
    | wire.Status
    | wire.Heartbeats
    | wire.Subscriptions
)
_NAMES = frozenset(
    {"market_trades", "ticker", "ticker_batch", "candles", "l2_data", "status", "heartbeats", "subscriptions"}
)

_DECODER: msgspec.json.Decoder[_Envelope] = msgspec.json.Decoder(_Envelope)
_LARGE_DECODER = msgspec.json.Decoder(wire.LargeBook)
_TRADE_DECODER = msgspec.json.Decoder(wire.Trade)
_TICKER_DECODER = msgspec.json.Decoder(wire.Ticker)
_CANDLE_DECODER = msgspec.json.Decoder(wire.Candle)
_PRODUCT_DECODER = msgspec.json.Decoder(wire.Product)

_BOOK_TYPES = ("snapshot", "update")
_SIDES = {"BUY": "buy", "SELL": "sell"}


def decode(frame: Frame) -> tuple[Message, ...]:
    """The messages that a frame of the Advanced Trade feed holds.

    Trades come in the order of their ids, although the feed sends the newest first. Whatever rxbridge does not handle
    is `Unknown`. What is odd is read as `rxbridge.coinbase.lenient.decode` says. Of a book, it is not looked at the
    levels.

    Raises:
        MalformedFrame: As there.
    """
    return lenient.decode(frame, _KINDS)


def _read(data: bytes) -> tuple[Message, ...]:
    envelope = _DECODER.decode(data)
    match envelope:
        case wire.MarketTrades():
            items = [(raw, event.type) for event in envelope.events for raw in reversed(event.trades)]
            return tuple(_trade(raw, part) for raw, part in _parts(items))
        case wire.Tickers() | wire.TickerBatch():
            items = [(raw, event.type) for event in envelope.events for raw in event.tickers]
            return tuple(_ticker(raw, part, envelope.timestamp) for raw, part in _parts(items))
        case wire.Candles():
            # The newest first, in snapshots.
            items = [(raw, event.type) for event in envelope.events for raw in reversed(event.candles)]
            return tuple(_candle(raw, part, envelope.timestamp) for raw, part in _parts(items))
        case wire.Books():
            return _books(envelope.events, envelope.timestamp)
        case wire.Status():
            items = [(raw, event.type) for event in envelope.events for raw in event.products]
            return tuple(_status(raw, part, envelope.timestamp) for raw, part in _parts(items))
        case wire.Heartbeats() | wire.Subscriptions():
            return _about_the_connection(envelope)


def _about_the_connection(envelope: wire.Heartbeats | wire.Subscriptions) -> tuple[Message, ...]:
    match envelope:
        case wire.Heartbeats():
            return tuple(
                Heartbeat(time=event.current_time, counter=event.heartbeat_counter, part=_ALONE)
                for event in envelope.events
            )
        case wire.Subscriptions():
            channels = [
                SubscribedChannel(name, products)
                for event in envelope.events
                for name, products in event.subscriptions.items()
            ]
            return (Subscriptions(channels=channels, part=_ALONE),)


def _read_flat(data: bytes) -> tuple[Message, ...]:
    envelope = _LARGE_DECODER.decode(data)
    return _books(envelope.events, envelope.timestamp)


def _books(events: Sequence[wire.BookEvent], timestamp: str | None) -> tuple[Message, ...]:
    count = len(events)
    return tuple(
        (BookSnapshot if event.type == "snapshot" else BookUpdate)(
            product_id=event.product_id,
            time=timestamp,
            # Without a type they may be all that there is, or what has changed.
            updates_data=event.updates if event.type in _BOOK_TYPES else NO_LEVELS,
            part=Part("advanced", index, count, is_snapshot=event.type == "snapshot"),
        )
        for index, event in enumerate(events)
    )


def _parts(items: list[tuple[msgspec.Raw, str | None]]) -> Iterator[tuple[msgspec.Raw, Part]]:
    count = len(items)
    for index, (raw, kind) in enumerate(items):
        yield raw, Part("advanced", index, count, bytes(raw), kind == "snapshot")


_ALONE = Part("advanced")


def _trade(raw: msgspec.Raw, part: Part) -> Trade:
    item = _TRADE_DECODER.decode(raw)
    return Trade(
        product_id=item.product_id,
        trade_id=item.trade_id,
        price=item.price,
        size=item.size,
        side=_SIDES.get(item.side or "", item.side),
        time=item.time,
        part=part,
    )


def _ticker(raw: msgspec.Raw, part: Part, timestamp: str | None) -> Ticker:
    item = _TICKER_DECODER.decode(raw)
    return Ticker(
        product_id=item.product_id,
        price=item.price,
        volume_24h=item.volume_24_h,
        low_24h=item.low_24_h,
        high_24h=item.high_24_h,
        best_bid=item.best_bid,
        best_bid_size=item.best_bid_quantity,
        best_ask=item.best_ask,
        best_ask_size=item.best_ask_quantity,
        time=timestamp,
        low_52w=item.low_52_w,
        high_52w=item.high_52_w,
        price_percent_change_24h=item.price_percent_chg_24_h,
        part=part,
    )


def _candle(raw: msgspec.Raw, part: Part, timestamp: str | None) -> Candle:
    item = _CANDLE_DECODER.decode(raw)
    return Candle(
        product_id=item.product_id,
        start=item.start,
        open=item.open,
        high=item.high,
        low=item.low,
        close=item.close,
        volume=item.volume,
        time=timestamp,
        part=part,
    )


def _status(raw: msgspec.Raw, part: Part, timestamp: str | None) -> ProductStatus:
    item = _PRODUCT_DECODER.decode(raw)
    return ProductStatus(
        product_id=item.id,
        product_type=item.product_type,
        status=item.status,
        status_message=item.status_message,
        display_name=item.display_name,
        base_currency=item.base_currency,
        quote_currency=item.quote_currency,
        base_increment=item.base_increment,
        quote_increment=item.quote_increment,
        min_market_funds=item.min_market_funds,
        time=timestamp,
        part=part,
    )


_KINDS = lenient.Kinds("channel", _NAMES, lenient.kind_reader("channel"), _read, _read_flat)
