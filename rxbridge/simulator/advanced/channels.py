"""The channels of one product: what each says first, and what it says later.

A channel is asked now and then for what is new. It then tells of all that has happened since, or, where the real one
does, only of how things are now. What it has told is the same for all its subscribers: who comes later is given a
snapshot, right after the others have been told all up to then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar

from rxbridge.simulator.advanced import items
from rxbridge.simulator.advanced.candles import NANOSECONDS, Chart
from rxbridge.simulator.advanced.wire import Unnumbered, frame
from rxbridge.simulator.book import Change
from rxbridge.simulator.market import Market, Trade

TRADES_IN_A_SNAPSHOT = 100
MOST_TRADES_IN_AN_UPDATE = 6
"""The most that were seen in one."""

CANDLES_IN_A_SNAPSHOT = 100


class Channel(ABC):
    """One channel of one product, while somebody subscribes to it.

    Attributes:
        every_seconds: How often it is asked for what is new, unless the simulator is told.
        sent_as: The channel that its frames name.
    """

    every_seconds: ClassVar[float] = 0.05
    sent_as: ClassVar[str]

    def __init__(self, market: Market) -> None:
        """Begin with how the market is now."""
        self._market = market
        self._product = market.product

    @abstractmethod
    def snapshot(self, now_ns: int) -> Unnumbered:
        """How things are; `updates` was called just before, or the channel has just begun."""

    @abstractmethod
    def updates(self, now_ns: int) -> list[Unnumbered]:
        """What is new since it was last called."""

    def close(self) -> None:  # noqa: B027  (most have nothing to close)
        """Nobody subscribes any more."""

    def _frame(self, now_ns: int, kind: str, **event: Any) -> Unnumbered:
        return frame(self.sent_as, now_ns, [{"type": kind, **event}])


class _Trades:
    """The trades of a market, each once."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._next_id = market.trade_ids.stop

    def new(self) -> list[Trade]:
        """Those since the last call, the newest first."""
        if self._next_id == self._market.trade_ids.stop:
            return []
        new = self._market.page(limit=self._market.trade_ids.stop - self._next_id, before=self._next_id - 1)
        self._next_id = self._market.trade_ids.stop
        return new


class MarketTrades(Channel):
    """Every trade, once; within a frame the newest is the first."""

    sent_as = "market_trades"

    def __init__(self, market: Market) -> None:
        """Begin with the next trade."""
        super().__init__(market)
        self._trades = _Trades(market)

    def snapshot(self, now_ns: int) -> Unnumbered:
        """The last 100 trades; without any it is a snapshot, too."""
        return self._of("snapshot", now_ns, self._market.page(limit=TRADES_IN_A_SNAPSHOT))

    def updates(self, now_ns: int) -> list[Unnumbered]:
        """The trades since then, six a frame at most, the oldest frame first."""
        new = self._trades.new()
        ends = range(len(new), 0, -MOST_TRADES_IN_AN_UPDATE)
        return [self._of("update", now_ns, new[max(0, end - MOST_TRADES_IN_AN_UPDATE) : end]) for end in ends]

    def _of(self, kind: str, now_ns: int, trades: Iterable[Trade]) -> Unnumbered:
        return self._frame(now_ns, kind, trades=[items.trade(self._product, trade) for trade in trades])


class Ticker(Channel):
    """The state of the market, whenever its last trade or its quotes have changed, however often that was."""

    sent_as = "ticker"
    has_quotes: ClassVar[bool] = True

    def __init__(self, market: Market) -> None:
        """Begin with how it is now."""
        super().__init__(market)
        self._told = self._state()

    def snapshot(self, now_ns: int) -> Unnumbered:
        """How it is; of a product that was never traded, nothing."""
        return self._of("snapshot", now_ns)

    def updates(self, now_ns: int) -> list[Unnumbered]:
        """How it is, if it has changed."""
        state = self._state()
        if state == self._told:
            return []
        self._told = state
        return [self._of("update", now_ns)] if self._market.has_traded else []

    def _of(self, kind: str, now_ns: int) -> Unnumbered:
        tickers = [items.ticker(self._market, with_quotes=self.has_quotes)] if self._market.has_traded else []
        return self._frame(now_ns, kind, tickers=tickers)

    def _state(self) -> object:
        return self._market.trade_ids.stop, self._market.book.best_bid, self._market.book.best_ask


class TickerBatch(Ticker):
    """Likewise, only now and then and without the quotes."""

    sent_as = "ticker_batch"
    has_quotes = False

    def _state(self) -> object:
        return self._market.trade_ids.stop


class Candles(Channel):
    """Five minutes each; the last one is told again and again until the next begins."""

    every_seconds: ClassVar[float] = 1.0
    sent_as = "candles"

    def __init__(self, market: Market) -> None:
        """Begin with the trades that the market remembers."""
        super().__init__(market)
        self._trades = _Trades(market)
        self._chart = Chart(most=CANDLES_IN_A_SNAPSHOT)
        remembered = market.page(limit=len(market.trade_ids))[::-1]
        if remembered and remembered[0].trade_id != market.trade_ids.start:
            # Of the five minutes of the oldest, a part is forgotten.
            whole = (remembered[0].time_ns // NANOSECONDS + 1) * NANOSECONDS
            remembered = [trade for trade in remembered if trade.time_ns >= whole]
        self._chart.add(remembered)

    def snapshot(self, now_ns: int) -> Unnumbered:
        """The last 100, the oldest first."""
        candles = [items.candle(self._product, candle) for candle in self._chart.newest()]
        return self._frame(now_ns, "snapshot", candles=candles)

    def updates(self, now_ns: int) -> list[Unnumbered]:
        """Those that have changed, each in a frame of its own."""
        changed = self._chart.add(reversed(self._trades.new()))
        return [self._frame(now_ns, "update", candles=[items.candle(self._product, candle)]) for candle in changed]


class Level2(Channel):
    """The whole book, then its changes."""

    sent_as = "l2_data"

    def __init__(self, market: Market) -> None:
        """Watch the book from now on."""
        super().__init__(market)
        self._watch = market.book.watch()

    def snapshot(self, now_ns: int) -> Unnumbered:
        """All bids and offers, the best of each first."""
        book = self._market.book
        return self._of(
            "snapshot",
            now_ns,
            [Change(side, *level) for side in ("buy", "sell") for level in book.levels(side)],
        )

    def updates(self, now_ns: int) -> list[Unnumbered]:
        """What has changed, in one frame."""
        changes = self._watch.take()
        return [self._of("update", now_ns, changes)] if changes else []

    def close(self) -> None:
        """Look away."""
        self._market.book.unwatch(self._watch)

    def _of(self, kind: str, now_ns: int, changes: Iterable[Change]) -> Unnumbered:
        updates = [items.level(self._product, change, now_ns) for change in changes]
        return self._frame(now_ns, kind, product_id=self._product.product_id, updates=updates)


class Status(Channel):
    """How a product is listed, which does not change here."""

    sent_as = "status"

    def snapshot(self, now_ns: int) -> Unnumbered:
        """How it is."""
        return self._frame(now_ns, "snapshot", products=[items.listed(self._product)])

    def updates(self, now_ns: int) -> list[Unnumbered]:
        """Nothing."""
        del now_ns
        return []


CHANNELS: dict[str, type[Channel]] = {
    "market_trades": MarketTrades,
    "ticker": Ticker,
    "ticker_batch": TickerBatch,
    "candles": Candles,
    "level2": Level2,
    "status": Status,
}
"""By the name to subscribe to."""
