"""The average price of what was traded, weighted by how much."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Protocol, TypeVar

from reactivex import Observable

from operators._exact import EXACT, ROUNDED, Number, exact
from operators._measure import measure
from operators._moments import Moment, nanoseconds, span_of
from operators._per_key import PerKey
from operators._sums import WindowOfSums
from operators.measured import Measured

_NOTHING = Decimal()


class PricedTrade(Protocol):
    """A trade with its price and its size."""

    @property
    def product_id(self) -> str | None:
        """What was traded."""
        ...

    @property
    def price(self) -> Number | None:
        """At which price."""
        ...

    @property
    def size(self) -> Number | None:
        """How much."""
        ...

    @property
    def time(self) -> Moment | None:
        """When: RFC 3339 text, an aware datetime, or nanoseconds since 1970."""
        ...


T = TypeVar("T", bound=PricedTrade)


def vwap(
    seconds: float | None = None,
    *,
    session: float | None = None,
    most_trades: int = 100_000,
    most_products: int = 10_000,
    late: Callable[[T], None] | None = None,
    failed: Callable[[T, Exception], None] | None = None,
) -> Callable[[Observable[T]], Observable[Measured[T, Decimal]]]:
    """Pair each trade with the volume-weighted average price of its product: sum(price x size) / sum(size).

        source  1*10----1*20----2*30---|    sizes and prices
                    vwap()
        result  10------15------22.5---|
                    vwap(15)
        result  10------15------26.7---|    the first has left the window of fifteen ticks

    Without a window it is the average of all trades since the first; with `seconds`, of those in the time up to the
    newest one; with `session`, of those since the session began, such as of 86400 s, a day of UTC. Time is that of the
    trades. One that comes late counts if the window, or the session, is still that; else it is told to `late`. A
    `last_match` repeats a trade at each subscription; put `dedupe` before.

    Sums are exact Decimals; the quotient has 28 digits. It is the benchmark of S. A. Berkowitz, D. E. Logue and E. A.
    Noser, "The total cost of transactions on the NYSE", The Journal of Finance 43 (1988), 97-112.

    Laws:
        The value lies between the lowest and the highest price of the trades that count.
        With all prices multiplied by a number it is multiplied by that; sizes in another unit have the same one.
        Every trade is emitted, or told to `late` or `failed`, or is of nothing: a size of 0 before any other is told to
        `failed`. Order is kept.
        Memory is two numbers a product, and with `seconds` three for each of `most_trades`.

    Example:
        >>> import reactivex
        >>> from operators.testing import trade
        >>> trades = reactivex.of(trade(10, 1, at=0), trade(20, 1, at=8), trade(30, 2, at=16))
        >>> _ = trades.pipe(vwap()).subscribe(lambda one: print(one.value))
        10
        15
        22.5

    Args:
        seconds: How long the window is; None for no window.
        session: How long a session is; they are counted from 1970, UTC. None for none.
        most_trades: How many the window may have; if there are more, the oldest leave it before their time.
        most_products: How many products to know; the one that was not traded for the longest is forgotten first.
        late: Told of each trade that is older than the window, or than the session. What it raises is the stream's
            error.
        failed: Told of each trade that could not be read, and why; the stream lives on without it. Without `failed`,
            the exception is the stream's error, and so is what it raises itself.

    Raises:
        ValueError: Both `seconds` and `session` are given, or a number is not positive.
    """
    if seconds is not None and session is not None:
        raise ValueError("a window has no sessions")
    if most_trades < 1 or most_products < 1:
        raise ValueError(f"must be positive: {most_trades=}, {most_products=}")
    window_span = None if seconds is None else span_of(seconds)
    session_span = None if session is None else span_of(session)

    def new() -> WindowOfSums | _Running:
        return _Running(session_span) if window_span is None else WindowOfSums(window_span, most_trades)

    def make() -> Callable[[T], Measured[T, Decimal] | None]:
        sums = PerKey(lambda _: new(), most_products)

        def average(item: T) -> Measured[T, Decimal] | None:
            price, size, time = exact(item.price), exact(item.size), nanoseconds(item.time)
            if size < 0:
                raise ValueError(f"a negative size: {size}")
            sum_of = sums.of(item.product_id)
            if not sum_of.add(time, size, EXACT.multiply(price, size)):
                return None
            if not sum_of.first:
                raise ValueError("nothing was traded: the sizes are 0")
            return Measured(item, ROUNDED.divide(sum_of.second, sum_of.first))

        return average

    return measure(make, failed, late)


class _Running:
    """Two exact sums since the beginning, or since that of the session."""

    __slots__ = ("_begins", "_span", "first", "second")

    def __init__(self, span: int | None) -> None:
        self._span = span
        self._begins: int | None = None
        self.first = self.second = _NOTHING

    def add(self, time: int, first: Decimal, second: Decimal) -> bool:
        """Whether it belongs to the session; what belongs to one before changes nothing."""
        if self._span is not None:
            begins = time - time % self._span
            if self._begins is None or begins > self._begins:
                self._begins, self.first, self.second = begins, _NOTHING, _NOTHING
            elif begins < self._begins:
                return False
        self.first = EXACT.add(self.first, first)
        self.second = EXACT.add(self.second, second)
        return True
