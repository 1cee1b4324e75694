"""Mean and deviation of a window that moves, without the errors that subtracting what has left it would gather."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from math import isfinite
from operator import itemgetter
from typing import Generic, NamedTuple, TypeVar

from reactivex import Observable

from operators._exact import Number, exact
from operators._measure import measure
from operators._moments import Moment, nanoseconds, span_of
from operators._per_key import PerKey
from operators.measured import Measured

A = TypeVar("A")

_LEAST = 2  # values: of one, a sample has no deviation
_time_of = itemgetter(0)


class Moments(NamedTuple):
    """How many values there are, their mean, and the sum of the squares of their distances from it."""

    number: int
    mean: float
    squares: float


class MovingMoments:
    """The moments of the newest `most` values, of which none is `span` nanoseconds or more older than the newest.

    Welford's method adds a value to moments (B. P. Welford, "Note on a method for calculating corrected sums of squares
    and products", Technometrics 4 (1962), 419-420). Taking one away again, as is often done, leaves what was rounded
    when it was large; so nothing is taken away. The window is two parts: of the newer one the moments grow by what
    comes, and of the older one they are known for each of its ends, so that the oldest value leaves by forgetting the
    longest of them. When the older part is used up, the newer one becomes it. Each value is added twice, and the
    moments of both parts are put together as by T. F. Chan, G. H. Golub and R. J. LeVeque, "Algorithms for computing
    the sample variance", The American Statistician 37 (1983), 242-247.
    """

    __slots__ = ("_mean", "_most", "_newer", "_newest", "_older", "_span", "_squares")

    def __init__(self, most: int, span: int | None = None) -> None:
        self._most = most
        self._span = span
        self._newest: int | None = None
        self._newer: list[tuple[int, float]] = []
        self._mean = self._squares = 0.0
        # The oldest last: time, value, and the mean and squares of all from there to the beginning of the list.
        self._older: list[tuple[int, float, float, float]] = []

    def add(self, time: int, value: float) -> bool:
        """Whether the value is in the window; one that is too old for it changes nothing.

        What comes late takes the place that it would have had. Where nothing is timed, all times are equal.
        """
        newest, span = self._newest, self._span
        if span is not None and newest is not None and time <= newest - span:
            return False
        if newest is None or time >= newest:
            self._newest = time
            self._newer.append((time, value))
            self._count_in(value)
        else:
            self._add_late(time, value)
        while len(self._newer) + len(self._older) > self._most:
            self._leave()
        if span is not None and self._newest is not None:
            while self._oldest() <= self._newest - span:
                self._leave()
        return True

    def moments(self) -> Moments:
        """Of all in the window."""
        newer = len(self._newer)
        if not self._older:
            return Moments(newer, self._mean, self._squares)
        _, _, mean, squares = self._older[-1]
        older = len(self._older)
        count, apart = newer + older, self._mean - mean
        if not newer:
            return Moments(older, mean, squares)
        return Moments(
            count, mean + apart * newer / count, squares + self._squares + apart * apart * older * newer / count
        )

    def _count_in(self, value: float) -> None:
        before = value - self._mean
        self._mean += before / len(self._newer)
        self._squares += before * (value - self._mean)

    def _add_late(self, time: int, value: float) -> None:
        if self._older and time < self._older[0][0]:
            values = [(one[0], one[1]) for one in reversed(self._older)]
            values.insert(bisect_right(values, time, key=_time_of), (time, value))
            self._become_older(values)
        else:
            self._newer.insert(bisect_right(self._newer, time, key=_time_of), (time, value))
            self._count_in(value)

    def _become_older(self, values: list[tuple[int, float]]) -> None:
        self._older.clear()
        mean = squares = 0.0
        for count, (time, value) in enumerate(reversed(values), 1):
            before = value - mean
            mean += before / count
            squares += before * (value - mean)
            self._older.append((time, value, mean, squares))

    def _oldest(self) -> int:
        return self._older[-1][0] if self._older else self._newer[0][0]

    def _leave(self) -> None:
        if not self._older:
            self._become_older(self._newer)
            self._newer.clear()
            self._mean = self._squares = 0.0
        self._older.pop()


@dataclass(frozen=True)
class Moving(Generic[A]):
    """The parameters of an operator of a moving window; `volatility` says what they are.

    Raises:
        ValueError: They do not fit together.
    """

    value: Callable[[A], Number | None]
    key: Callable[[A], Hashable]
    count: int | None
    seconds: float | None
    time: Callable[[A], Moment | None] | None
    least: int
    most_values: int
    most_keys: int

    def __post_init__(self) -> None:
        if (self.count is None) == (self.seconds is None):
            raise ValueError("give one of count and seconds")
        if self.seconds is not None:
            span_of(self.seconds)
        if (self.seconds is None) != (self.time is None):
            raise ValueError("seconds are those of a time, so give both or none")
        most = self.most_values if self.count is None else self.count
        if not _LEAST <= self.least <= most or self.most_keys < 1:
            raise ValueError(
                f"at least 2 values, and no more than the window has: least={self.least}, most={most}, "
                f"most_keys={self.most_keys}"
            )

    def measure(
        self,
        compute: Callable[[Moments, float], float],
        otherwise: Callable[[A], None] | None,
        failed: Callable[[A, Exception], None] | None,
    ) -> Callable[[Observable[A]], Observable[Measured[A, float]]]:
        """Emit what is computed of the moments of a key's window, and the newest value."""
        return measure(lambda: self._function(compute), failed, otherwise)

    def _function(self, compute: Callable[[Moments, float], float]) -> Callable[[A], Measured[A, float] | None]:
        most = self.most_values if self.count is None else self.count
        span = None if self.seconds is None else span_of(self.seconds)
        windows = PerKey(lambda _: MovingMoments(most, span), self.most_keys)
        value_of, key_of, time_of, least = self.value, self.key, self.time, self.least

        def function(item: A) -> Measured[A, float] | None:
            value = number(value_of(item))
            time = 0 if time_of is None else nanoseconds(time_of(item))
            window = windows.of(key_of(item))
            if not window.add(time, value):
                return None
            moments = window.moments()
            return Measured(item, compute(moments, value)) if moments.number >= least else None

        return function


def number(value: Number | None) -> float:
    """A finite float.

    Raises:
        ValueError: It is no number, or no finite one, or too large for a float.
        TypeError: It is of another type, such as None.
    """
    result = value if isinstance(value, float) else float(exact(value))
    if not isfinite(result):
        raise ValueError(f"no finite number: {value!r}")
    return result
