"""Scenes of the operators for market data."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeAlias

from reactivex import Observable

from docs.diagrams.scene import scene
from operators import book_imbalance, micro_price, mid, order_books, spread
from operators.book_view import BookReset, BookTrouble, BookView
from operators.measured import Measured
from operators.order_book import Level
from operators.testing import Quote, Snapshot, Update, VirtualTime, quotes

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
