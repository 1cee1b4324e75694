"""Whether the trades of each product are contiguous: trade ids of a product run +1."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise

from rxbridge.audit.result import Hole
from rxbridge.backfill.state import State
from rxbridge.backfill.tracker import LEAP
from rxbridge.events.cleaning import whole
from rxbridge.journal import MarketGap
from rxbridge.messages import EventMessage, Frame, Trade


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
        backfill: What the backfill knew before the journal was read.
    """

    def __init__(self, *, complete: bool, backfill: State) -> None:
        self._complete = complete
        self._followed_up_to = backfill.offset
        self._trades: dict[str, Spans] = {}
        self._begins: dict[str, int] = {}
        self._newest: dict[str, int] = {}
        self._blind_since: dict[str, int] = {}
        self._unknown: dict[str, Spans] = {}
        self._open = {product: _spans(state.holes) for product, state in backfill.products.items()}
        self._offset = 0

    def read(self, frame: Frame) -> None:
        """Take note of a frame that was read, before its message is."""
        if self._offset and frame.offset > self._offset + 1:
            # The file lost frames in between, and nobody knows which trades they were.
            self._blind_since = dict(self._newest)
        self._offset = frame.offset

    def trade(self, message: EventMessage) -> None:
        """Take note of a trade; other messages are passed over."""
        if not isinstance(message, Trade) or not message.product_id:
            return
        trade_id = whole(message.trade_id, minimum=1)
        if trade_id is None:
            return
        product = message.product_id
        self._trades.setdefault(product, Spans()).add(trade_id, trade_id)
        if not message.is_backfilled:
            self._follow(product, trade_id, message.frame.offset)

    def _follow(self, product: str, trade_id: int, offset: int) -> None:
        self._begins.setdefault(product, trade_id)
        blind_since = self._blind_since.pop(product, None)
        if blind_since is not None and trade_id > blind_since + 1:
            self._unknown.setdefault(product, Spans()).add(blind_since + 1, trade_id - 1)
        newest = self._newest.get(product, trade_id)
        if offset > self._followed_up_to and trade_id > newest + 1:
            self._open.setdefault(product, Spans()).add(newest + 1, trade_id - 1)
        self._newest[product] = max(newest, trade_id)

    def missing(self, gaps: Iterable[MarketGap]) -> tuple[list[Hole], list[Hole]]:
        """What is missing between the trades of each product and is neither on record nor lost with the file.

        Returns:
            What nothing explains; and what the backfill has yet to fetch, or to look at.
        """
        for gap in gaps:
            if gap.kind == "trades":
                for product in gap.products:
                    self._unknown.setdefault(product, Spans()).add(gap.first, gap.last)
        holes: list[Hole] = []
        still_open: list[Hole] = []
        for product, spans in sorted(self._trades.items()):
            explained, opened = self._unknown.get(product, Spans()), self._open.get(product, Spans())
            for first, last in self._between(product, spans):
                for low, high in explained.missing(first, last):
                    unfetched = list(opened.missing(low, high))
                    holes += [Hole(product, *span) for span in unfetched]
                    still_open += [Hole(product, *span) for span in _spans(unfetched).missing(low, high)]
        return holes, still_open

    def _between(self, product: str, spans: Spans) -> Iterator[tuple[int, int]]:
        begin = 0 if self._complete else self._begins.get(product)
        if begin is None:
            return
        for (_, before), (first, last) in pairwise(spans):
            # One id alone in the far distance is a damaged number, which the backfill does not believe either.
            if first > begin and not (first == last and first - before > LEAP):
                yield max(before + 1, begin), first - 1


def _spans(pairs: Iterable[tuple[int, int]]) -> Spans:
    spans = Spans()
    for first, last in pairs:
        spans.add(first, last)
    return spans
