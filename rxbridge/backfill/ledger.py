"""What the backfill writes into the journal: trades from REST, and what is missing for good."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from rxbridge.coinbase.rest import RestTrade
from rxbridge.journal import Journal, MarketGap
from rxbridge.messages import OWN_CONNECTION, REST, Frame
from rxbridge.telemetry.statistics import BackfillStatistics

MATCHES = "matches"
"""The channel that trades come by, and so the one that a gap of trades belongs to."""


_APPENDED_AT_ONCE = 100


class _Match(msgspec.Struct, tag_field="type", tag="match", omit_defaults=True, gc=False):
    trade_id: int
    product_id: str
    price: str | int | float
    size: str | int | float
    rxbridge_source: str
    side: str | None = None
    time: str | None = None


class _GapNotice(msgspec.Struct, tag_field="type", tag="rxbridge_gap", gc=False):
    kind: Literal["trades", "quotes"]
    products: Sequence[str]
    channel: str
    first: int
    last: int
    reason: str


class Ledger:
    """Appends frames of rxbridge's own to a journal, and counts them.

    Args:
        journal: Where to.
        statistics: Where to count.

    Attributes:
        dirty: Whether something was appended since its owner last saw it confirmed.
    """

    def __init__(self, journal: Journal, statistics: BackfillStatistics) -> None:
        self._journal = journal
        self._statistics = statistics
        self._index = 0
        self._waiting: deque[_Match] = deque()
        self.dirty: bool = False

    @property
    def has_waiting(self) -> bool:
        """Whether there are trades to be appended."""
        return bool(self._waiting)

    def add_trades(self, product: str, trades: Iterable[RestTrade]) -> None:
        """Have trades appended, in this order."""
        for trade in trades:
            self._waiting.append(_Match(trade.trade_id, product, trade.price, trade.size, REST, trade.side, trade.time))

    def append_some(self) -> None:
        """Append the next of them.

        A few at a time: a full journal of the kind that blocks takes more only when what it has is acknowledged, by
        the backfill as well, which must not be caught in here with what it has yet to read.
        """
        for _ in range(min(_APPENDED_AT_ONCE, len(self._waiting))):
            self._append(self._waiting.popleft())
            self._statistics.fetched += 1

    def begin_again(self) -> None:
        """Forget what was not appended, or not confirmed."""
        self._waiting.clear()
        self.dirty = False

    def count_failure(self) -> None:
        """An answer lacked something that was asked for."""
        self._statistics.failed_requests += 1

    def record_missing_trades(self, product: str, first: int, last: int, reason: str) -> None:
        """These trades are missing for good."""
        self._statistics.given_up += last - first + 1
        self._record(MarketGap("trades", (product,), MATCHES, first, last, reason, time.time_ns()))

    def record_missing_quotes(self, channel: str, products: Sequence[str], first: int, last: int, reason: str) -> None:
        """From `first` to `last`, in nanoseconds since the Unix epoch, nothing came by a channel."""
        self._record(MarketGap("quotes", tuple(products), channel, first, last, reason, time.time_ns()))

    def _record(self, gap: MarketGap) -> None:
        # In this order. Whatever a crash cuts off is done again, for what was found out is remembered only afterwards;
        # and doing it again changes nothing: the record is known by its ends, the notice's event by its id.
        self._journal.record_market_gaps([gap])
        self._append(_GapNotice(gap.kind, gap.products, gap.channel, gap.first, gap.last, gap.reason))
        self._statistics.gaps += 1

    def _append(self, message: msgspec.Struct) -> None:
        self._journal.append(Frame(msgspec.json.encode(message), time.time_ns(), OWN_CONNECTION, self._index))
        self._index += 1
        self.dirty = True
