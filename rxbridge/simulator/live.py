"""The live feed: markets that trade at a given rate, for all subscribers at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from random import Random

from rxbridge.simulator import wire
from rxbridge.simulator.market import LONGEST_SWEEP, Market, Tick
from rxbridge.simulator.products import Product
from rxbridge.simulator.protocol import Subscription
from rxbridge.simulator.session import Feed, Session

CHANNELS = {"ticker": "ticker", "matches": "matches", "heartbeat": "heartbeat"}

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
    """Feeds every subscriber with what happens, from the moment of its subscribe."""

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
    ) -> None:
        """Open the markets; nothing is traded before `run`.

        Args:
            products: What is traded, each as likely as the other.
            seed: Makes the markets, and the order in which they are traded.
            rate: Trades a second over all products, on average; 0 for none.
            max_trades: How many trades to make, not counting the history and the one that opens each market; None for
                no end.
            heartbeat_seconds: The time between the heartbeats of a product.
            clock: The time of the trades.
            trades_kept: How many trades a product REST can look back on.
            history: How many trades of each product were made before.
            history_seconds: How far apart they are.
        """
        self.channels = CHANNELS
        self.markets = {
            product.product_id: Market(
                product,
                seed=seed,
                start_ns=clock.now_ns(),
                trades_kept=trades_kept,
                history=history,
                history_seconds=history_seconds,
            )
            for product in products
        }
        self.products = frozenset(self.markets)
        self._random = Random(f"{seed} arrivals")  # noqa: S311  (a market, not a secret)
        self._rate = rate
        self._trades_left = max_trades
        self._heartbeat_seconds = heartbeat_seconds
        self._clock = clock
        self._trading = asyncio.Event()
        self._trading.set()
        self._subscribers: dict[Subscription, set[Session]] = {
            (channel, product): set() for channel in CHANNELS for product in self.markets
        }

    async def run(self) -> None:
        """Trade and beat until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._beat())
            if self._rate > 0:
                tasks.create_task(self._trade())

    def pause(self) -> None:
        """Make no more trades; heartbeats go on."""
        self._trading.clear()

    def resume(self) -> None:
        """Trade again, from now on."""
        self._trading.set()

    def greeting(self, subscriptions: Sequence[Subscription]) -> list[tuple[str, bytes]]:
        """The last trade, once more: a `ticker` or a `last_match` for each subscription."""
        frames: list[tuple[str, bytes]] = []
        for channel, product_id in subscriptions:
            market = self.markets[product_id]
            if channel == "ticker":
                frames.append(("ticker", wire.ticker(market.product, market.latest)))
            elif channel == "matches":
                frames.append(("last_match", wire.match(market.product, market.latest.trade, "last_match")))
        return frames

    def attach(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        """Send a session what happens from now on."""
        for subscription in subscriptions:
            self._subscribers[subscription].add(session)

    def detach(self, session: Session, subscriptions: Sequence[Subscription]) -> None:
        """Send it no more of this."""
        for subscription in subscriptions:
            self._subscribers[subscription].discard(session)

    async def _trade(self) -> None:
        loop = asyncio.get_running_loop()
        markets = list(self.markets.values())
        due = loop.time()
        trades = 1
        orders = 0
        while self._trades_left is None or self._trades_left > 0:
            # The longer an order swept, the longer the next one takes to come: so the rate is one of trades.
            gap = self._random.gammavariate(trades, 1 / self._rate)
            self._clock.pass_by(gap)
            due = max(due + gap, loop.time() - LONGEST_LAG_SECONDS)
            orders += 1
            if (wait := due - loop.time()) >= SHORTEST_SLEEP_SECONDS or orders % ORDERS_AT_A_STRETCH == 0:
                await asyncio.sleep(max(0.0, wait))
            if not self._trading.is_set():
                await self._trading.wait()
                due = loop.time()
            trades = self._order(self._random.choice(markets))

    def _order(self, market: Market) -> int:
        at_most = LONGEST_SWEEP if self._trades_left is None else min(LONGEST_SWEEP, self._trades_left)
        ticks = market.order(self._clock.now_ns(), at_most=at_most)
        if self._trades_left is not None:
            self._trades_left -= len(ticks)
        for tick in ticks:
            self._publish(market.product, tick)
        return len(ticks)

    def _publish(self, product: Product, tick: Tick) -> None:
        self._push("match", ("matches", product.product_id), partial(wire.match, product, tick.trade))
        self._push("ticker", ("ticker", product.product_id), partial(wire.ticker, product, tick))

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._heartbeat_seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            now_ns = self._clock.now_ns()
            for product_id, market in self.markets.items():
                self._push("heartbeat", ("heartbeat", product_id), partial(wire.heartbeat, market, now_ns))

    def _push(self, kind: str, subscription: Subscription, encode: Callable[[], bytes]) -> None:
        """Encode once and send to all; for nobody, do not encode."""
        if subscribers := self._subscribers[subscription]:
            frame = encode()
            for session in subscribers:
                session.push(kind, frame)
