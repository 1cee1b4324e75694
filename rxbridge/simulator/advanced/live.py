"""The live feed of Advanced Trade: the markets of the Exchange feed, told in the other words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from random import Random

from rxbridge.simulator.advanced import wire
from rxbridge.simulator.advanced.channels import CHANNELS, Channel
from rxbridge.simulator.advanced.client import Client
from rxbridge.simulator.advanced.protocol import HEARTBEATS
from rxbridge.simulator.advanced.service import AdvancedFeed
from rxbridge.simulator.live import LiveFeed
from rxbridge.simulator.market import Market
from rxbridge.simulator.products import Product
from rxbridge.simulator.protocol import Subscription

MOST_UPTIME_SECONDS = 1_000_000
"""Heartbeats count from somewhere: the server has been running before, for so long at most."""


class AdvancedLive(AdvancedFeed):
    """Feeds every subscriber with a snapshot, and then with what is new, a few times a second."""

    def __init__(self, exchange: LiveFeed, *, seed: int) -> None:
        """Offer markets; nothing is traded before `run`.

        Args:
            exchange: Has the markets and their time, and makes their trades.
            seed: Makes up for how long the server has been running.
        """
        self.channels: AbstractSet[str] = frozenset({*CHANNELS, HEARTBEATS[0]})
        self.products: AbstractSet[str] = exchange.products
        self.markets: Mapping[str, Market] = exchange.markets
        self.delisted: Mapping[str, Product] = exchange.delisted
        self._exchange = exchange
        self._now_ns = exchange.clock.now_ns
        self._open: dict[Subscription, Channel] = {}
        self._clients: dict[Subscription, dict[Client, None]] = {}
        dice = Random(f"{seed} uptime")  # noqa: S311  (a number, not a secret)
        self._beats = dice.randrange(MOST_UPTIME_SECONDS)
        self._started_ns = time.monotonic_ns() - self._beats * 1_000_000_000

    async def run(self) -> None:
        """Trade, tell and beat until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._exchange.run())
            tasks.create_task(self._beat())
            for name, channel in CHANNELS.items():
                seconds = self._exchange.ticker_batch_seconds if name == "ticker_batch" else channel.every_seconds
                tasks.create_task(self._tell_all(name, seconds))

    def subscribe(self, client: Client, subscriptions: Sequence[Subscription], acknowledge: Callable[[], None]) -> None:
        """Send a snapshot of each product, acknowledge, and send what is new from then on."""
        for subscription in subscriptions:
            if subscription != HEARTBEATS:
                client.push(*self._snapshot(subscription))
            self._clients.setdefault(subscription, {})[client] = None
        acknowledge()

    def unsubscribe(self, client: Client, subscriptions: Sequence[Subscription]) -> None:
        """Send it no more of this."""
        for subscription in subscriptions:
            clients = self._clients[subscription]
            del clients[client]
            if not clients:
                del self._clients[subscription]
                if (channel := self._open.pop(subscription, None)) is not None:
                    channel.close()

    def _snapshot(self, subscription: Subscription) -> tuple[str, wire.Unnumbered]:
        name, product_id = subscription
        if subscription in self._open:
            self._tell(subscription)
        else:
            self._open[subscription] = CHANNELS[name](self.markets[product_id])
        channel = self._open[subscription]
        return channel.sent_as, channel.snapshot(self._now_ns())

    async def _tell_all(self, name: str, every_seconds: float) -> None:
        """Tell of one channel, product by product, again and again."""
        while True:
            await asyncio.sleep(every_seconds)
            for subscription in [one for one in self._open if one[0] == name]:
                self._tell(subscription)

    def _tell(self, subscription: Subscription) -> None:
        """Tell its subscribers what is new."""
        now_ns = self._now_ns()
        channel = self._open[subscription]
        self.markets[subscription[1]].settle(now_ns)
        for frame in channel.updates(now_ns):
            self._push(subscription, channel.sent_as, frame)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due = max(due + self._exchange.heartbeat_seconds, loop.time())
            await asyncio.sleep(due - loop.time())
            self._beats += 1
            uptime_ns = time.monotonic_ns() - self._started_ns
            self._push(HEARTBEATS, HEARTBEATS[0], wire.heartbeat(self._beats, uptime_ns, self._now_ns()))

    def _push(self, subscription: Subscription, channel: str, frame: wire.Unnumbered) -> None:
        for client in self._clients.get(subscription, ()):
            client.push(channel, frame)
