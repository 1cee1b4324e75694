"""Which trades of one product are there, and which are missing. Pure: no clock, no I/O.

Trade ids of a product run +1 (https://docs.cdp.coinbase.com/exchange/websocket-feed/channels, the channel `matches`),
so what was received says what was not.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter

import msgspec

MOST_HOLES = 5000
"""More holes than this are not kept apart: the two nearest become one, and what lies between is fetched again."""

LEAP = 50_000_000
"""An id so far ahead is believed when the next one agrees: a single damaged number must not hide years of trades."""

_AGREEMENT = 1000

_first = attrgetter("first")
_last = attrgetter("last")


class Hole(msgspec.Struct):
    """Ids that are missing, `first` to `last`.

    Attributes:
        first: The lowest.
        last: The highest.
        due_at: When it is time to fetch them, on whatever clock the owner of the tracker uses.
        attempts: How often they were asked for in vain.
        told: Whether the owner knows of it.
    """

    first: int
    last: int
    due_at: float = 0.0
    attempts: int = 0
    told: bool = False


class Tracker:
    """Follows the ids of one product from the first one seen: a contiguous range, and the holes in it.

    Everything from `first` to `head` is either covered or in a hole. An id below `first` is nobody's business.

    Args:
        first: The lowest id to follow; None: the first one seen.
        head: The highest id known to exist.
        hint: An id that was known to exist before any was seen.
        holes: What is missing between, in order.
    """

    def __init__(
        self, first: int | None = None, head: int | None = None, hint: int | None = None, holes: Iterable[Hole] = ()
    ) -> None:
        self.first = first
        self.head = head
        self.hint = hint
        self.holes: list[Hole] = list(holes)
        self._leap: int | None = None

    @classmethod
    def after(cls, trade_id: int) -> Tracker:
        """One that follows everything above this id."""
        return cls(trade_id + 1, trade_id)

    @property
    def floor(self) -> int | None:
        """The id up to which nothing is missing; None before the first."""
        return self.holes[0].first - 1 if self.holes else self.head

    @property
    def missing(self) -> int:
        """How many ids are missing."""
        return sum([hole.last - hole.first + 1 for hole in self.holes])

    def misses(self, trade_id: int) -> bool:
        """Whether this id is missing."""
        index = bisect_right(self.holes, trade_id, key=_first) - 1
        return index >= 0 and trade_id <= self.holes[index].last

    def see(self, trade_id: int, due_at: float = 0.0) -> None:
        """A trade is there; what turns out to be missing before it becomes due at `due_at`."""
        if self.head is None:
            self._begin(trade_id if self.hint is None else min(trade_id, self.hint))
        elif trade_id == self.head + 1:  # nearly all of them
            self.head = trade_id
            return
        self._advance(trade_id, due_at)
        self._cut(trade_id, trade_id)

    def expect(self, trade_id: int, due_at: float = 0.0) -> None:
        """A trade is known to exist, such as from a heartbeat; it may be there or not.

        Before any trade was seen the first such id says little: its trade may be older than our subscription. A second
        one that is higher does.
        """
        if self.head is None:
            if self.hint is None or trade_id <= self.hint:
                self.hint = trade_id if self.hint is None else self.hint
                return
            self._begin(self.hint)
        self._advance(trade_id, due_at)

    def reach_back(self, first: int, last: int, due_at: float = 0.0) -> None:
        """Follow everything from `first` on; if nothing was followed yet, `last`, not below it, is known to exist."""
        if self.first is None or self.head is None:
            self._begin(first)
            self._extend(first - 1, last, due_at)
        elif first < self.first:
            self.holes.insert(0, Hole(first, self.first - 1, due_at))
            self.first = first
            self._join()

    def give_up(self, first: int, last: int) -> int:
        """Stop missing these ids; how many of them were missing."""
        return self._cut(first, last)

    def postpone(self, first: int, last: int, due_at: Callable[[int], float]) -> int:
        """The missing ones of these ids were asked for in vain.

        Args:
            first: The lowest of them.
            last: The highest.
            due_at: Says, given how often that has happened, when they are due again.

        Returns:
            How often it has happened, to the one to which it has most often.
        """
        low, high = self._slice(first, last)
        holes = self.holes[low:high]
        attempts = max([hole.attempts for hole in holes], default=0) + 1
        when = due_at(attempts)
        parts: list[Hole] = []
        for hole in holes:
            inner = Hole(max(hole.first, first), min(hole.last, last), when, hole.attempts + 1, hole.told)
            parts += [*_before(hole, first), inner, *_behind(hole, last)]
        self.holes[low:high] = parts
        self._join()
        return attempts

    def due(self, now: float, limit: int) -> tuple[int, int] | None:
        """The lowest missing ids that are due, and those that follow within a span of `limit` ids; None for none."""
        holes = iter(self.holes)
        start = next((hole for hole in holes if hole.due_at <= now), None)
        if start is None:
            return None
        furthest = start.first + limit - 1
        last = min(start.last, furthest)
        for hole in holes:
            if hole.first > furthest:
                break
            if hole.due_at <= now:
                last = min(hole.last, furthest)
        return start.first, last

    def news(self, now: float) -> list[tuple[int, int]]:
        """Holes that are due, and were not among the news before: their first and last ids."""
        found = [hole for hole in self.holes if hole.due_at <= now and not hole.told]
        for hole in found:
            hole.told = True
        return [(hole.first, hole.last) for hole in found]

    def due_ids(self, first: int, last: int, now: float) -> Iterator[int]:
        """The missing ids from `first` to `last` that are due."""
        low, high = self._slice(first, last)
        for hole in self.holes[low:high]:
            if hole.due_at <= now:
                yield from range(max(hole.first, first), min(hole.last, last) + 1)

    def missing_in(self, first: int, last: int) -> list[tuple[int, int]]:
        """The missing ones of these ids, in pieces: the first and the last of each."""
        low, high = self._slice(first, last)
        pieces: list[tuple[int, int]] = []
        for hole in self.holes[low:high]:
            begin, end = max(hole.first, first), min(hole.last, last)
            if pieces and pieces[-1][1] + 1 == begin:
                begin = pieces.pop()[0]
            pieces.append((begin, end))
        return pieces

    def _begin(self, trade_id: int) -> None:
        self.first, self.head, self.hint = trade_id, trade_id - 1, None

    def _advance(self, trade_id: int, due_at: float) -> None:
        """Make `trade_id` the highest known, if it is higher and credible."""
        if self.head is not None and trade_id > self.head and self._believes(trade_id, self.head):
            self._extend(self.head, trade_id, due_at)

    def _extend(self, head: int, trade_id: int, due_at: float) -> None:
        """Make `trade_id`, which is higher than the head, the highest known; all up to it is missing by that."""
        newest = self.holes[-1] if self.holes else None
        if newest is not None and newest.last == head and not newest.attempts:
            newest.last = trade_id
        else:
            self.holes.append(Hole(head + 1, trade_id, due_at))
            self._join()
        self.head = trade_id

    def _believes(self, trade_id: int, head: int) -> bool:
        if trade_id - head <= LEAP or (self._leap is not None and 0 <= trade_id - self._leap <= _AGREEMENT):
            self._leap = None
            return True
        self._leap = trade_id
        return False

    def _cut(self, first: int, last: int) -> int:
        low, high = self._slice(first, last)
        if low == high:
            return 0
        affected = self.holes[low:high]
        before = sum([hole.last - hole.first + 1 for hole in affected])
        parts = [part for hole in affected for part in (*_before(hole, first), *_behind(hole, last))]
        self.holes[low:high] = parts
        self._join()
        return before - sum([hole.last - hole.first + 1 for hole in parts])

    def _slice(self, first: int, last: int) -> tuple[int, int]:
        """Which holes have ids from `first` to `last`."""
        low = bisect_left(self.holes, first, key=_last)
        return low, max(bisect_right(self.holes, last, key=_first), low)

    def _join(self) -> None:
        """Have no more holes than may be."""
        while len(self.holes) > MOST_HOLES:
            holes = self.holes
            index = min(range(len(holes) - 1), key=lambda at: holes[at + 1].first - holes[at].last)
            one, other = holes[index : index + 2]
            due_at, attempts = max(one.due_at, other.due_at), min(one.attempts, other.attempts)
            holes[index : index + 2] = [Hole(one.first, other.last, due_at, attempts, one.told and other.told)]


def _before(hole: Hole, first: int) -> list[Hole]:
    """The part of a hole below `first`, if there is one."""
    return [Hole(hole.first, first - 1, hole.due_at, hole.attempts, hole.told)] if hole.first < first else []


def _behind(hole: Hole, last: int) -> list[Hole]:
    """The part of a hole above `last`, if there is one."""
    return [Hole(last + 1, hole.last, hole.due_at, hole.attempts, hole.told)] if hole.last > last else []
