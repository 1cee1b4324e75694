"""Trades and market states as the frames, and the REST records, that Coinbase would send.

Field names and their order are those of frames received from wss://ws-feed.exchange.coinbase.com and of answers of
https://api.exchange.coinbase.com in 2021 and 2026. A quirk worth keeping: on the wire a price ends with its last
digit that is not 0 (`102861.5`), but the best bid and ask have all decimals of the product (`102861.50`), sizes at the
best prices and volumes have eight, and REST gives eight to every number.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TypeAlias

import msgspec

from rxbridge.simulator.book import Book, Change, Side
from rxbridge.simulator.market import Market, Tick, Trade
from rxbridge.simulator.products import SIZE_DECIMALS, Product

MatchKind: TypeAlias = Literal["match", "last_match"]

MAKER_SIDE: dict[Side, Side] = {"buy": "sell", "sell": "buy"}
"""What the maker did, by what the taker did."""


NO_SIZE = ("0.00", "0.0", "0.00000000")
"""How the feed writes that a level is gone: in one form or another."""


class _Ticker(msgspec.Struct, tag="ticker", gc=False):
    sequence: int
    product_id: str
    price: str
    open_24h: str
    volume_24h: str
    low_24h: str
    high_24h: str
    volume_30d: str
    best_bid: str
    best_bid_size: str
    best_ask: str
    best_ask_size: str
    side: Side
    time: str
    trade_id: int
    last_size: str


class _UntradedTicker(msgspec.Struct, tag="ticker", gc=False):
    # Clients reported these: no sequence, side, time, trade id and last size.
    product_id: str
    best_bid: str
    best_bid_size: str
    best_ask: str
    best_ask_size: str
    price: str = "0"
    open_24h: str = "0"
    volume_24h: str = "0"
    low_24h: str = "0"
    high_24h: str = "0"
    volume_30d: str = "0"


class _Snapshot(msgspec.Struct, tag="snapshot", gc=False):
    product_id: str
    asks: list[tuple[str, str]]
    bids: list[tuple[str, str]]


class _L2Update(msgspec.Struct, tag="l2update", gc=False):
    product_id: str
    changes: list[tuple[Side, str, str]]
    time: str


class _Match(msgspec.Struct, gc=False):
    # Not a tag: the same fields make a match and a last_match.
    type: MatchKind
    trade_id: int
    maker_order_id: str
    taker_order_id: str
    side: Side
    size: str
    price: str
    product_id: str
    sequence: int
    time: str


class _Heartbeat(msgspec.Struct, tag="heartbeat", gc=False):
    last_trade_id: int
    product_id: str
    sequence: int
    time: str


class _Auction(msgspec.Struct, tag="auction", gc=False):
    product_id: str
    sequence: int
    best_bid_price: str
    best_bid_size: str
    best_ask_price: str
    best_ask_size: str
    open_price: str
    open_size: str
    timestamp: str
    auction_state: str = "collection"
    can_open: str = "no"


class _RfqMatch(msgspec.Struct, tag="rfq_match", gc=False):
    maker_order_id: str
    taker_order_id: str
    time: str
    trade_id: int
    product_id: str
    size: str
    price: str
    side: Side


class _RestTrade(msgspec.Struct, gc=False):
    trade_id: int
    side: Side
    size: str
    price: str
    time: str


_encode = msgspec.json.Encoder().encode


def ticker(product: Product, tick: Tick) -> bytes:
    """The `ticker` frame after a trade; its side is the taker's."""
    trade = tick.trade
    decimals = product.price_decimals
    return _encode(
        _Ticker(
            sequence=trade.sequence,
            product_id=product.product_id,
            price=trimmed(trade.price, decimals),
            open_24h=trimmed(tick.open_24h, decimals),
            volume_24h=padded(tick.volume_24h, SIZE_DECIMALS),
            low_24h=trimmed(tick.low_24h, decimals),
            high_24h=trimmed(tick.high_24h, decimals),
            volume_30d=padded(tick.volume_30d, SIZE_DECIMALS),
            best_bid=padded(tick.best_bid, decimals),
            best_bid_size=padded(tick.best_bid_size, SIZE_DECIMALS),
            best_ask=padded(tick.best_ask, decimals),
            best_ask_size=padded(tick.best_ask_size, SIZE_DECIMALS),
            side=trade.taker_side,
            time=timestamp(trade.time_ns),
            trade_id=trade.trade_id,
            last_size=trimmed(trade.size, SIZE_DECIMALS),
        )
    )


def untraded_ticker(market: Market) -> bytes:
    """The `ticker` frame of a product that was never traded; best bid and ask are those of now."""
    decimals = market.product.price_decimals
    bid, ask = market.book.best_bid, market.book.best_ask
    return _encode(
        _UntradedTicker(
            product_id=market.product.product_id,
            best_bid=padded(bid.price, decimals),
            best_bid_size=padded(bid.size, SIZE_DECIMALS),
            best_ask=padded(ask.price, decimals),
            best_ask_size=padded(ask.size, SIZE_DECIMALS),
        )
    )


def snapshot(product: Product, book: Book) -> bytes:
    """The `snapshot` frame of a book; asks come first, as they do on the wire."""
    return _encode(_Snapshot(product.product_id, _levels(product, book, "sell"), _levels(product, book, "buy")))


def l2update(product: Product, changes: Sequence[Change], time_ns: int) -> bytes:
    """The `l2update` frame of some changes; sizes are absolute, and 0 in one form or another where a level is gone."""
    decimals = product.price_decimals
    return _encode(
        _L2Update(
            product_id=product.product_id,
            changes=[
                (
                    change.side,
                    padded(change.price, decimals),
                    padded(change.size, SIZE_DECIMALS) if change.size else NO_SIZE[change.price % len(NO_SIZE)],
                )
                for change in changes
            ],
            time=timestamp(time_ns),
        )
    )


def _levels(product: Product, book: Book, side: Side) -> list[tuple[str, str]]:
    decimals = product.price_decimals
    return [(padded(price, decimals), padded(size, SIZE_DECIMALS)) for price, size in book.levels(side)]


def match(product: Product, trade: Trade, kind: MatchKind = "match") -> bytes:
    """The `match` frame of a trade, or the `last_match` that repeats it; its side is the maker's."""
    return _encode(
        _Match(
            type=kind,
            trade_id=trade.trade_id,
            maker_order_id=trade.maker_order_id,
            taker_order_id=trade.taker_order_id,
            side=MAKER_SIDE[trade.taker_side],
            size=trimmed(trade.size, SIZE_DECIMALS),
            price=trimmed(trade.price, product.price_decimals),
            product_id=product.product_id,
            sequence=trade.sequence,
            time=timestamp(trade.time_ns),
        )
    )


def heartbeat(market: Market, time_ns: int) -> bytes:
    """The `heartbeat` frame of a market as it is now; the last trade is 0 if there never was one."""
    return _encode(
        _Heartbeat(
            last_trade_id=market.latest.trade.trade_id if market.has_traded else 0,
            product_id=market.product.product_id,
            sequence=market.sequence,
            time=timestamp(time_ns),
        )
    )


def bare_heartbeat(product_id: str, time_ns: int) -> bytes:
    """The `heartbeat` frame of a product of which no more is known: the feed, too, sent 0 for the ids for years."""
    return _encode(_Heartbeat(last_trade_id=0, product_id=product_id, sequence=0, time=timestamp(time_ns)))


def auction(market: Market, time_ns: int) -> bytes:
    """The `auction` frame of a market that collects orders and cannot open, as no bid meets an ask.

    Its form is that of https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#auctionfeed-channel.
    """
    decimals = market.product.price_decimals
    bid, ask = market.book.best_bid, market.book.best_ask
    return _encode(
        _Auction(
            product_id=market.product.product_id,
            sequence=market.sequence,
            best_bid_price=padded(bid.price, decimals),
            best_bid_size=padded(bid.size, SIZE_DECIMALS),
            best_ask_price=padded(ask.price, decimals),
            best_ask_size=padded(ask.size, SIZE_DECIMALS),
            open_price=padded((bid.price + ask.price) // 2, decimals),
            open_size=padded(min(bid.size, ask.size), SIZE_DECIMALS),
            timestamp=timestamp(time_ns),
        )
    )


def rfq_match(market: Market, trade_id: int, maker_order_id: str, taker_order_id: str, time_ns: int) -> bytes:
    """The `rfq_match` frame of a trade outside the book: as much as the last one in it, for the best bid of now.

    Its form is that of https://docs.cdp.coinbase.com/exchange/websocket-feed/channels#rfq-matches-channel.
    """
    return _encode(
        _RfqMatch(
            maker_order_id=maker_order_id,
            taker_order_id=taker_order_id,
            time=timestamp(time_ns),
            trade_id=trade_id,
            product_id=market.product.product_id,
            size=trimmed(market.latest.trade.size, SIZE_DECIMALS),
            price=trimmed(market.book.best_bid.price, market.product.price_decimals),
            side="buy",
        )
    )


def rest_trade(product: Product, trade: Trade) -> msgspec.Struct:
    """A trade as `GET /products/{id}/trades` lists it: without order ids and sequence; its side is the maker's."""
    missing_decimals = SIZE_DECIMALS - product.price_decimals
    return _RestTrade(
        trade_id=trade.trade_id,
        side=MAKER_SIDE[trade.taker_side],
        size=padded(trade.size, SIZE_DECIMALS),
        price=padded(trade.price * 10**missing_decimals, SIZE_DECIMALS),
        time=timestamp(trade.time_ns),
    )


def padded(units: int, decimals: int) -> str:
    """`units` of 10 to the power of minus `decimals`, written with all its decimals."""
    digits = f"{units:0{decimals + 1}d}"
    return f"{digits[:-decimals]}.{digits[-decimals:]}" if decimals else digits


def trimmed(units: int, decimals: int) -> str:
    """Likewise, without the zeros that end the fraction."""
    text = padded(units, decimals)
    return text.rstrip("0").rstrip(".") if decimals else text


def timestamp(time_ns: int) -> str:
    """A UTC time to the microsecond, without the zeros that end the fraction; no fraction where it is nought."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    fraction = f".{rest // 1000:06d}".rstrip("0").rstrip(".")
    return f"{_to_the_second(seconds)}{fraction}Z"


@lru_cache(maxsize=4)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
