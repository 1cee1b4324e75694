"""Who listens to what of a live feed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rxbridge.simulator.protocol import Subscription
from rxbridge.simulator.session import Session


class Audience:
    """The sessions that are subscribed, by channel and product; nobody listens to most of a large market."""

    def __init__(self) -> None:
        self._sessions: dict[str, dict[str, set[Session]]] = {}

    def attach(self, session: Session, subscriptions: Iterable[Subscription]) -> None:
        """A session listens to these from now on."""
        for channel, product in subscriptions:
            self._sessions.setdefault(channel, {}).setdefault(product, set()).add(session)

    def detach(self, session: Session, subscriptions: Iterable[Subscription]) -> None:
        """It no longer listens to these; some of them it may never have listened to."""
        for channel, product in subscriptions:
            products = self._sessions.get(channel, {})
            if sessions := products.get(product):
                sessions.discard(session)
                if not sessions:
                    del products[product]

    def listens(self, channel: str, product: str) -> bool:
        """Whether anybody does."""
        return product in self._sessions.get(channel, ())

    def products(self, channel: str) -> Sequence[str]:
        """The products of a channel to which somebody listens."""
        return tuple(self._sessions.get(channel, ()))

    def push(self, kind: str, channel: str, product: str, encode: Callable[[], bytes]) -> None:
        """Encode a frame once and send it to all who listen; for nobody, do not encode."""
        if sessions := self._sessions.get(channel, {}).get(product):
            frame = encode()
            # A session that is given up leaves later, not now.
            for session in tuple(sessions):
                session.push(kind, frame)
