"""Trades, tickers, candles and book levels as they stand in the frames of Advanced Trade.

Field names, their order, and the forms of numbers are those of frames received from
wss://advanced-trade-ws.coinbase.com in 2026: every number is text, and ends with its last digit that is not 0.
"""

from __future__ import annotations

import msgspec

from rxbridge.simulator.book import Change, Side
from rxbridge.simulator.candles import Candle
from rxbridge.simulator.market import Market, Trade
from rxbridge.simulator.products import SIZE_DECIMALS, Product
from rxbridge.simulator.wire import MAKER_SIDE, padded, timestamp, trimmed

BOOK_SIDE: dict[Side, str] = {"buy": "bid", "sell": "offer"}

LOWEST_IN_A_YEAR, HIGHEST_IN_A_YEAR = 0.5, 2.0
"""How far the made-up year went, as parts of the price at which the market opened about."""


class _Trade(msgspec.Struct, gc=False):
    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: str


class _Ticker(msgspec.Struct, tag="ticker", gc=False, omit_defaults=True):
    product_id: str
    price: str
    volume_24_h: str
    low_24_h: str
    high_24_h: str
    low_52_w: str
    high_52_w: str
    price_percent_chg_24_h: str
    # The channel ticker_batch has no quotes.
    best_bid: str | None = None
    best_ask: str | None = None
    best_bid_quantity: str | None = None
    best_ask_quantity: str | None = None


class _Listed(msgspec.Struct):
    # From https://docs.cdp.coinbase.com/advanced-trade/docs/ws-channels#status-channel: it was not seen on the wire.
    product_type: str = "SPOT"
    id: str = ""
    base_currency: str = ""
    quote_currency: str = ""
    base_increment: str = ""
    quote_increment: str = ""
    display_name: str = ""
    status: str = "online"
    status_message: str = ""
    min_market_funds: str = "1"


class _Level(msgspec.Struct, gc=False):
    side: str
    event_time: str
    price_level: str
    new_quantity: str


class _Candle(msgspec.Struct, gc=False):
    start: str
    high: str
    low: str
    open: str
    close: str
    volume: str
    product_id: str


def listed(product: Product) -> msgspec.Struct:
    """A product as the channel `status` lists it."""
    base, _, quote = product.product_id.partition("-")
    return _Listed(
        id=product.product_id,
        base_currency=base,
        quote_currency=quote,
        base_increment=padded(1, SIZE_DECIMALS),
        quote_increment=padded(1, product.price_decimals),
        display_name=f"{base}/{quote}",
    )


def trade(product: Product, made: Trade) -> msgspec.Struct:
    """A trade; its side is the maker's."""
    return _Trade(
        product_id=product.product_id,
        trade_id=str(made.trade_id),
        price=trimmed(made.price, product.price_decimals),
        size=trimmed(made.size, SIZE_DECIMALS),
        time=timestamp(made.time_ns),
        side=MAKER_SIDE[made.taker_side].upper(),
    )


def ticker(market: Market, *, with_quotes: bool) -> msgspec.Struct:
    """A market as it is now, without a trade or a time; the channel ticker_batch has no quotes either.

    Raises:
        LookupError: It was never traded.
    """
    product, tick = market.product, market.latest
    decimals = product.price_decimals
    low = min(tick.low_24h, max(1, round(product.reference_price * LOWEST_IN_A_YEAR)))
    high = max(tick.high_24h, round(product.reference_price * HIGHEST_IN_A_YEAR))
    item = _Ticker(
        product_id=product.product_id,
        price=trimmed(tick.trade.price, decimals),
        volume_24_h=trimmed(tick.volume_24h, SIZE_DECIMALS),
        low_24_h=trimmed(tick.low_24h, decimals),
        high_24_h=trimmed(tick.high_24h, decimals),
        low_52_w=trimmed(low, decimals),
        high_52_w=trimmed(high, decimals),
        price_percent_chg_24_h=_percent(tick.trade.price - tick.open_24h, tick.open_24h),
    )
    if with_quotes:
        bid, ask = market.book.best_bid, market.book.best_ask
        item.best_bid, item.best_bid_quantity = trimmed(bid.price, decimals), trimmed(bid.size, SIZE_DECIMALS)
        item.best_ask, item.best_ask_quantity = trimmed(ask.price, decimals), trimmed(ask.size, SIZE_DECIMALS)
    return item


def candle(product: Product, made: Candle) -> msgspec.Struct:
    """A candle."""
    decimals = product.price_decimals
    return _Candle(
        start=str(made.start),
        high=trimmed(made.high, decimals),
        low=trimmed(made.low, decimals),
        open=trimmed(made.open, decimals),
        close=trimmed(made.close, decimals),
        volume=trimmed(made.volume, SIZE_DECIMALS),
        product_id=product.product_id,
    )


def _percent(change: int, whole: int) -> str:
    """With 14 decimals, of which the zeros at the end are left out."""
    return f"{change / whole * 100:.14f}".rstrip("0").rstrip(".")


def level(product: Product, change: Change, time_ns: int) -> msgspec.Struct:
    """What is at a price since this time: nanoseconds since the Unix epoch."""
    return _Level(
        side=BOOK_SIDE[change.side],
        event_time=timestamp(time_ns),
        price_level=trimmed(change.price, product.price_decimals),
        new_quantity=trimmed(change.size, SIZE_DECIMALS),
    )
