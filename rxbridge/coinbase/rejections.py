"""What Coinbase would not take, remembered over reconnects so that it is not asked for, nor told, every time."""

from __future__ import annotations

from collections.abc import Callable, Collection
from time import monotonic
from typing import NamedTuple

from rxbridge.errors import quoted


class Rejection(NamedTuple):
    """A refused channel (`product` is None), a refused product (`channel` is None), or that product there."""

    channel: str | None
    product: str | None
    reason: str

    def __str__(self) -> str:
        refused = [quoted(name) for name in (self.channel, self.product) if name is not None]
        return f"{' of '.join(refused)}: {quoted(self.reason)}"


class Rejections:
    """The memory of one subscription, across its connections.

    A rejection holds for `retry_seconds`; at the first connection after that, its product or channel is asked for
    again, or at the first change of the products. Otherwise a connection that runs is left alone.

    Attributes:
        accepted: Whether Coinbase has ever confirmed anything of this subscription.
    """

    def __init__(self, retry_seconds: float = 3600.0, clock: Callable[[], float] = monotonic) -> None:
        self.accepted = False
        self._retry_seconds = retry_seconds
        self._clock = clock
        self._until: dict[tuple[str | None, str | None], float] = {}
        self._untold: list[Rejection] = []

    def remember(self, rejection: Rejection) -> None:
        """Do not ask for this again for some time."""
        self._until[rejection.channel, rejection.product] = self._clock() + self._retry_seconds
        self._untold.append(rejection)

    def forget_all_but(self, products: Collection[str]) -> None:
        """Only these products are wanted now: one that is wanted again later is asked for again."""
        kept = frozenset(products)
        # What is no product's has the name of its channel in the place of one.
        self._until = {
            (channel, product): until
            for (channel, product), until in self._until.items()
            if product in kept or product in (None, channel)
        }

    def take_untold(self) -> list[Rejection]:
        """What was remembered since the last call: what is yet to be logged."""
        untold, self._untold = self._untold, []
        return untold

    def allow(self, channel: str, product: str) -> bool:
        """Whether it is worth asking for this product on this channel."""
        now = self._clock()
        keys = ((channel, None), (None, product), (channel, product))
        return all(self._until.get(key, now) <= now for key in keys)
