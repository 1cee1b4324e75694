"""The Exchange protocol: many channels a message, one acknowledgement, and data that does not wait for it."""

from __future__ import annotations

from functools import partial

import msgspec

from rxbridge.faults import Faults
from rxbridge.simulator.authentication import REFUSED, Authentication
from rxbridge.simulator.protocol import Refusal, Request, parse, shuffled
from rxbridge.simulator.service import Service
from rxbridge.simulator.session import Feed, Session


class ExchangeService(Service):
    """Speaks Coinbase's Exchange protocol."""

    def __init__(self, feed: Feed, *, seed: int, faults: Faults, authentication: Authentication | None = None) -> None:
        """Offer a feed; what there is to say of these, `Service` does.

        Args:
            feed: Where the frames come from.
            seed: Makes what is left to chance.
            faults: What goes wrong, and when.
            authentication: Knows the key of who may have the channels that need one; without it, nobody may.
        """
        super().__init__(feed, seed=seed, faults=faults)
        self._feed = feed
        self._authentication = authentication

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
        channels = self._feed.channels
        if self._authentication is not None and self._authentication.is_signed(message):
            if problem := self._authentication.problem(message):
                return Refusal(REFUSED, problem)
            channels = {**channels, **self._feed.keyed_channels}
        offered = partial(parse, message, channels=channels)
        request = offered(products=self.products)
        if isinstance(request, Refusal):
            return request
        return self.granted(request, lambda products: offered(products=products))
