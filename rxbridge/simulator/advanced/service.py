"""The Advanced Trade protocol: one channel a message, and what it brings first comes before the acknowledgement."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from random import Random
from types import MappingProxyType

import msgspec

from rxbridge.faults import Faults
from rxbridge.simulator.advanced import wire
from rxbridge.simulator.advanced.client import Client
from rxbridge.simulator.advanced.protocol import Refusal, acknowledged, parse
from rxbridge.simulator.market import Market
from rxbridge.simulator.products import Product
from rxbridge.simulator.protocol import Request, Subscription
from rxbridge.simulator.service import Service
from rxbridge.simulator.session import Session


class AdvancedFeed(ABC):
    """Where the frames come from: live markets, or a recording. All of it runs in the server's event loop.

    Attributes:
        channels: The channels on offer.
        products: The products on offer.
        markets: Those of them that have a market, which REST can be asked about.
        delisted: Products that REST still lists and that nobody can subscribe to.
    """

    channels: AbstractSet[str]
    products: AbstractSet[str]
    markets: Mapping[str, Market]
    delisted: Mapping[str, Product] = MappingProxyType({})

    @abstractmethod
    async def run(self) -> None:
        """Feed the subscribers until cancelled; an exception is the end of the server."""

    @abstractmethod
    def subscribe(self, client: Client, subscriptions: Sequence[Subscription], acknowledge: Callable[[], None]) -> None:
        """Send a client this from now on, some of which it may have had before.

        What comes first, the snapshots, comes before `acknowledge`, which is to be called once.
        """

    @abstractmethod
    def unsubscribe(self, client: Client, subscriptions: Sequence[Subscription]) -> None:
        """A client, perhaps one that has gone, no longer wants these, all of which it had."""


class AdvancedService(Service):
    """Speaks Coinbase's Advanced Trade protocol."""

    def __init__(self, feed: AdvancedFeed, *, seed: int, faults: Faults) -> None:
        """Offer a feed.

        Args:
            feed: Where the frames come from.
            seed: Makes what Coinbase leaves to chance: the order of products in acknowledgements.
            faults: What goes wrong, and when.
        """
        super().__init__(faults)
        self._feed = feed
        self._random = Random(f"{seed} server")  # noqa: S311  (a shuffle, not a secret)
        self._clients: dict[Session, Client] = {}

    @property
    def products(self) -> AbstractSet[str]:
        """The products on offer."""
        return self._feed.products

    @property
    def markets(self) -> Mapping[str, Market]:
        """Those of them that have a market, which REST can be asked about."""
        return self._feed.markets

    @property
    def delisted(self) -> Mapping[str, Product]:
        """Products that REST still lists; a subscribe that names one is refused, all of it."""
        return self._feed.delisted

    async def run(self) -> None:
        """Feed the subscribers until cancelled; an exception is the end of the server."""
        await self._feed.run()

    def leave(self, session: Session) -> None:
        """The connection has ended."""
        if (client := self._clients.pop(session, None)) is not None:
            self._feed.unsubscribe(client, list(session.subscriptions))

    def obey(self, session: Session, message: str | bytes) -> bool:
        """Do what a client asks for; whether that was to subscribe to something."""
        request = self._understood(message)
        if isinstance(request, Refusal):
            session.push("error", msgspec.json.encode(request))
            return False
        client = self._clients.setdefault(session, Client(session))
        if request.action == "unsubscribe":
            self._feed.unsubscribe(client, session.subscriptions.remove(request))
            self._acknowledge(client)
            return False
        self._feed.subscribe(client, session.subscriptions.add(request), partial(self._acknowledge, client))
        return True

    def _acknowledge(self, client: Client) -> None:
        subscribed = acknowledged(client.session.subscriptions, self._random)
        client.push("subscriptions", wire.subscriptions(subscribed, time.time_ns()))

    def _understood(self, message: str | bytes) -> Request | Refusal:
        """What a client asks for, as far as the schedule lets it have that."""
        channels, products = self._feed.channels, self._feed.products
        request = parse(message, channels=channels, products=products)
        if not self._faults or isinstance(request, Refusal) or request.action == "unsubscribe":
            return request
        asked = {product for names in request.products.values() for product in names or ()}
        refused = {fault.text("product") for fault in self.strike("subscription_error", "product", asked)}
        if refused:
            return parse(message, channels=channels, products=products - refused)
        missing = {fault.text("channel") for fault in self.strike("partial_ack", "channel", set(request.products))}
        return Request("subscribe", {name: ids for name, ids in request.products.items() if name not in missing})
