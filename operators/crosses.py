"""Values that cross a level, told once for each time that they do."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from decimal import Decimal
from typing import Literal, TypeVar

from reactivex import Observable

from operators._exact import EXACT, Number, exact
from operators._pass_when import pass_when
from operators._per_key import PerKey

A = TypeVar("A")


def crosses_above(
    level: Number | Callable[[A], Number | None],
    value: Callable[[A], Number | None],
    key: Callable[[A], Hashable],
    *,
    rearm: Number = 0,
    most_keys: int = 10_000,
    failed: Callable[[A, Exception], None] | None = None,
) -> Callable[[Observable[A]], Observable[A]]:
    """Pass the item with which the value of its key rises above the level, having been at or below it.

        source  4---5---6---7---5.8---6---5---6---|
                    crosses_above(5.5, value, key)
        result  --------6---------------------6---|
                    crosses_above(6.5, value, key, rearm=1)
        result  ------------7---------------------|    after 5, which is low enough, nothing is above 6.5

    A value that starts above the level has not crossed it. With `rearm`, a value that trembles about the level crosses
    it once: after a crossing there is no other before it has come down to `level - rearm`.

    Values are exact: prices as decimal text are read as Decimals, so one equal to the level is not above it.

    Laws:
        Between two items of a key that pass there is one whose value is at or below `level - rearm`.
        With the signs of values and levels turned, `crosses_below` passes the same items.
        Memory is one flag for each of `most_keys` keys; the one that did not come for the longest is forgotten first,
        and begins anew.

    Example:
        >>> import reactivex
        >>> prices = reactivex.of("99", "100", "100.1", "100.2", "99.5", "100.1", "98", "101")
        >>> alerts = prices.pipe(crosses_above(100, lambda price: price, lambda _: "BTC-USD", rearm=1))
        >>> _ = alerts.subscribe(print)
        100.1
        101

    Args:
        level: What is crossed: one number, or a function that says it for each item, such as a moving average.
        value: The number that crosses: a Decimal, an int, decimal text, or a float, which is read as it is written.
            None is a failure of the item.
        key: What the item is about. An exception, or a key that cannot be hashed, is a failure of the item.
        rearm: How far below the level the value must come before it can cross it again; in its unit.
        most_keys: How many keys to know.
        failed: Told of each item that could not be read, and why; the stream lives on without it. Without `failed`, the
            exception is the stream's error, and so is what it raises itself.

    Raises:
        ValueError: `rearm` is negative, `most_keys` is not positive, or one of the numbers is none.
    """
    return _crosses("above", level, value, key, rearm=rearm, most_keys=most_keys, failed=failed)


def crosses_below(
    level: Number | Callable[[A], Number | None],
    value: Callable[[A], Number | None],
    key: Callable[[A], Hashable],
    *,
    rearm: Number = 0,
    most_keys: int = 10_000,
    failed: Callable[[A, Exception], None] | None = None,
) -> Callable[[Observable[A]], Observable[A]]:
    """Pass the item with which the value of its key falls below the level, having been at or above it.

        source  7---6---5---4---5.2---5---6---5---|
                    crosses_below(5.5, value, key)
        result  --------5---------------------5---|
                    crosses_below(4.5, value, key, rearm=1)
        result  ------------4---------------------|    after 6, which is high enough, nothing is below 4.5

    It is `crosses_above` upside down: after a crossing there is no other before the value has come up to
    `level + rearm`.

    Laws:
        Between two items of a key that pass there is one whose value is at or above `level + rearm`.
        With the signs of values and levels turned, `crosses_above` passes the same items.
        Memory is one flag for each of `most_keys` keys.

    Example:
        >>> import reactivex
        >>> prices = reactivex.of("101", "100", "99.9", "100.1", "99.9", "102", "98")
        >>> alerts = prices.pipe(crosses_below(100, lambda price: price, lambda _: "BTC-USD", rearm=1))
        >>> _ = alerts.subscribe(print)
        99.9
        98

    Args:
        level: What is crossed: one number, or a function that says it for each item.
        value: The number that crosses.
        key: What the item is about.
        rearm: How far above the level the value must come before it can cross it again; in its unit.
        most_keys: How many keys to know.
        failed: Told of each item that could not be read, and why; without it, that is the stream's error.

    Raises:
        ValueError: `rearm` is negative, `most_keys` is not positive, or one of the numbers is none.
    """
    return _crosses("below", level, value, key, rearm=rearm, most_keys=most_keys, failed=failed)


class _Key:
    """Whether the next value beyond the level is a crossing; None before the first value."""

    __slots__ = ("armed",)

    def __init__(self, _key: Hashable) -> None:
        self.armed: bool | None = None


def _crosses(
    side: Literal["above", "below"],
    level: Number | Callable[[A], Number | None],
    value: Callable[[A], Number | None],
    key: Callable[[A], Hashable],
    *,
    rearm: Number,
    most_keys: int,
    failed: Callable[[A, Exception], None] | None,
) -> Callable[[Observable[A]], Observable[A]]:
    back = EXACT.minus(exact(rearm))
    if back > 0 or most_keys < 1:
        raise ValueError(f"must be positive: rearm={rearm}, most_keys={most_keys}")
    level_of = level if callable(level) else None
    fixed = Decimal(0) if callable(level) else exact(level)

    def condition() -> Callable[[A], bool]:
        keys = PerKey(_Key, most_keys)

        def crosses(item: A) -> bool:
            limit = fixed if level_of is None else exact(level_of(item))
            number = exact(value(item))
            beyond = EXACT.subtract(number, limit) if side == "above" else EXACT.subtract(limit, number)
            state = keys.of(key(item))
            if beyond > 0:
                crossed = state.armed is True
                state.armed = False
                return crossed
            if state.armed is None or beyond <= back:
                state.armed = True
            return False

        return crosses

    return pass_when(condition, failed)
