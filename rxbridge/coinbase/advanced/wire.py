"""What Advanced Trade sends, named as on the wire: https://docs.cdp.coinbase.com/advanced-trade/docs/ws-channels.

A frame is an envelope, told by its `channel`, of events, each of which lists items. The items stay as they came until
they are read one by one. Any field of an item may be missing, null, or of a surprising simple type.
"""

from __future__ import annotations

import msgspec
from msgspec import Raw

from rxbridge.messages import NO_LEVELS, Number


class Trade(msgspec.Struct, frozen=True, gc=False):
    """An item of `market_trades`; `side` is the maker's, BUY or SELL, and the id is text."""

    product_id: str | None = None
    trade_id: Number = None
    price: Number = None
    size: Number = None
    time: str | None = None
    side: str | None = None


class Ticker(msgspec.Struct, frozen=True, gc=False):
    """An item of `ticker`, or of `ticker_batch`, where there is no bid and ask."""

    product_id: str | None = None
    price: Number = None
    volume_24_h: Number = None
    low_24_h: Number = None
    high_24_h: Number = None
    low_52_w: Number = None
    high_52_w: Number = None
    price_percent_chg_24_h: Number = None
    best_bid: Number = None
    best_ask: Number = None
    best_bid_quantity: Number = None
    best_ask_quantity: Number = None


class Candle(msgspec.Struct, frozen=True, gc=False):
    """An item of `candles`: five minutes from `start`, in Unix seconds, as text."""

    product_id: str | None = None
    start: Number = None
    high: Number = None
    low: Number = None
    open: Number = None
    close: Number = None
    volume: Number = None


class Product(msgspec.Struct, frozen=True, gc=False):
    """An item of `status`."""

    id: str | None = None
    product_type: str | None = None
    status: str | None = None
    status_message: str | None = None
    display_name: str | None = None
    base_currency: str | None = None
    quote_currency: str | None = None
    base_increment: Number = None
    quote_increment: Number = None
    min_market_funds: Number = None


class TradesEvent(msgspec.Struct, frozen=True, gc=False):
    """The newest trade comes first. The `snapshot` has the last 100 trades of a product, or an empty list."""

    trades: list[Raw]
    type: str | None = None


class TickersEvent(msgspec.Struct, frozen=True, gc=False):
    """Tickers."""

    tickers: list[Raw]
    type: str | None = None


class CandlesEvent(msgspec.Struct, frozen=True, gc=False):
    """Candles; the `snapshot` has the last hundred or so."""

    candles: list[Raw]
    type: str | None = None


class StatusEvent(msgspec.Struct, frozen=True, gc=False):
    """How products are listed; the `snapshot` comes first, and an `update` when that changes."""

    products: list[Raw]
    type: str | None = None


class HeartbeatEvent(msgspec.Struct, frozen=True, gc=False):
    """The time is in the format of Go's `Time.String`."""

    current_time: str | None = None
    heartbeat_counter: Number = None


class SubscriptionsEvent(msgspec.Struct, frozen=True, gc=False):
    """All that the connection is subscribed to, by channel."""

    subscriptions: dict[str, list[str]] = {}


class BookEvent(msgspec.Struct, frozen=True, gc=False):
    """Levels of a product: the `snapshot` has all, of both sides, an `update` those that have changed."""

    type: str | None = None
    product_id: str | None = None
    updates: Raw = NO_LEVELS


class Envelope(msgspec.Struct, frozen=True, gc=False, kw_only=True, tag_field="channel"):
    """What all frames but errors have. `sequence_num` counts the frames of a connection, from 0."""

    timestamp: str | None = None
    sequence_num: Number = None


class MarketTrades(Envelope, frozen=True, gc=False, tag="market_trades"):
    """A frame of trades."""

    events: list[TradesEvent]


class Tickers(Envelope, frozen=True, gc=False, tag="ticker"):
    """A frame of tickers."""

    events: list[TickersEvent]


class TickerBatch(Envelope, frozen=True, gc=False, tag="ticker_batch"):
    """A frame of tickers, every five seconds."""

    events: list[TickersEvent]


class Candles(Envelope, frozen=True, gc=False, tag="candles"):
    """A frame of candles."""

    events: list[CandlesEvent]


class Status(Envelope, frozen=True, gc=False, tag="status"):
    """A frame of listed products."""

    events: list[StatusEvent]


class Heartbeats(Envelope, frozen=True, gc=False, tag="heartbeats"):
    """A frame a second."""

    events: list[HeartbeatEvent]


class Subscriptions(Envelope, frozen=True, gc=False, tag="subscriptions"):
    """The acknowledgement of every message that subscribes or unsubscribes."""

    events: list[SubscriptionsEvent]


class Books(Envelope, frozen=True, gc=False, tag="l2_data"):
    """A frame of the channel `level2`."""

    events: list[BookEvent]


class LargeBook(Envelope, frozen=True, gc=False, tag="l2_data"):
    """The same, as far as it takes no more memory than its frame, however long that is."""

    events: tuple[BookEvent]
