"""Values that have changed by so much."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from decimal import Decimal
from typing import TypeVar

from reactivex import Observable

from operators._exact import EXACT, Number, exact
from operators._pass_when import pass_when
from operators._per_key import PerKey

A = TypeVar("A")


def changes_by(
    value: Callable[[A], Number | None],
    key: Callable[[A], Hashable],
    *,
    amount: Number | None = None,
    percent: Number | None = None,
    rearm: Number = 0,
    most_keys: int = 10_000,
    failed: Callable[[A, Exception], None] | None = None,
) -> Callable[[Observable[A]], Observable[A]]:
    """Pass an item when the value of its key has changed by `amount`, or `percent`, since the one that passed before.

        source  10--11--12--11--13--14--15--13--12--11--|
                    changes_by(value, key, amount=2)
        result  10------12----------14----------12------|
                    changes_by(value, key, amount=2, rearm=2)
        result  10------12--------------------------11--|    15 was the highest; at 13 it is armed again

    The first item of a key passes: it is what changes are counted from. Without `rearm`, each item that passes is what
    the next change is counted from, in either direction. With `rearm`, a move is told once, however far it goes: after
    an item has passed no other does before the value has come back by `rearm` from the farthest that it went; from
    there the next change is counted, in either direction.

    Values are exact: prices as decimal text are read as Decimals, and nothing is divided.

    Laws:
        Without `rearm`, two items of a key that follow each other in the result differ by `amount` or more, and what is
        between them in the source differs from the first by less; applied twice is the same as once.
        With `rearm`, it passes no more than one item for each time that the value turns around.
        Memory is one number for each of `most_keys` keys; the one that did not come for the longest is forgotten first,
        and begins anew.

    Example:
        >>> import reactivex
        >>> prices = reactivex.of("100", "100.4", "101", "100.5", "102.1", "100")
        >>> _ = prices.pipe(changes_by(lambda price: price, lambda _: "BTC-USD", percent=1)).subscribe(print)
        100
        101
        102.1
        100

    Args:
        value: The number that changes: a Decimal, an int, decimal text, or a float, which is read as it is written.
            None is a failure of the item.
        key: What the item is about. An exception, or a key that cannot be hashed, is a failure of the item.
        amount: The change that counts, in the value's unit.
        percent: The change that counts, in percent of what it is counted from. Any change from zero counts.
        rearm: How far the value must come back, in the unit of the change: percent are those of the farthest value.
        most_keys: How many keys to know.
        failed: Told of each item that could not be read, and why; the stream lives on without it. Without `failed`, the
            exception is the stream's error, and so is what it raises itself.

    Raises:
        ValueError: Not exactly one of `amount` and `percent` is given, it is not positive, `rearm` is negative,
            `most_keys` is not positive, or one of the numbers is none.
    """
    if amount is not None and percent is None:
        change = exact(amount)
    elif percent is not None and amount is None:
        change = exact(percent)
    else:
        raise ValueError("give one of amount and percent")
    back = exact(rearm)
    if change <= 0 or back < 0 or most_keys < 1:
        raise ValueError(f"must be positive: change={change}, rearm={rearm}, most_keys={most_keys}")

    def condition() -> Callable[[A], bool]:
        keys = PerKey(lambda _: _Change(change, back, relative=percent is not None), most_keys)

        def changes(item: A) -> bool:
            number = exact(value(item))
            return keys.of(key(item)).passes(number)

        return changes

    return pass_when(condition, failed)


class _Change:
    """What the next change of a key is counted from; while it is not armed, the farthest value since the last one."""

    __slots__ = ("_back", "_change", "_direction", "_from", "_relative")

    def __init__(self, change: Decimal, back: Decimal, *, relative: bool) -> None:
        self._change = change
        self._back = back
        self._relative = relative
        self._from: Decimal | None = None
        self._direction = 0  # that of the move that was told of, until it is armed again

    def passes(self, number: Decimal) -> bool:
        start = self._from
        if start is None:
            self._from = number
            return True
        difference = EXACT.subtract(number, start)
        if self._direction:
            self._turn(number, difference, start)
            return False
        if not self._reaches(difference, start, self._change):
            return False
        self._from = number
        if self._back:
            self._direction = 1 if difference > 0 else -1
        return True

    def _turn(self, number: Decimal, difference: Decimal, farthest: Decimal) -> None:
        if (difference > 0) == (self._direction > 0):
            self._from = number
        elif self._reaches(difference, farthest, self._back):
            self._from = number
            self._direction = 0

    def _reaches(self, difference: Decimal, start: Decimal, limit: Decimal) -> bool:
        size = EXACT.abs(difference)
        if not self._relative:
            return size >= limit
        return size > 0 and EXACT.multiply(size, Decimal(100)) >= EXACT.multiply(limit, EXACT.abs(start))
