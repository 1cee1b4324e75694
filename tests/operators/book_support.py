"""Messages for books, short to write, and what is seen of the views that come of them."""

from __future__ import annotations

from typing import TypeAlias

from operators.book_view import BookReset, BookTrouble, BookView
from operators.testing import Snapshot, Update

__all__ = ["Snapshot", "Update", "ask", "bid", "brief", "brief_trouble", "snapshot"]


Message: TypeAlias = Snapshot | Update | BookReset
View: TypeAlias = BookView[Message]
Trouble: TypeAlias = BookTrouble[Message]


def snapshot(product: str = "A", bid: str = "9", ask: str = "11") -> Snapshot:
    """A book of one level a side."""
    return Snapshot(product, [(bid, "1")], [(ask, "1")])


def bid(price: str, size: str = "1", product: str = "A") -> Update:
    return Update(product, [("buy", price, size)])


def ask(price: str, size: str = "1", product: str = "A") -> Update:
    return Update(product, [("sell", price, size)])


def brief(view: View) -> str:
    """A view in a word: product, best bid and ask, and the flags that are set."""
    best = "/".join(str(level.price) if level else "-" for level in (view.best_bid, view.best_ask))
    flags = [name for name in ("reset", "crossed", "stale") if getattr(view, name)]
    return " ".join([view.product, best, *flags])


def brief_trouble(trouble: Trouble) -> str:
    return f"{trouble.product} {trouble.kind}"
