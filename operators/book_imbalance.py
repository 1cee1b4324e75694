"""Which side of a book is heavier."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import TypeVar

from reactivex import Observable

from operators._exact import EXACT, ROUNDED
from operators._measure import measure
from operators.book_view import BookMessage, BookView
from operators.measured import Measured
from operators.order_book import Level

V = TypeVar("V", bound=BookView[BookMessage])


def book_imbalance(
    levels: int = 1, *, otherwise: Callable[[V], None] | None = None
) -> Callable[[Observable[V]], Observable[Measured[V, float]]]:
    """Pair each view of a book with (bid - asked) / (bid + asked), of the sizes of the best `levels` of each side.

        source  3:1---1:1---1:3--|    what is bid, and what is asked
                    book_imbalance()
        result  0.5---0-----0.5--|    the last is negative; each with its view

    From -1, where all is asked, to 1, where all is bid. The views are those of `order_books`, which has 10 levels of a
    side unless told otherwise: of more than it has, or of more than the book has, those are counted that there are.
    The sizes are added exactly; only the quotient is a float, since it has mostly no last digit. Of a book that is
    crossed or stale it is what the book says, and the view has the flag.

    For the best level, M. D. Gould and J. Bonart, "Queue imbalance as a one-tick-ahead price predictor in a limit order
    book", Market Microstructure and Liquidity 2 (2016); for more, A. Cartea, R. Donnelly and S. Jaimungal,
    "Enhancing trading strategies with order book signals", Applied Mathematical Finance 25 (2018), 1-35.

    Laws:
        Every view is either emitted or told to `otherwise`; order is kept.
        From -1 to 1; with the sides exchanged, the negative.
        Sizes in another unit give the same. No state, so equal books have equal values, whatever came before.

    Example:
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> from operators import order_books
        >>> from operators.testing import Snapshot
        >>> source = reactivex.of(Snapshot("BTC-USD", bids=[("99", "3"), ("98", "1")], asks=[("101", "1")]))
        >>> books = source.pipe(order_books(scheduler=VirtualTimeScheduler()))
        >>> _ = books.pipe(book_imbalance(levels=2)).subscribe(lambda result: print(result.value))
        0.6

    Args:
        levels: How many of each side count, from the best one on.
        otherwise: Told of each view of a book without any level, such as one that was reset. What it raises is the
            stream's error.

    Raises:
        ValueError: `levels` is not positive.
    """
    if levels < 1:
        raise ValueError(f"must be positive: levels={levels}")

    def imbalance(view: V) -> Measured[V, float] | None:
        bid, asked = _sum(view.bids, levels), _sum(view.asks, levels)
        both = EXACT.add(bid, asked)
        return Measured(view, float(ROUNDED.divide(EXACT.subtract(bid, asked), both))) if both else None

    return measure(lambda: imbalance, None, otherwise)


def _sum(side: tuple[Level, ...], levels: int) -> Decimal:
    total = Decimal()
    for level in islice(side, levels):
        total = EXACT.add(total, level.size)
    return total
