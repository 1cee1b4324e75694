"""Two exact sums over a window of event time."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from operators._exact import EXACT

_NOTHING = Decimal()


class WindowOfSums:
    """What was added in the `span` nanoseconds up to the newest of it, and the two sums, exact.

    What leaves is subtracted exactly, so nothing is left of it. What comes late counts, if the window still has its
    time.
    """

    __slots__ = ("_added", "_most", "_span", "first", "second")

    def __init__(self, span: int, most: int) -> None:
        self._span = span
        self._most = most
        self._added: deque[tuple[int, Decimal, Decimal]] = deque()
        self.first = self.second = _NOTHING

    def __len__(self) -> int:
        return len(self._added)

    def add(self, time: int, first: Decimal, second: Decimal) -> bool:
        """Whether it is in the window; what is older changes nothing."""
        added = self._added
        if not added or time >= added[-1][0]:
            added.append((time, first, second))
        elif time <= added[-1][0] - self._span:
            return False
        else:
            place = len(added) - 1
            while place and added[place - 1][0] > time:
                place -= 1
            added.insert(place, (time, first, second))
        self.first = EXACT.add(self.first, first)
        self.second = EXACT.add(self.second, second)
        start = added[-1][0] - self._span
        while added[0][0] <= start or len(added) > self._most:
            _, first, second = added.popleft()
            self.first = EXACT.subtract(self.first, first)
            self.second = EXACT.subtract(self.second, second)
        return True
