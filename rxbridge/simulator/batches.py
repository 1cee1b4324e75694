"""The live channels that send at intervals and not with each trade: books, tickers in batches, and the status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from rxbridge.simulator import wire
from rxbridge.simulator.audience import Audience
from rxbridge.simulator.book import Watch
from rxbridge.simulator.listing import status
from rxbridge.simulator.market import Market, Tick
from rxbridge.simulator.products import Product

BOOK_CHANNEL = "level2_50"
"""The name by which Coinbase acknowledges `level2_batch`."""

BOOK_BATCH_SECONDS = 0.05

BOOK_SECONDS = 0.01
"""How often `level2` tells what has changed, which the real one does at once."""

TICKER_BATCH_SECONDS = 5.0

STATUS_SECONDS = 5.0


async def every(seconds: float, send: Callable[[], None]) -> None:
    """Send at this interval until cancelled; after a delay, from then on, without making up for it."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due = max(due + seconds, loop.time())
        await asyncio.sleep(due - loop.time())
        send()


class BookBatches:
    """The channel `level2_batch`: a snapshot, then every 50 ms what has changed; or `level2`, which is faster."""

    def __init__(
        self,
        markets: Mapping[str, Market],
        audience: Audience,
        now_ns: Callable[[], int],
        channel: str = BOOK_CHANNEL,
    ) -> None:
        """Prepare.

        Args:
            markets: Those of all products.
            audience: Who listens.
            now_ns: The time of the markets, in nanoseconds since the Unix epoch.
            channel: What acknowledgements call the channel.
        """
        self._channel = channel
        self._markets = markets
        self._audience = audience
        self._now_ns = now_ns
        self._watches: dict[str, Watch] = {}

    def snapshot(self, product_id: str) -> bytes:
        """The book as it is now. Who listens already is sent what changed up to now first.

        So whoever has had the snapshot is told of nothing that is in it already.
        """
        market = self._markets[product_id]
        if product_id not in self._watches:
            self._watches[product_id] = market.book.watch()
        self._send(product_id)
        return wire.snapshot(market.product, market.book)

    def send(self) -> None:
        """Let orders come and go where somebody listens, and send what changed since the last time."""
        listened = frozenset(self._audience.products(self._channel))
        for product_id in [product_id for product_id in self._watches if product_id not in listened]:
            self._markets[product_id].book.unwatch(self._watches.pop(product_id))
        for product_id in listened:
            self._markets[product_id].settle(self._now_ns())
            self._send(product_id)

    def _send(self, product_id: str) -> None:
        if changes := self._watches[product_id].take():
            product = self._markets[product_id].product
            encode = partial(wire.l2update, product, changes, self._now_ns())
            self._audience.push("l2update", self._channel, product_id, encode)


class TickerBatches:
    """The channel `ticker_batch`: every 5 seconds the ticker of the last trade, if there was one meanwhile."""

    def __init__(self, markets: Mapping[str, Market], audience: Audience) -> None:
        """Prepare.

        Args:
            markets: Those of all products.
            audience: Who listens.
        """
        self._markets = markets
        self._audience = audience
        self._sent: dict[str, Tick] = {}

    def greet(self, product_id: str) -> None:
        """Somebody was sent the ticker of now; it need not be sent again, if nobody else waits for it."""
        market = self._markets[product_id]
        if market.has_traded and not self._audience.listens("ticker_batch", product_id):
            self._sent[product_id] = market.latest

    def send(self) -> None:
        """Send what is new."""
        for product_id in self._audience.products("ticker_batch"):
            market = self._markets[product_id]
            if market.has_traded and market.latest is not self._sent.get(product_id):
                self._sent[product_id] = market.latest
                encode = partial(wire.ticker, market.product, market.latest)
                self._audience.push("ticker", "ticker_batch", product_id, encode)


class Status:
    """The channel `status`: all products and currencies, every 5 seconds."""

    def __init__(self, products: Iterable[Product], audience: Audience) -> None:
        """Prepare.

        Args:
            products: Those there are, also those that are delisted.
            audience: Who listens.
        """
        self.frame: bytes = status(products)
        self._audience = audience

    def send(self) -> None:
        """Send it."""
        self._audience.push("status", "status", "", lambda: self.frame)
