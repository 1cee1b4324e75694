"""Scenes of the operators for market data."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeAlias

from reactivex import Observable

from docs.diagrams.scene import scene
from operators import (
    book_imbalance,
    candles,
    micro_price,
    mid,
    order_books,
    returns,
    spread,
    trade_flow_imbalance,
    volatility,
    vwap,
    zscore,
)
from operators._moments import nanoseconds
from operators.book_view import BookReset, BookTrouble, BookView
from operators.candle import Candle
from operators.measured import Measured
from operators.order_book import Level
from operators.testing import Quote, Snapshot, Trade, Update, VirtualTime, quotes, trades
from operators.trade_flow_imbalance import Flow

BookMessage: TypeAlias = Snapshot | Update | BookReset


def book_label(item: BookMessage | BookView[BookMessage] | BookTrouble[BookMessage]) -> str:
    """A view by its best prices, a message by what it does, a trouble by its kind."""
    if isinstance(item, BookTrouble):
        return item.kind
    if isinstance(item, BookView):
        bid, ask = (level.price if level else "-" for level in (item.best_bid, item.best_ask))
        flags = [name for name in ("reset", "crossed", "stale") if getattr(item, name)]
        return " ".join([f"{bid}/{ask}", *flags])
    if isinstance(item, Update):
        return " ".join(item.changes[0])
    return "snapshot" if isinstance(item, Snapshot) else "reset"


@scene("order_books", label=book_label, colour=lambda item: type(item).__name__, until=34)
def order_books_scene(clock: VirtualTime) -> Observable[BookView[BookMessage]]:
    snapshot = Snapshot("ETH-USD", bids=[("9.5", "2"), ("9.4", "1")], asks=[("10.1", "3")])
    source: Observable[BookMessage] = clock.hot(
        "s----u----w----r----v----s---------",
        s=snapshot,
        u=Update("ETH-USD", [("buy", "9.6", "7")]),
        w=Update("ETH-USD", [("buy", "9.1", "4")]),
        r=BookReset("ETH-USD", "sequence 17 after 15"),
        v=Update("ETH-USD", [("buy", "9.7", "1")]),
    )
    troubled, ignored = clock.told("troubled"), clock.told("ignored")
    return source.pipe(order_books(stale_after=8, troubled=troubled, ignored=ignored, scheduler=clock))


def quote_label(item: Quote | Measured[Any, Decimal]) -> str:
    """A quote by its prices, and a result by its value."""
    return f"{item.value:f}" if isinstance(item, Measured) else f"{item.best_bid}/{item.best_ask}"


def sized_label(item: Quote | Measured[Any, Decimal]) -> str:
    """A quote by its sizes and prices, and a result by its value."""
    if isinstance(item, Measured):
        return f"{item.value:f}"
    return f"{item.best_bid_size} at {item.best_bid} / {item.best_ask_size} at {item.best_ask}"


def of_quote(item: Quote | Measured[Quote, Decimal]) -> Quote:
    return item.item if isinstance(item, Measured) else item


@scene("mid", label=quote_label, colour=of_quote)
def mid_scene(clock: VirtualTime) -> Observable[Measured[Quote, Decimal]]:
    source = clock.cold(quotes("a-----b-----c-----d-----|", a=(99, 101), b=(99, 102), c=(0, 101), d=(100, 102)))
    otherwise = clock.told("otherwise")
    return source.pipe(mid(otherwise=otherwise))


@scene("spread", label=quote_label, colour=of_quote)
def spread_scene(clock: VirtualTime) -> Observable[Measured[Quote, Decimal]]:
    source = clock.cold(quotes("a-----b-----c-----|", a=(99, 101), b=(99, 102), c=(100, 102)))
    return source.pipe(spread())


@scene("micro_price", label=sized_label, colour=of_quote)
def micro_price_scene(clock: VirtualTime) -> Observable[Measured[Quote, Decimal]]:
    source = clock.cold(
        quotes("a---------b---------c---------|", a=(99, 101, 1, 1), b=(99, 101, 3, 1), c=(99, 101, 1, 3))
    )
    return source.pipe(micro_price())


def imbalance_label(item: BookView[BookMessage] | Measured[BookView[BookMessage], float]) -> str:
    """A book by the sizes of its sides, and a result by its value."""
    if isinstance(item, Measured):
        return f"{item.value:g}"
    return " | ".join("+".join(str(level.size) for level in side) for side in (item.bids, item.asks))


def of_view(item: BookView[BookMessage] | Measured[BookView[BookMessage], float]) -> BookView[BookMessage]:
    return item.item if isinstance(item, Measured) else item


@scene("book_imbalance", label=imbalance_label, colour=lambda item: of_view(item).bids)
def book_imbalance_scene(clock: VirtualTime) -> Observable[Measured[BookView[BookMessage], float]]:
    def book(bids: str, asks: str) -> BookView[BookMessage]:
        return view_of(bids, asks, clock)

    views = clock.cold("a-------b-------c-------|", a=book("3", "1"), b=book("2 1", "1 2"), c=book("1", "2 1"))
    return views.pipe(book_imbalance(levels=2))


def view_of(bids: str, asks: str, clock: VirtualTime) -> BookView[BookMessage]:
    """A view with levels of these sizes."""
    bid_levels = tuple(Level(Decimal(99 - place), Decimal(size)) for place, size in enumerate(bids.split()))
    ask_levels = tuple(Level(Decimal(101 + place), Decimal(size)) for place, size in enumerate(asks.split()))
    return BookView("ETH-USD", bid_levels, ask_levels, clock.now)


def flow_label(item: Trade | Flow[Trade]) -> str:
    """A trade by what its taker did, and a result by the signed volume."""
    return f"{item.net:+f}" if isinstance(item, Flow) else f"{item.taker_side} {item.size}"


def candle_label(item: Trade | Candle) -> str:
    """A trade by its price; a candle by open, high, low and close, with a mark of what it is."""
    if isinstance(item, Trade):
        return item.price
    mark = f" revision {item.revision}" if item.revision else "" if item.is_closed else " so far"
    return f"{item.open} {item.high} {item.low} {item.close}{mark}"


def interval_of(item: Trade | Candle) -> int:
    """A candle has the colour of its trades."""
    return (item.start if isinstance(item, Candle) else nanoseconds(item.time)) // 10_000_000_000


@scene("candles", label=candle_label, colour=interval_of)
def candles_scene(clock: VirtualTime) -> Observable[Candle]:
    late = {"price": 9, "at": 8}
    source = clock.cold(trades("a---b---c-----d-----l-----e------|", a=1, b=3, c=2, d=4, l=late, e=5))
    return source.pipe(candles(10))


def average_label(item: Trade | Measured[Trade, Decimal]) -> str:
    """A trade by its size and price, and a result by its value."""
    return f"{item.value:.3g}" if isinstance(item, Measured) else f"{item.size} at {item.price}"


@scene("vwap", label=average_label, colour=lambda item: getattr(item, "item", item))
def vwap_scene(clock: VirtualTime) -> Observable[Measured[Trade, Decimal]]:
    source = clock.cold(trades("a----b----c----d----|", a=(10, 1), b=(20, 1), c=(30, 2), d=(10, 4)))
    return source.pipe(vwap(11))


@scene("trade_flow_imbalance", label=flow_label, colour=lambda item: getattr(item, "item", item))
def trade_flow_imbalance_scene(clock: VirtualTime) -> Observable[Flow[Trade]]:
    buy, sell = {"price": 100, "side": "sell"}, {"price": 100, "side": "buy"}  # the maker's sides
    source = clock.cold(
        trades("a----b----c----d----|", a={**buy, "size": 3}, b={**sell, "size": 1}, c={**buy, "size": 2}, d=(100, 4))
    )
    return source.pipe(trade_flow_imbalance(10))


def value_label(item: Trade | Measured[Trade, float]) -> str:
    """A trade by its price, and a result by its value."""
    return f"{item.value:.2g}" if isinstance(item, Measured) else item.price


def of_trade(item: Trade | Measured[Trade, float]) -> Trade:
    return item.item if isinstance(item, Measured) else item


def price(trade: Trade) -> str:
    return trade.price


def product(trade: Trade) -> str:
    return trade.product_id


@scene("returns", label=value_label, colour=of_trade)
def returns_scene(clock: VirtualTime) -> Observable[Measured[Trade, float]]:
    source, otherwise = clock.cold(trades("100----110----99----99----|")), clock.told("otherwise")
    return source.pipe(returns(price, product, otherwise=otherwise))


@scene("volatility", label=value_label, colour=of_trade)
def volatility_scene(clock: VirtualTime) -> Observable[Measured[Trade, float]]:
    source, otherwise = clock.cold(trades("1----3----5----5----5----|")), clock.told("otherwise")
    return source.pipe(volatility(price, product, count=3, otherwise=otherwise))


@scene("zscore", label=value_label, colour=of_trade)
def zscore_scene(clock: VirtualTime) -> Observable[Measured[Trade, float]]:
    source, otherwise = clock.cold(trades("1----3----5----5----5----|")), clock.told("otherwise")
    return source.pipe(zscore(price, product, count=3, otherwise=otherwise))
