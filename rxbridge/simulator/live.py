"""The live feed: markets that trade at a given rate, for all subscribers at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import accumulate
from random import Random
from uuid import UUID

from rxbridge.simulator import wire
from rxbridge.simulator.audience import Audience
from rxbridge.simulator.batches import (
    BOOK_BATCH_SECONDS,
    BOOK_CHANNEL,
    BOOK_SECONDS,
    STATUS_SECONDS,
    TICKER_BATCH_SECONDS,
    BookBatches,
    Status,
    TickerBatches,
    every,
)
from rxbridge.simulator.book import DEPTH
from rxbridge.simulator.market import BOOK_CHANGES_PER_SECOND, LONGEST_SWEEP, Market, Tick
from rxbridge.simulator.order_flow import Step
from rxbridge.simulator.orders import order_frame
from rxbridge.simulator.products import Product
from rxbridge.simulator.protocol import Subscription
from rxbridge.simulator.session import Feed, Session

CHANNELS = {
    "auctionfeed": "auctionfeed",
    "heartbeat": "heartbeat",
    "level2_batch": BOOK_CHANNEL,
    "matches": "matches",
    "status": "status",
    "ticker": "ticker",
    "ticker_1000": "ticker_batch",
    "ticker_batch": "ticker_batch",
}
"""What is on offer without a key."""

KEYED_CHANNELS = {"full": "full", "level2": "level2", "rfq_matches": "rfq_matches"}
"""What is on offer for who signs."""

RFQ_SECONDS = 1.0
"""The time between two trades that answer a request for quotes, of any product."""

AUCTION_SECONDS = 1.0
"""A product that was never traded collects the orders that it will open with, and `auctionfeed` tells of it."""

QUIET = 0.01
"""How likely a quiet product is to be traded next, where a lively one has 1."""

SHORTEST_SLEEP_SECONDS = 0.001
"""Orders that are due sooner than this are not waited for: timers are not that fine."""

LONGEST_LAG_SECONDS = 1.0
"""A machine that is further behind the rate than this gives up the arrears instead of chasing them."""

ORDERS_AT_A_STRETCH = 32
"""After so many orders without a sleep, the event loop gets a turn."""


class TradeClock:
    """The time of the markets, in nanoseconds since the Unix epoch.

    It is the real time, or, where a start is given, a time that moves on from there with the gaps between the orders
    and nothing else: then even the frames' times are the same at each run.
    """

    def __init__(self, start_ns: int | None = None) -> None:
        self._simulated_ns = start_ns

    def now_ns(self) -> int:
        """The time."""
        return time.time_ns() if self._simulated_ns is None else self._simulated_ns

    def pass_by(self, seconds: float) -> None:
        """Let simulated time pass; real time does so by itself."""
        if self._simulated_ns is not None:
            self._simulated_ns += round(seconds * 1_000_000_000)


class LiveFeed(Feed):
    """Feeds every subscriber with what happens, from the moment of its subscribe.

    Attributes:
        clock: The time of the trades.
        heartbeat_seconds: The time between the heartbeats of a product.
        ticker_batch_seconds: The time between the tickers of a product on `ticker_batch`.
    """

    def __init__(
        self,
        products: Sequence[Product],
        *,
        seed: int,
        rate: float,
        max_trades: int | None,
        heartbeat_seconds: float,
        clock: TradeClock,
        trades_kept: int,
        history: int,
        history_seconds: float,
        book_depth: int = DEPTH,
        book_changes_per_second: float = BOOK_CHANGES_PER_SECOND,
        ticker_batch_seconds: float = TICKER_BATCH_SECONDS,
        status_seconds: float = STATUS_SECONDS,
    ) -> None:
        """Open the markets; nothing is traded before `run`.

        Args:
            products: What is traded, each lively one as likely as the other, and what else is listed.
            seed: Makes the markets, and the order in which they are traded.
            rate: Trades a second over all products, on average; 0 for none.
            max_trades: How many trades to make, not counting the history and the one that opens each market; None for
                no end.
            heartbeat_seconds: The time between the heartbeats of a product.
            clock: The time of the trades.
            trades_kept: How many trades a product REST can look back on.
            history: How many trades of each product were made before.
            history_seconds: How far apart they are.
            book_depth: How many levels a side of a book has, about.
            book_changes_per_second: How many orders come and go in a book besides the trades.
            ticker_batch_seconds: The time between the tickers of a product on `ticker_batch`.
            status_seconds: The time between the frames of `status`.
        """
        self.channels: Mapping[str, str] = CHANNELS
        self.keyed_channels: Mapping[str, str] = KEYED_CHANNELS
        self.markets: Mapping[str, Market] = {
            product.product_id: Market(
                product,
                seed=seed,
                start_ns=clock.now_ns(),
                trades_kept=trades_kept,
                history=history,
                history_seconds=history_seconds,
                depth=book_depth,
                book_changes_per_second=book_changes_per_second,
            )
            for product in products
            if product.kind != "delisted"
        }
        self.delisted: Mapping[str, Product] = {
            product.product_id: product for product in products if product.kind == "delisted"
        }
        self.products: AbstractSet[str] = frozenset(self.markets)
        self._random = Random(f"{seed} arrivals")  # noqa: S311  (a market, not a secret)
        self._rate = rate
        self._trades_left = max_trades
        self.heartbeat_seconds = heartbeat_seconds
        self.clock = clock
        self._trading = asyncio.Event()
        self._trading.set()
        self._audience = Audience()
        self._books = BookBatches(self.markets, self._audience, clock.now_ns)
        self._fast_books = BookBatches(self.markets, self._audience, clock.now_ns, "level2")
        for market in self.markets.values():
            market.flow.tell = partial(self._tell_order, market.product)
            market.flow.is_heard = partial(self._audience.listens, "full", market.product.product_id)
        self._requests = Random(f"{seed} requests for quotes")  # noqa: S311  (a market, not a secret)
        self._rfq_trades = 0
        self._tickers = TickerBatches(self.markets, self._audience)
        self._status = Status(products, self._audience)
        self.ticker_batch_seconds = ticker_batch_seconds
        self._status_seconds = status_seconds

    async def run(self) -> None:
        """Trade, beat and send what is sent at intervals, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(every(self.heartbeat_seconds, self._beat))
            tasks.create_task(every(BOOK_BATCH_SECONDS, self._books.send))
            tasks.create_task(every(self.ticker_batch_seconds, self._tickers.send))
            tasks.create_task(every(self._status_seconds, self._status.send))
            tasks.create_task(every(BOOK_SECONDS, self._fast_books.send))
            tasks.create_task(every(AUCTION_SECONDS, self._collect))
            tasks.create_task(every(RFQ_SECONDS, self._answer_a_request))
            if self._rate > 0 and any(market.has_traded for market in self.markets.values()):
                tasks.create_task(self._trade())

    def pause(self) -> None:
        """Make no more trades, and let the books stand still; heartbeats go on."""
        self._trading.clear()
        self._halt(halted=True)

    def resume(self) -> None:
        """Trade again, from now on."""
        self._halt(halted=False)
        self._trading.set()

    def _halt(self, *, halted: bool) -> None:
        for market in self.markets.values():
            # What would have happened by now still does, and nothing of the time in between.
            market.settle(self.clock.now_ns())
            market.is_halted = halted

    def greeting(self, subscriptions: Sequence[Subscription]) -> list[tuple[str, bytes]]:
        """What comes first on every subscribe: the last trade once more, a book, the status."""
        return [frame for channel, product_id in subscriptions for frame in self._greeting(channel, product_id)]

    def _greeting(self, channel: str, product_id: str) -> list[tuple[str, bytes]]:
        if not product_id:
            return [("status", self._status.frame)] if channel == "status" else []
        market = self.markets[product_id]
        match channel:
            case "ticker" | "ticker_batch":
                if channel == "ticker_batch":
                    self._tickers.greet(product_id)
                if not market.has_traded:
                    return [("ticker", wire.untraded_ticker(market))]
                return [("ticker", wire.ticker(market.product, market.latest))]
            case "matches" if market.has_traded:
                return [("last_match", wire.match(market.product, market.latest.trade, "last_match"))]
            case "level2_50" | "level2":
                books = self._fast_books if channel == "level2" else self._books
                return [("snapshot", books.snapshot(product_id))]
            case _:
                return []

    def attach(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        """Send a session what happens from now on."""
        self._audience.attach(session, subscriptions)

    def detach(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        """Send it no more of this."""
        self._audience.detach(session, subscriptions)

    async def _trade(self) -> None:
        loop = asyncio.get_running_loop()
        markets = [market for market in self.markets.values() if market.has_traded]
        weights = list(accumulate(QUIET if market.product.kind == "quiet" else 1.0 for market in markets))
        due = loop.time()
        trades = 1
        orders = 0
        while self._trades_left is None or self._trades_left > 0:
            # The longer an order swept, the longer the next one takes to come: so the rate is one of trades.
            gap = self._random.gammavariate(trades, 1 / self._rate)
            self.clock.pass_by(gap)
            due = max(due + gap, loop.time() - LONGEST_LAG_SECONDS)
            orders += 1
            if (wait := due - loop.time()) >= SHORTEST_SLEEP_SECONDS or orders % ORDERS_AT_A_STRETCH == 0:
                await asyncio.sleep(max(0.0, wait))
            if not self._trading.is_set():
                await self._trading.wait()
                due = loop.time()
            trades = self._order(*self._random.choices(markets, cum_weights=weights))

    def _order(self, market: Market) -> int:
        at_most = LONGEST_SWEEP if self._trades_left is None else min(LONGEST_SWEEP, self._trades_left)
        ticks = market.order(self.clock.now_ns(), at_most=at_most)
        if self._trades_left is not None:
            self._trades_left -= len(ticks)
        for tick in ticks:
            self._publish(market.product, tick)
        return len(ticks)

    def _tell_order(self, product: Product, step: Step) -> None:
        self._audience.push(step.kind, "full", product.product_id, partial(order_frame, product, step))

    def _answer_a_request(self) -> None:
        traded = [market for market in self.markets.values() if market.has_traded]
        if traded and self._trading.is_set() and self._audience.listens("rfq_matches", ""):
            dice = self._requests
            maker, taker = (str(UUID(int=dice.getrandbits(128), version=4)) for _ in range(2))
            self._rfq_trades += 1
            encode = partial(wire.rfq_match, dice.choice(traded), self._rfq_trades, maker, taker, self.clock.now_ns())
            self._audience.push("rfq_match", "rfq_matches", "", encode)

    def _publish(self, product: Product, tick: Tick) -> None:
        push, product_id = self._audience.push, product.product_id
        push("match", "matches", product_id, partial(wire.match, product, tick.trade))
        push("ticker", "ticker", product_id, partial(wire.ticker, product, tick))

    def _collect(self) -> None:
        now_ns = self.clock.now_ns()
        for product_id in self._audience.products("auctionfeed"):
            market = self.markets[product_id]
            if not market.has_traded:
                self._audience.push("auction", "auctionfeed", product_id, partial(wire.auction, market, now_ns))

    def _beat(self) -> None:
        now_ns = self.clock.now_ns()
        for product_id in self._audience.products("heartbeat"):
            encode = partial(wire.heartbeat, self.markets[product_id], now_ns)
            self._audience.push("heartbeat", "heartbeat", product_id, encode)
