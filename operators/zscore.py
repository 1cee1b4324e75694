"""How unusual a number is, among those before it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import sqrt
from typing import TypeVar

from reactivex import Observable

from operators._exact import Number
from operators._moments import Moment
from operators._moving import Moments, Moving
from operators.measured import Measured

A = TypeVar("A")


def zscore(
    value: Callable[[A], Number | None],
    key: Callable[[A], Hashable],
    *,
    count: int | None = None,
    seconds: float | None = None,
    time: Callable[[A], Moment | None] | None = None,
    least: int = 2,
    most_values: int = 100_000,
    most_keys: int = 10_000,
    otherwise: Callable[[A], None] | None = None,
    failed: Callable[[A, Exception], None] | None = None,
) -> Callable[[Observable[A]], Observable[Measured[A, float]]]:
    """Pair each item with (value - mean) / deviation, of its key's last `count` values, or of the last `seconds`.

        source     1----3----5----5----5--|
                       zscore(value, key, count=3)
        result     -----0.7--1----0.6--0--|    each with its item
        otherwise  1----------------------|

    The item's own value is in the window, and the deviation is that of a sample, so that of n values none has a score
    beyond (n - 1) / sqrt(n): with 10 none beyond 2.85 (R. E. Shiffler, "Maximum Z scores and outliers", The American
    Statistician 42 (1988), 79-80). To be told of scores above 3, take a window of more. Where all values are equal, the
    score is 0: the value is the mean.

    Values are floats, as a square root has no last digit. Mean and deviation are those of `volatility`: as exact as if
    computed from scratch, by Welford's method; so are the windows and what they do with items that come late.

    Laws:
        Every item is either emitted, or told to `otherwise`, or to `failed`; order is kept.
        Adding a constant to all values does not change a score, nor does multiplying all by one that is positive; by
        one that is negative, it becomes the negative.
        Memory is `count` values (or `most_values`) for each of `most_keys` keys; the one that did not come for the
        longest is forgotten first, and begins anew.

    Example:
        >>> import reactivex
        >>> sizes = reactivex.of("1", "1.2", "0.9", "1.1", "9")
        >>> scores = sizes.pipe(zscore(lambda size: size, lambda _: "BTC-USD", count=20, least=4))
        >>> _ = scores.subscribe(lambda result: print(f"{result.item}: {result.value:.2f}"))
        1.1: 0.39
        9: 1.79

    Args:
        value: The number. What is none, or None, or not finite, is a failure of the item.
        key: What the item is about, such as the product. An exception is a failure of the item.
        count: How many values the window has.
        seconds: How long the window is, by `time`.
        time: When the item was: RFC 3339 text, an aware datetime, or nanoseconds since 1970. What is none is a failure.
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
    return Moving(value, key, count, seconds, time, least, most_values, most_keys).measure(_score, otherwise, failed)


def _score(moments: Moments, value: float) -> float:
    if not moments.squares:
        return 0.0
    return (value - moments.mean) / sqrt(moments.squares / (moments.number - 1))
