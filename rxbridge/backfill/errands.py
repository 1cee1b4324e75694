"""What is to be done about missing trades, as conversations with REST: each `yield` asks, and is given the answer.

Such an errand knows nothing of sockets, pauses and failures: it is given an answer some time, or `RestRefused` where
there will never be one. See `desk` for who carries the questions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import NamedTuple, TypeAlias

from rxbridge.backfill.ledger import Ledger
from rxbridge.backfill.tracker import Tracker
from rxbridge.coinbase.rest import MOST_TRADES, RestTrade
from rxbridge.errors import RestRefused
from rxbridge.events.cleaning import instant

_PATIENCE_WITH_DELAY = 4
"""How many times the tries REST is given while it is only behind the feed: what it does not have yet, it will have."""

_CONFIRMATIONS = 2


class Ask(NamedTuple):
    """A question: the newest `limit` trades of a product with ids below `after`; None: the newest there are."""

    product: str
    after: int | None
    limit: int


Errand: TypeAlias = Generator[Ask, Sequence[RestTrade], None]
Search: TypeAlias = Generator[Ask, Sequence[RestTrade], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far the backfill goes.

    Attributes:
        max_trades: The most trades fetched for one hole; of a larger one, the newest.
        max_age_seconds: Older trades are not fetched.
        tries: How often trades are asked for that REST does not have, before they count as missing for good.
        wait: How many seconds to wait after each of those tries, counted from 1.
    """

    max_trades: int | None
    max_age_seconds: float | None
    tries: int
    wait: Callable[[int], float]


class Filling:
    """The filling of a product's holes.

    Args:
        product: Which.
        tracker: Its trades.
        ledger: Where fetched trades go.
        limits: How far to go.
        monotonic: The clock by which holes become due.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        product: str,
        tracker: Tracker,
        ledger: Ledger,
        limits: Limits,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._product = product
        self._tracker = tracker
        self._ledger = ledger
        self._limits = limits
        self._monotonic = monotonic
        self._clock = clock

    def fill(self) -> Errand:
        """Fetch the oldest missing trades that are due, a page of them, and append them in order.

        They stay missing until they are read from the journal. Since ids rise by one, `after = first + 1000` is the
        page that begins with `first`; so a hole is filled upwards, in bounded memory, and can be left at any page.
        """
        tracker = self._tracker
        now = self._monotonic()
        self._give_up_excess(now)
        span = tracker.due(now, MOST_TRADES)
        if span is None:
            return
        first, last = span
        try:
            page = yield Ask(self._product, last + 1, last - first + 1)
        except RestRefused as error:
            page, reason = (), str(error)
        else:
            reason = "Coinbase's REST API does not have them"
        trades = {trade.trade_id: trade for trade in page if first <= trade.trade_id <= last}
        if trades and (oldest := self._too_old(trades[min(trades)])) is not None:
            yield from self._give_up_old(first, oldest)
            return
        self._ledger.add_trades(self._product, [trades[one] for one in sorted(trades) if tracker.misses(one)])
        lacking = [one for one in tracker.due_ids(first, last, now) if one not in trades]
        for ids in _runs(lacking):
            yield from self._do_without(ids, reason, gone=not page)

    def reach_back(self, since: int) -> Errand:
        """Follow the product from its first trade at or after a moment, in nanoseconds since the Unix epoch."""
        page = yield Ask(self._product, None, 1)
        if page:
            newest = page[-1].trade_id
            first = yield from self._first(1, newest, lambda trade: not _is_before(trade, since))
            if first <= newest:
                self._tracker.reach_back(first, newest)

    def look(self, grace_seconds: float) -> Errand:
        """Find out which trade is the newest: what is missing before it shows then."""
        page = yield Ask(self._product, None, 1)
        if page:
            # The feed may be about to bring it.
            self._tracker.expect(page[-1].trade_id, self._monotonic() + grace_seconds)

    def _give_up_excess(self, now: float) -> None:
        most = self._limits.max_trades
        if most is None:
            return
        for hole in list(self._tracker.holes):
            if hole.due_at <= now and hole.last - hole.first >= most:
                self._give_up(hole.first, hole.last - most, f"more than {most} trades were missing in one piece")

    def _too_old(self, trade: RestTrade) -> int | None:
        """The present limit of age, in nanoseconds since the epoch, if the trade is older than that."""
        if self._limits.max_age_seconds is None:
            return None
        oldest = int((self._clock() - self._limits.max_age_seconds) * 1e9)
        return oldest if _is_before(trade, oldest) else None

    def _give_up_old(self, first: int, oldest: int) -> Errand:
        last = self._tracker.head or first
        young = yield from self._first(first + 1, last, lambda t: t.trade_id >= first and not _is_before(t, oldest))
        reason = f"they are older than {self._limits.max_age_seconds:g} s"
        self._give_up(first, young - 1, reason)

    def _do_without(self, ids: range, reason: str, *, gone: bool) -> Errand:
        """These were asked for in vain: ask again later, or not, if that is enough.

        Args:
            ids: Which.
            reason: Why there were none.
            gone: Whether there were none that are older, either.
        """
        tracker, limits = self._tracker, self._limits
        first, last, until = ids[0], ids[-1], ids[-1]
        if not tracker.missing_in(first, last):
            return  # they have come while others were asked for
        if gone:
            # All that is missing here waits: so many thousands may be gone that asking for each page takes hours.
            until = tracker.missing_in(first, tracker.head or last)[0][1]
        attempts = tracker.postpone(first, until, lambda attempts: self._monotonic() + limits.wait(attempts))
        self._ledger.count_failure()
        if attempts < limits.tries:
            return
        if attempts < limits.tries * _PATIENCE_WITH_DELAY and (yield from self._is_behind(first)):
            return
        # Only now it is certain that REST is up to date; it may not have been so all the times before.
        page = yield from self._ask(last + 1, last - first + 1)
        trades = [trade for trade in page if first <= trade.trade_id <= last and tracker.misses(trade.trade_id)]
        if trades:
            self._ledger.add_trades(self._product, trades)
            return
        if until > last:
            until = (yield from self._first(last + 1, until, lambda trade: trade.trade_id >= first)) - 1
        self._give_up(first, until, reason)

    def _is_behind(self, trade_id: int) -> Generator[Ask, Sequence[RestTrade], bool]:
        """Whether REST does not know yet what the feed has told: even its newest trade, if any, is older than this."""
        page = yield from self._ask(None, 1)
        return not page or page[-1].trade_id < trade_id

    def _first(self, low: int, high: int, wanted: Callable[[RestTrade], bool]) -> Search:
        """The lowest id from `low` to `high` of which the newest trade up to it is wanted; `high + 1` if there is none.

        A binary search: what is wanted of a trade must hold for all newer ones as well.
        """
        while low <= high:
            middle = (low + high) // 2
            page = yield from self._ask(middle + 1, 1)
            for _ in range(_CONFIRMATIONS):
                # A single empty answer out of turn would lead the whole search astray.
                page = page or (yield from self._ask(middle + 1, 1))
            if page and page[-1].trade_id <= middle and wanted(page[-1]):
                high = middle - 1
            else:
                low = middle + 1
        return low

    def _ask(self, after: int | None, limit: int) -> Generator[Ask, Sequence[RestTrade], Sequence[RestTrade]]:
        """The answer; nothing where it is refused."""
        try:
            return (yield Ask(self._product, after, limit))
        except RestRefused:
            return ()

    def _give_up(self, first: int, last: int, reason: str) -> None:
        """Record the missing ones of these as missing for good."""
        for low, high in self._tracker.missing_in(first, last):
            self._ledger.record_missing_trades(self._product, low, high, reason)
            self._tracker.give_up(low, high)


def _is_before(trade: RestTrade, moment: int) -> bool:
    """Whether a trade was before a moment, in nanoseconds since the Unix epoch; one without a time was not."""
    time = instant(trade.time)
    return time is not None and time.replace(tzinfo=UTC).timestamp() * 1e9 < moment


def _runs(ids: Sequence[int]) -> Iterator[range]:
    """Ascending ids as ranges without holes."""
    start = 0
    for index in range(1, len(ids) + 1):
        if index == len(ids) or ids[index] != ids[index - 1] + 1:
            yield range(ids[start], ids[index - 1] + 1)
            start = index
