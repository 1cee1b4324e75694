"""Scenes of the operators for market data."""

from __future__ import annotations

from typing import TypeAlias

from reactivex import Observable

from docs.diagrams.scene import scene
from operators import order_books
from operators.book_view import BookReset, BookTrouble, BookView
from operators.testing import Snapshot, Update, VirtualTime

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
