"""How much a number varies, over a window that moves."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf, sqrt
from typing import TypeVar

from reactivex import Observable

from operators._exact import Number
from operators._moments import Moment
from operators._moving import Moments, Moving
from operators.measured import Measured

A = TypeVar("A")


def volatility(
    value: Callable[[A], Number | None],
    key: Callable[[A], Hashable],
    *,
    count: int | None = None,
    seconds: float | None = None,
    time: Callable[[A], Moment | None] | None = None,
    periods_a_year: float = 1.0,
    least: int = 2,
    most_values: int = 100_000,
    most_keys: int = 10_000,
    otherwise: Callable[[A], None] | None = None,
    failed: Callable[[A, Exception], None] | None = None,
) -> Callable[[Observable[A]], Observable[Measured[A, float]]]:
    """Pair each item with the standard deviation of its key's last `count` values, or of those of the last `seconds`.

        source     1----3----5----5----5--|
                       volatility(value, key, count=3)
        result     -----1.4--2----1.2--0--|    each with its item
        otherwise  1----------------------|

    Give it returns, of `returns`, and it is what is called volatility. It is that of a sample, divided by one less than
    there are values. `periods_a_year` makes it one of a year: returns of a period, independent of each other, have that
    of the period times the square root of how many periods a year has (J. C. Hull, "Options, Futures, and Other
    Derivatives", on estimating volatility from historical data). That asks for returns of equal periods, such as those
    of candles or of `sample_latest`: 525,600 for those of minutes, of a market that never closes.

    Values are floats, as a square root has no last digit. The result is as exact as if computed from scratch, however
    long the stream is and however large what has left the window was: the values are added by Welford's method (see
    B. P. Welford, Technometrics 4 (1962), 419-420), and never subtracted.

    A window of `seconds` is one of event time, of the items' own time: what came before the newest item of the key by
    so much or more has left it. It moves when an item comes. One that comes late counts where it belongs.

    Laws:
        Every item is either emitted, or told to `otherwise`, or to `failed`; order is kept.
        It is never negative; of equal values it is 0. Adding a constant to all values does not change it, and values
        in another unit have it in that unit.
        Within a window of `seconds`, the last result does not depend on the order in which the items came.
        Memory is `count` values (or `most_values`) for each of `most_keys` keys; the one that did not come for the
        longest is forgotten first, and begins anew.

    Example:
        >>> import reactivex
        >>> from operators import returns
        >>> prices = reactivex.of("100", "101", "100", "102")
        >>> of_prices = returns(lambda price: price, lambda _: "BTC-USD", kind="log")
        >>> of_returns = volatility(lambda change: change.value, lambda _: "BTC-USD", count=20, periods_a_year=525_600)
        >>> _ = prices.pipe(of_prices, of_returns).subscribe(lambda result: print(f"{result.value:.2f}"))
        10.20
        10.99

    Args:
        value: The number. What is none, or None, or not finite, is a failure of the item.
        key: What the item is about, such as the product. An exception is a failure of the item.
        count: How many values the window has.
        seconds: How long the window is, by `time`.
        time: When the item was: RFC 3339 text, an aware datetime, or nanoseconds since 1970. What is none is a failure.
        periods_a_year: What is multiplied with is its square root; without it, the deviation is that of the values.
        least: How many values there must be for a result.
        most_values: How many a window of `seconds` may have; if there are more, the oldest leave it before their time.
        most_keys: How many keys to know.
        otherwise: Told of each item that has no result: while its key has less than `least` values, or because it is
            older than the window. What it raises is the stream's error.
        failed: Told of each item that could not be read, and why; the stream lives on without it. Without `failed`, the
            exception is the stream's error, and so is what it raises itself.

    Raises:
        ValueError: Not exactly one of `count` and `seconds` is given, `seconds` without `time` or `time` without
            `seconds`, `least` is less than 2 or more than the window has, or another number is not positive.
    """
    if not 0 < periods_a_year < inf:
        raise ValueError(f"must be positive: periods_a_year={periods_a_year}")
    factor = sqrt(periods_a_year)

    def deviation(moments: Moments, _value: float) -> float:
        return factor * sqrt(moments.squares / (moments.number - 1))

    return Moving(value, key, count, seconds, time, least, most_values, most_keys).measure(deviation, otherwise, failed)
