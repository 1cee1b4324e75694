"""The Advanced Trade protocol: one channel a message, and what it brings first comes before the acknowledgement."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial

import msgspec

from rxbridge.faults import Faults
from rxbridge.simulator.advanced import wire
from rxbridge.simulator.advanced.client import Client
from rxbridge.simulator.advanced.protocol import Refusal, acknowledged, parse
from rxbridge.simulator.protocol import Request, Subscription
from rxbridge.simulator.service import Service
from rxbridge.simulator.session import Session, Source


class AdvancedFeed(Source):
    """A source in the forms of Advanced Trade.

    Attributes:
        channels: The channels on offer.
    """

    channels: AbstractSet[str]

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
        """Offer a feed; what there is to say of these, `Service` does."""
        super().__init__(feed, seed=seed, faults=faults)
        self._feed = feed
        self._clients: dict[Session, Client] = {}

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
        offered = partial(parse, message, channels=self._feed.channels)
        request = offered(products=self.products)
        if isinstance(request, Refusal):
            return request
        return self.granted(request, lambda products: offered(products=products))
