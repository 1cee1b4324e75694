"""What a quote says of the price: its middle, its middle weighted by the sizes, and how far its sides are apart."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol, TypeAlias, TypeVar

from reactivex import Observable

from operators._exact import EXACT, ROUNDED, Number, exact
from operators._measure import measure
from operators.book_view import BookMessage, BookView
from operators.measured import Measured
from operators.order_book import Level


class Quote(Protocol):
    """The best prices of a product, such as a ticker or a `BookView`: Decimals, decimal text, or levels of a book."""

    @property
    def best_bid(self) -> Number | Level | None:
        """The highest price that is bid; None, empty text or zero if nothing is."""
        ...

    @property
    def best_ask(self) -> Number | Level | None:
        """The lowest price that is asked, likewise."""
        ...


class SizedQuote(Protocol):
    """The best prices, and how much is bid and asked at them, such as a ticker."""

    @property
    def best_bid(self) -> Number | None:
        """The highest price that is bid; None, empty text or zero if nothing is."""
        ...

    @property
    def best_ask(self) -> Number | None:
        """The lowest price that is asked, likewise."""
        ...

    @property
    def best_bid_size(self) -> Number | None:
        """How much is bid at the highest price."""
        ...

    @property
    def best_ask_size(self) -> Number | None:
        """How much is asked at the lowest price."""
        ...


AnySizedQuote: TypeAlias = SizedQuote | BookView[BookMessage]

Q = TypeVar("Q", bound=Quote)
S = TypeVar("S", bound=AnySizedQuote)

_TWO = Decimal(2)
_BASIS_POINTS = Decimal(20_000)
"""A ten-thousandth of the middle, which is half of the sum."""


def mid(
    *, otherwise: Callable[[Q], None] | None = None, failed: Callable[[Q, Exception], None] | None = None
) -> Callable[[Observable[Q]], Observable[Measured[Q, Decimal]]]:
    """Pair each quote with its middle: half of the best bid and the best ask together.

        source     99/101---99/102---99/-----100/102--|
                       mid(otherwise=...)
        result     100------100.5------------101------|    each with its quote
        otherwise  ------------------99/--------------|

    The source may be of tickers or of the views of `order_books`, as they are. The value is exact: half of a Decimal is
    a Decimal. Of a book that is crossed or stale it is what the book says, and the item has the flag.

    Laws:
        Every quote is either emitted, or told to `otherwise`, or to `failed`; order is kept.
        The middle is between the bid and the ask, and as far from the one as from the other.
        No state, so equal quotes have equal values, whatever came before.

    Example:
        >>> import reactivex
        >>> from operators.testing import quote
        >>> source = reactivex.of(quote(99, 101), quote("100.01", "100.02"))
        >>> _ = source.pipe(mid()).subscribe(lambda result: print(result.value))
        100
        100.015

    Args:
        otherwise: Told of each quote of which a side is empty, so that it has no middle: None, empty text or zero, as
            feeds have it, or a book that was reset. What it raises is the stream's error.
        failed: Told of each quote of which a price is no number, and why; the stream lives on without it. Without
            `failed`, the exception is the stream's error, and so is what it raises itself.
    """

    def middle(item: Q) -> Measured[Q, Decimal] | None:
        bid, ask = _price(item.best_bid), _price(item.best_ask)
        return Measured(item, EXACT.divide(EXACT.add(bid, ask), _TWO)) if bid and ask else None

    return measure(lambda: middle, failed, otherwise)


def spread(
    *,
    basis_points: bool = False,
    otherwise: Callable[[Q], None] | None = None,
    failed: Callable[[Q, Exception], None] | None = None,
) -> Callable[[Observable[Q]], Observable[Measured[Q, Decimal]]]:
    """Pair each quote with the best ask less the best bid: what buying and selling at once costs.

        source  99/101---99/102---100/102--|
                    spread()
        result  2--------3--------2--------|    each with its quote

    The source may be of tickers or of the views of `order_books`, as they are. In the unit of the price the value is
    exact. With `basis_points` it is in ten-thousandths of the middle, so that products can be compared, to 28 digits.
    Of a book that is crossed it is not positive, and the item has the flag.

    Laws:
        Every quote is either emitted, or told to `otherwise`, or to `failed`; order is kept.
        The middle and half of the spread are the ask.
        In basis points it does not depend on the unit of the prices.

    Example:
        >>> import reactivex
        >>> from operators.testing import quote
        >>> source = reactivex.of(quote("99.9", "100.1"), quote("100.01", "100.02"))
        >>> _ = source.pipe(spread()).subscribe(lambda result: print(result.value))
        0.2
        0.01
        >>> _ = source.pipe(spread(basis_points=True)).subscribe(lambda result: print(f"{result.value:.4f}"))
        20.0000
        0.9999

    Args:
        basis_points: In ten-thousandths of the middle, and not in the unit of the price.
        otherwise: Told of each quote of which a side is empty: None, empty text or zero, as feeds have it, or a book
            that was reset. What it raises is the stream's error.
        failed: Told of each quote of which a price is no number, and why; the stream lives on without it. Without
            `failed`, the exception is the stream's error, and so is what it raises itself.
    """

    def difference(item: Q) -> Measured[Q, Decimal] | None:
        bid, ask = _price(item.best_bid), _price(item.best_ask)
        if not bid or not ask:
            return None
        apart = EXACT.subtract(ask, bid)
        if basis_points:
            apart = ROUNDED.divide(EXACT.multiply(apart, _BASIS_POINTS), EXACT.add(bid, ask))
        return Measured(item, apart)

    return measure(lambda: difference, failed, otherwise)


def micro_price(
    *, otherwise: Callable[[S], None] | None = None, failed: Callable[[S, Exception], None] | None = None
) -> Callable[[Observable[S]], Observable[Measured[S, Decimal]]]:
    """Pair each quote with its middle weighted by the sizes: (bid * ask size + ask * bid size) / (both sizes).

        source  99x1/101x1---99x3/101x1---99x1/101x3--|
                    micro_price()
        result  100----------100.5--------99.5--------|    each with its quote

    It leans to the side where less waits, as the price is more likely to move there. The source may be of tickers or of
    the views of `order_books`, as they are. The value is rounded to 28 digits: a quotient has mostly no last digit.

    So defined as the micro-price by J. Gatheral and R. Oomen, "Zero-intelligence realized variance estimation", Finance
    and Stochastics 14 (2010), 249-283. S. Stoikov, "The micro-price: a high-frequency estimator of future prices",
    Quantitative Finance 18 (2018), 1959-1966, calls it the weighted mid-price, and his own micro-price an estimate
    that is made from it with what was learned of a product's past.

    Laws:
        Every quote is either emitted, or told to `otherwise`, or to `failed`; order is kept.
        It is between the bid and the ask; of equal sizes it is the middle.
        Sizes in another unit give the same.

    Example:
        >>> import reactivex
        >>> from operators.testing import quote
        >>> source = reactivex.of(quote(99, 101, 1, 1), quote(99, 101, 3, 1))
        >>> _ = source.pipe(micro_price()).subscribe(lambda result: print(result.value))
        100
        100.5

    Args:
        otherwise: Told of each quote of which a price or a size is missing: None, empty text or zero, as feeds have it,
            or a book that was reset. What it raises is the stream's error.
        failed: Told of each quote of which a price or a size is no number, or a size is negative, and why; the stream
            lives on without it. Without `failed`, the exception is the stream's error, and so is what it raises itself.
    """

    def weighted(item: S) -> Measured[S, Decimal] | None:
        bid, bid_size, ask, ask_size = _sized(item)
        if bid_size < 0 or ask_size < 0:
            raise ValueError(f"a negative size: {bid_size}, {ask_size}")
        if not (bid and ask and bid_size and ask_size):
            return None
        sum_of_both = EXACT.add(EXACT.multiply(bid, ask_size), EXACT.multiply(ask, bid_size))
        return Measured(item, ROUNDED.divide(sum_of_both, EXACT.add(bid_size, ask_size)))

    return measure(lambda: weighted, failed, otherwise)


_NOTHING = Decimal()
_NO_LEVEL = Level(_NOTHING, _NOTHING)
_EMPTY = (None, "")


def _price(side: Number | Level | None) -> Decimal:
    """Zero if there is none."""
    if isinstance(side, Level):
        return side.price
    return exact(side) if side or side not in _EMPTY else _NOTHING


def _sized(item: AnySizedQuote) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """The price and size that are bid, and those that are asked; zero where there is none."""
    if isinstance(item, BookView):
        bid, ask = item.best_bid or _NO_LEVEL, item.best_ask or _NO_LEVEL
        return bid.price, bid.size, ask.price, ask.size
    return _price(item.best_bid), _price(item.best_bid_size), _price(item.best_ask), _price(item.best_ask_size)
