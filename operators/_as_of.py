"""What is known of two streams by the time of their items, and what of it is still needed."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Hashable
from math import inf
from typing import Generic, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class _Row(Generic[B]):
    """The right items of a key, by time; of one time in the order in which they came."""

    __slots__ = ("items", "times")

    def __init__(self) -> None:
        self.times: list[int] = []
        self.items: list[B] = []

    def add(self, time: int, item: B) -> None:
        index = bisect_right(self.times, time)
        self.times.insert(index, time)
        self.items.insert(index, item)

    def forget(self, floor: float, tolerance: float) -> int:
        """Forget what no left item of `floor` or later can be joined with; how many that were."""
        last = bisect_right(self.times, floor)
        gone = last - (last > 0 and floor - self.times[last - 1] <= tolerance)
        if gone:
            del self.times[:gone], self.items[:gone]
        return gone


class AsOf(Generic[A, B]):
    """Left items that wait for the right stream's progress, and right items that a left one may still need.

    Either stream may go back in time by `lateness` from its newest item; `add_left` and `add_right` say whether they
    took an item, or it is later than that. So when the right stream's newest item is at T, no item before
    `T - lateness` comes any more, and a left item from before then can be joined, whatever comes. Likewise no left
    item comes from before the left stream's newest, less `lateness`, and what was superseded by then is forgotten.
    Times are whole nanoseconds.
    """

    def __init__(self, lateness: int, tolerance: float, most_held: int) -> None:
        self._lateness = lateness
        self._tolerance = tolerance
        self._most_held = most_held
        self._right_progress = -inf
        self._left_progress = -inf
        # A waiting item's time and key, and the left stream's progress when it came: none behind it is older.
        self._waiting: deque[tuple[int, Hashable, float, A]] = deque()
        self._rows: dict[Hashable, _Row[B]] = {}
        self._held = 0
        self._swept_at = -inf

    @property
    def is_waiting(self) -> bool:
        return bool(self._waiting)

    @property
    def is_ready(self) -> bool:
        """Whether there is something to take."""
        return bool(self._waiting) and self._waiting[0][0] < self._right_progress

    def join_at_once(self, time: int, key: Hashable, item: A) -> tuple[A, B | None] | None:
        """A left item that need not wait, with its right one; None if it must wait, or is late."""
        if self._waiting or time >= self._right_progress or time < self._left_progress:
            return None
        progress = time - self._lateness
        self._left_progress = max(self._left_progress, progress)
        return item, self._partner(time, key)

    def is_late_left(self, time: int) -> bool:
        return time < self._left_progress

    def is_late_right(self, time: int) -> bool:
        return time < self._right_progress

    def add_left(self, time: int, key: Hashable, item: A) -> bool:
        """Whether there was room."""
        self._left_progress = max(self._left_progress, time - self._lateness)
        if len(self._waiting) >= self._most_held:
            return False
        self._waiting.append((time, key, self._left_progress, item))
        return True

    def add_right(self, time: int, key: Hashable, item: B) -> bool:
        """Whether there was room."""
        self._right_progress = max(self._right_progress, time - self._lateness)
        row = self._rows.get(key)
        if row is not None:
            self._held -= row.forget(self._floor(), self._tolerance)
        if self._held >= self._most_held:
            self._sweep()
        if self._held >= self._most_held:
            return False
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = _Row()
        row.add(time, item)
        self._held += 1
        return True

    def end_right(self) -> None:
        """No right item comes any more."""
        self._right_progress = inf

    def take(self) -> tuple[A, B | None] | None:
        """The next left item with its right one; None if there is none, or it must wait."""
        if not self.is_ready:
            return None
        time, key, _, item = self._waiting.popleft()
        return item, self._partner(time, key)

    def clear(self) -> None:
        self._waiting.clear()
        self._rows.clear()
        self._held = 0

    def _partner(self, time: int, key: Hashable) -> B | None:
        row = self._rows.get(key)
        if row is None:
            return None
        index = bisect_right(row.times, time) - 1
        return row.items[index] if index >= 0 and time - row.times[index] <= self._tolerance else None

    def _floor(self) -> float:
        """No left item that is still to be joined is older."""
        return self._waiting[0][2] if self._waiting else self._left_progress

    def _sweep(self) -> None:
        """Forget what is not needed of keys that nothing came of; in vain unless time has gone on since the last."""
        floor = self._floor()
        if floor <= self._swept_at:
            return
        self._swept_at = floor
        self._held -= sum(row.forget(floor, self._tolerance) for row in self._rows.values())
        self._rows = {key: row for key, row in self._rows.items() if row.times}
