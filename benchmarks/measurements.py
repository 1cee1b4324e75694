"""The operators that compute a number of each message, beside plain loops that read the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeAlias

from reactivex import Observable

from operators import book_imbalance, micro_price, mid, spread
from operators.book_view import BookMessage, BookView
from operators.measured import Measured
from operators.order_book import Level
from operators.testing import Quote, quote

View: TypeAlias = BookView[BookMessage]
Take: TypeAlias = Callable[[Any], None]
Measurement: TypeAlias = tuple[str, Callable[[Observable[Any]], Observable[Any]], Sequence[Any], Callable[..., None]]
"""A name, an operator, its items, and the loop that is given those and what takes the results."""

_DEPTH = 5


def measurements(count: int) -> list[Measurement]:
    """The operators that need no scheduler, each with as many items."""
    quotes = [quote(f"{50_000 + place % 89}.01", f"{50_000 + place % 97}.02", "0.5", "1.25") for place in range(count)]
    views = [_view(place % 7 + 1) for place in range(count)]
    return [
        ("mid", mid(), quotes, _mid_loop),
        ("spread", spread(), quotes, _spread_loop),
        ("micro_price", micro_price(), quotes, _micro_price_loop),
        ("book_imbalance", book_imbalance(_DEPTH), views, _imbalance_loop),
    ]


def _view(size: int) -> View:
    bids = tuple(Level(Decimal(99 - place), Decimal(f"{size}.{place}")) for place in range(10))
    asks = tuple(Level(Decimal(101 + place), Decimal(f"1.{place}")) for place in range(10))
    return BookView("BTC-USD", bids, asks, datetime(1970, 1, 1, tzinfo=UTC))


def _mid_loop(quotes: Iterable[Quote], take: Take) -> None:
    for item in quotes:
        bid, ask = Decimal(item.best_bid), Decimal(item.best_ask)
        if bid and ask and bid.is_finite() and ask.is_finite():
            take(Measured(item, (bid + ask) / 2))


def _spread_loop(quotes: Iterable[Quote], take: Take) -> None:
    for item in quotes:
        bid, ask = Decimal(item.best_bid), Decimal(item.best_ask)
        if bid and ask and bid.is_finite() and ask.is_finite():
            take(Measured(item, ask - bid))


def _micro_price_loop(quotes: Iterable[Quote], take: Take) -> None:
    for item in quotes:
        bid, bid_size = Decimal(item.best_bid), Decimal(item.best_bid_size)
        ask, ask_size = Decimal(item.best_ask), Decimal(item.best_ask_size)
        numbers = (bid, bid_size, ask, ask_size)
        if all(numbers) and all(number.is_finite() for number in numbers):
            take(Measured(item, (bid * ask_size + ask * bid_size) / (bid_size + ask_size)))


def _imbalance_loop(views: Iterable[View], take: Take) -> None:
    for view in views:
        bid = sum((level.size for level in view.bids[:_DEPTH]), Decimal())
        asked = sum((level.size for level in view.asks[:_DEPTH]), Decimal())
        take(Measured(view, float((bid - asked) / (bid + asked))))
