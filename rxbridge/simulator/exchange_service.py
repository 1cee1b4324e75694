"""The Exchange protocol: many channels a message, one acknowledgement, and data that does not wait for it."""

from __future__ import annotations

from functools import partial

import msgspec

from rxbridge.faults import Faults
from rxbridge.simulator.protocol import Refusal, Request, parse, shuffled
from rxbridge.simulator.service import Service
from rxbridge.simulator.session import Feed, Session


class ExchangeService(Service):
    """Speaks Coinbase's Exchange protocol."""

    def __init__(self, feed: Feed, *, seed: int, faults: Faults) -> None:
        """Offer a feed; what there is to say of these, `Service` does."""
        super().__init__(feed, seed=seed, faults=faults)
        self._feed = feed

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
        offered = partial(parse, message, channels=self._feed.channels)
        request = offered(products=self.products)
        if isinstance(request, Refusal):
            return request
        return self.granted(request, lambda products: offered(products=products))
