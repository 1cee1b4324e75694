"""Numbers that should rise by one and did not: which are missing, and which of those came late after all."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._observation import observe
from operators._per_key import PerKey

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Gap:
    """Numbers of a key that did not come: from `first` to `last`, both included."""

    key: Hashable
    first: int
    last: int

    def __len__(self) -> int:
        """How many numbers are missing."""
        return self.last - self.first + 1


def detect_gaps(
    number: Callable[[A], int | str | float | None],
    key: Callable[[A], Hashable],
    *,
    found: Callable[[Gap], None],
    closed: Callable[[Gap], None] | None = None,
    given_up: Callable[[Gap], None] | None = None,
    failed: Callable[[A, Exception], None] | None = None,
    most_gaps: int = 1_000,
    most_keys: int = 10_000,
) -> Callable[[Observable[A]], Observable[A]]:
    """Tell of the numbers that are missing from each key's row, and pass the items unchanged.

        source  1--2--6--7--4--3--5--|
                    detect_gaps(number, key, found=..., closed=...)
        result  1--2--6--7--4--3--5--|
        found   ------3-5------------|    the gap from 3 to 5
        closed  ------------4--3--5--|

    A key's first number begins its row: what is below it is not missing, for nobody knows where the row began. A number
    that leaves some out opens a gap, of which `found` is told just before its item passes. One that comes late closes
    its part of a gap, and `closed` is told of that part, a gap of one number, so that what is open can be added up. A
    number that has come already, or is from before the row, changes nothing. Nor does an item whose number is None.

    A key may have `most_gaps` open, as pieces that do not touch; when it gets more, the lowest is given up, as all of a
    key are when there are more than `most_keys` and it was not seen for the longest. A number that comes of one that
    was given up closes nothing.

    Laws:
        The items are the source's, unchanged.
        For each key the numbers of `found` are those of `closed`, those of `given_up` and those that are still open,
        each of them once; and they are what lies between the first number and the highest and has not come in order.
        A source without gaps tells of nothing. The order in which late items come does not matter.
        Memory is two numbers a gap, and one more a key.

    Example:
        >>> import reactivex
        >>> trades = reactivex.of(101, 102, 106, 104, 105, 107)
        >>> def missing(gap: Gap) -> None:
        ...     print(f"{len(gap)} missing: {gap.first} to {gap.last}")
        >>> def came(gap: Gap) -> None:
        ...     print(f"{gap.first} came late")
        >>> operator = detect_gaps(lambda trade_id: trade_id, lambda _: "BTC-USD", found=missing, closed=came)
        >>> _ = trades.pipe(operator).subscribe()
        3 missing: 103 to 105
        104 came late
        105 came late

    Args:
        number: The item's place in the row, such as a `trade_id`: an int, or text of one.
        key: What the row is of, such as the product.
        found: Told of each gap. What it, or another of the four, raises is the stream's error.
        closed: Told of each number that came late.
        given_up: Told of each gap that is no longer known.
        failed: Told of each item of which `number` or `key` could not be read, and why; it passes all the same. Without
            `failed` that is the stream's error, as is a key that cannot be hashed.
        most_gaps: How many may be open of a key.
        most_keys: How many keys to know.

    Raises:
        ValueError: `most_gaps` or `most_keys` is not positive.
    """
    if most_gaps < 1 or most_keys < 1:
        raise ValueError(f"must be positive: most_gaps={most_gaps}, most_keys={most_keys}")

    def operator(source: Observable[A]) -> Observable[A]:
        def subscribe(observer: ObserverBase[A], scheduler: SchedulerBase | None = None) -> DisposableBase:
            emit = observer.on_next
            read = _reader(number, key, failed)
            rows = _Rows(found, closed, given_up, most_gaps=most_gaps, most_keys=most_keys)

            def on_next(item: A) -> None:
                try:
                    if (place := read(item)) is not None:
                        rows.follow(*place)
                except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
                    observer.on_error(error)
                else:
                    emit(item)

            return observe(source, on_next, observer, scheduler)

        return Observable(subscribe)

    return operator


def _reader(
    number: Callable[[A], int | str | float | None],
    key: Callable[[A], Hashable],
    failed: Callable[[A, Exception], None] | None,
) -> Callable[[A], tuple[Hashable, int] | None]:
    """What says an item's key and number; None if it has none, or `failed` was told."""

    def read(item: A) -> tuple[Hashable, int] | None:
        try:
            place = number(item)
            return None if place is None else (key(item), place if isinstance(place, int) else _whole(place))
        except Exception as error:
            if failed is None:
                raise
            failed(item, error)
            return None

    return read


def _whole(number: str | float) -> int:
    if isinstance(number, float) and not number.is_integer():
        raise ValueError(f"no whole number: {number!r}")
    return int(number)


class _Row:
    """What is next of a key, None before its first; and what is missing, as pieces in order that do not touch."""

    __slots__ = ("expected", "firsts", "key", "lasts")

    def __init__(self, key: Hashable) -> None:
        self.key = key
        self.expected: int | None = None
        self.firsts: list[int] = []
        self.lasts: list[int] = []

    def close(self, place: int) -> bool:
        """Take a number out of what is missing; whether it was there."""
        index = bisect_right(self.firsts, place) - 1
        if index < 0 or self.lasts[index] < place:
            return False
        first, last = self.firsts[index], self.lasts[index]
        rest = [(low, high) for low, high in ((first, place - 1), (place + 1, last)) if low <= high]
        self.firsts[index : index + 1] = [low for low, _ in rest]
        self.lasts[index : index + 1] = [high for _, high in rest]
        return True

    def open(self, gap: Gap) -> None:
        self.firsts.append(gap.first)
        self.lasts.append(gap.last)

    def give_up_lowest(self) -> Gap:
        return Gap(self.key, self.firsts.pop(0), self.lasts.pop(0))


class _Rows:
    def __init__(
        self,
        found: Callable[[Gap], None],
        closed: Callable[[Gap], None] | None,
        given_up: Callable[[Gap], None] | None,
        *,
        most_gaps: int,
        most_keys: int,
    ) -> None:
        self._found = found
        self._closed = closed
        self._given_up = given_up
        self._most_gaps = most_gaps
        self._rows = PerKey(_Row, most_keys, lambda row: self._give_up(row, leave=0))

    def follow(self, key: Hashable, place: int) -> None:
        row = self._rows.of(key)
        expected = row.expected
        if expected is None or place == expected:
            row.expected = place + 1
        elif place > expected:
            row.expected = place + 1
            gap = Gap(key, expected, place - 1)
            row.open(gap)
            self._found(gap)
            self._give_up(row, leave=self._most_gaps)
        elif row.close(place):
            if self._closed is not None:
                self._closed(Gap(key, place, place))
            self._give_up(row, leave=self._most_gaps)

    def _give_up(self, row: _Row, *, leave: int) -> None:
        while len(row.firsts) > leave:
            gap = row.give_up_lowest()
            if self._given_up is not None:
                self._given_up(gap)
