"""The Exchange protocol: many channels a message, one acknowledgement, and data that does not wait for it."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from random import Random

import msgspec

from rxbridge.faults import Faults
from rxbridge.simulator.market import Market
from rxbridge.simulator.products import Product
from rxbridge.simulator.protocol import Refusal, Request, parse, shuffled
from rxbridge.simulator.service import Service
from rxbridge.simulator.session import Feed, Session


class ExchangeService(Service):
    """Speaks Coinbase's Exchange protocol."""

    def __init__(self, feed: Feed, *, seed: int, faults: Faults) -> None:
        """Offer a feed.

        Args:
            feed: Where the frames come from.
            seed: Makes what Coinbase leaves to chance: the order of acknowledgements and of first frames.
            faults: What goes wrong, and when.
        """
        super().__init__(faults)
        self._feed = feed
        self._random = Random(f"{seed} server")  # noqa: S311  (a shuffle, not a secret)

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
        self._feed.detach(session, list(session.subscriptions))

    def obey(self, session: Session, message: str | bytes) -> bool:
        """Do what a client asks for; whether that was to subscribe to something."""
        request = self._understood(message)
        if isinstance(request, Refusal):
            session.push("error", msgspec.json.encode(request))
            return False
        if request.action == "unsubscribe":
            self._feed.detach(session, session.subscriptions.remove(request))
            session.push("subscriptions", session.subscriptions.acknowledgement(self._random))
            return False
        asked = session.subscriptions.add(request)
        frames = shuffled(self._feed.greeting(asked), self._random)
        # Coinbase's data does not wait for its acknowledgement.
        frames.insert(
            self._random.randint(0, len(frames)),
            ("subscriptions", session.subscriptions.acknowledgement(self._random)),
        )
        for kind, frame in frames:
            session.push(kind, frame)
        self._feed.attach(session, asked)
        return True

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
        granted = {channel: names for channel, names in request.products.items() if channel not in missing}
        return Request("subscribe", granted)
