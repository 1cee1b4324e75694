"""Whether the trades of each product are contiguous: trade ids of a product run +1."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise

from rxbridge.audit.result import Hole
from rxbridge.events.cleaning import whole
from rxbridge.journal import MarketGap
from rxbridge.messages import EventMessage, Frame, Match


class Spans:
    """A set of integers, as the spans that it is made of. Memory is proportional to the holes between them."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """The spans, both ends inclusive, ascending, none of them touching another."""
        return zip(self._firsts, self._lasts, strict=True)

    def add(self, first: int, last: int) -> None:
        """Add all from `first` to `last`."""
        if self._lasts and first <= self._lasts[-1] + 1 and first >= self._firsts[-1]:
            # What nearly always happens: the next trade.
            self._lasts[-1] = max(self._lasts[-1], last)
            return
        low = bisect_left(self._lasts, first - 1)
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first, last = min(first, self._firsts[low]), max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def missing(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """What of `first` to `last` is not in the set, as spans."""
        position = bisect_left(self._lasts, first)
        while position < len(self._firsts) and self._firsts[position] <= last:
            if first < self._firsts[position]:
                yield first, self._firsts[position] - 1
            first = self._lasts[position] + 1
            position += 1
        if first <= last:
            yield first, last


class TradeBook:
    """Follows the trades that the journal holds.

    Args:
        complete: Whether the journal holds everything that it ever received. If not, the trades below the first one of
            the feed that it still holds are left out: backfilled ones may have outlasted their neighbors.
    """

    def __init__(self, *, complete: bool) -> None:
        self._complete = complete
        self._trades: dict[str, Spans] = {}
        self._begins: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._blind_since: dict[str, int] = {}
        self._unknown: dict[str, Spans] = {}
        self._offset = 0

    def read(self, frame: Frame) -> None:
        """Take note of a frame that was read, before its message is."""
        if self._offset and frame.offset > self._offset + 1:
            # The file lost frames in between, and nobody knows which trades they were.
            self._blind_since = dict(self._newest)
        self._offset = frame.offset

    def trade(self, message: EventMessage) -> None:
        """Take note of a trade; other messages are passed over."""
        if not isinstance(message, Match) or not message.product_id:
            return
        trade_id = whole(message.trade_id, minimum=1)
        if trade_id is None:
            return
        product = message.product_id
        if not message.is_backfilled:
            self._begins.setdefault(product, trade_id)
            self._newest[product] = trade_id
            since = self._blind_since.pop(product, None)
            if since is not None and trade_id > since + 1:
                self._unknown.setdefault(product, Spans()).add(since + 1, trade_id - 1)
        self._trades.setdefault(product, Spans()).add(trade_id, trade_id)

    def holes(self, gaps: Iterable[MarketGap]) -> Iterator[Hole]:
        """What is missing between the trades of each product and is neither on record nor lost with the file."""
        for gap in gaps:
            if gap.kind == "trades":
                for product in gap.products:
                    self._unknown.setdefault(product, Spans()).add(gap.first, gap.last)
        for product, spans in sorted(self._trades.items()):
            begin = 0 if self._complete else self._begins.get(product)
            if begin is None:
                continue
            explained = self._unknown.get(product, Spans())
            for (_, before), (after, _) in pairwise(spans):
                if after > begin:
                    for low, high in explained.missing(max(before + 1, begin), after - 1):
                        yield Hole(product, low, high)
