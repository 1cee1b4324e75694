"""What the backfill writes into the journal: trades from REST, and what is missing for good."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from rxbridge.coinbase.rest import RestTrade
from rxbridge.journal import Journal, MarketGap
from rxbridge.messages import OWN_CONNECTION, REST, Frame
from rxbridge.telemetry.statistics import BackfillStatistics

MATCHES = "matches"
"""The channel that trades come by, and so the one that a gap of trades belongs to."""


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
    """

    def __init__(self, journal: Journal, statistics: BackfillStatistics) -> None:
        self._journal = journal
        self._statistics = statistics
        self._index = 0
        self.dirty = False

    def add_trades(self, product: str, trades: Iterable[RestTrade]) -> int:
        """Append trades in this order; how many there were."""
        count = 0
        for trade in trades:
            match = _Match(trade.trade_id, product, trade.price, trade.size, REST, trade.side, trade.time)
            self._append(match)
            count += 1
        self._statistics.fetched += count
        return count

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
