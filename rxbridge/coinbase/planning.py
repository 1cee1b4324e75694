"""What is worth asking for: the products, on the channels, and the heartbeat with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from rxbridge.coinbase.protocol import FeedProtocol
from rxbridge.coinbase.wanted import Wanted, products_of

Allow: TypeAlias = Callable[[str, str], bool]
"""Whether a product is worth asking for on a channel."""


class Planner:
    """Plans what to ask for on some channels.

    Args:
        channels: Channels, named as on the wire; the heartbeat is added, for without it a quiet product looks like a
            dead feed.
        protocol: How the feed is spoken to.
        allow: What is worth asking for. Where nothing is, everything is asked for, and so it is without this.
    """

    def __init__(self, channels: Sequence[str], protocol: FeedProtocol, allow: Allow | None) -> None:
        self._protocol = protocol
        self._channels = tuple(dict.fromkeys(channels))
        # What is not asked for by product serves none, unless nothing else was asked for.
        self._serving = tuple(filter(self.has_products, self._channels)) or self._channels
        self._allow = allow or _everything

    def plan(self, products: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """What to ask for, so that these products are served."""
        products, allow = tuple(dict.fromkeys(products)), self._allow
        wanted = self._worth(products, allow)
        if not any(channel in wanted for channel in self._serving):
            allow = _everything
            wanted = self._worth(products, allow)
        heartbeat = self._protocol.heartbeat
        beating_for = products_of({channel: ids for channel, ids in wanted.items() if self.has_products(channel)})
        if wanted and not beating_for:
            beating_for = list(products)
        if heartbeat not in self._channels and (beating := self._allowed(heartbeat, beating_for, allow)):
            wanted[heartbeat] = beating
        return wanted

    def served(self, wanted: Wanted) -> list[str]:
        """The products that are wanted on any channel that somebody asked for."""
        return products_of({channel: wanted.get(channel, ()) for channel in self._serving})

    def has_products(self, channel: str) -> bool:
        """Whether a channel is asked for product by product."""
        return channel not in self._protocol.without_products

    def _worth(self, products: Sequence[str], allow: Allow) -> dict[str, tuple[str, ...]]:
        worth = {channel: self._allowed(channel, products, allow) for channel in self._channels}
        return {channel: allowed for channel, allowed in worth.items() if allowed}

    def _allowed(self, channel: str, products: Sequence[str], allow: Allow) -> tuple[str, ...]:
        """What of a channel is worth asking for."""
        asked = products if self.has_products(channel) else (channel,)
        return tuple(product for product in asked if allow(channel, product))


def _everything(_channel: str, _product: str) -> bool:
    return True
