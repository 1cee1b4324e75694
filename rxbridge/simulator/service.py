"""What the server asks of whatever answers its clients: one of Coinbase's two protocols."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from collections.abc import Set as AbstractSet
from random import Random
from typing import TypeVar

from rxbridge.faults import Fault, Faults
from rxbridge.simulator.market import Market
from rxbridge.simulator.products import Product
from rxbridge.simulator.protocol import Request
from rxbridge.simulator.session import Session, Source

A = TypeVar("A")


class Service(ABC):
    """Answers what clients say, and feeds them. All of it runs in the server's event loop."""

    def __init__(self, source: Source, *, seed: int, faults: Faults) -> None:
        """Offer what a source has.

        Args:
            source: Where the frames come from.
            seed: Makes what Coinbase leaves to chance, such as the order of acknowledgements.
            faults: What goes wrong, and when; those of subscribes are for the service.
        """
        self._source = source
        self._random = Random(f"{seed} server")  # noqa: S311  (a shuffle, not a secret)
        self._faults = faults

    @property
    def products(self) -> AbstractSet[str]:
        """The products on offer."""
        return self._source.products

    @property
    def markets(self) -> Mapping[str, Market]:
        """Those of them that have a market, which REST can be asked about."""
        return self._source.markets

    @property
    def delisted(self) -> Mapping[str, Product]:
        """Products that REST still lists; a subscribe that names one is refused, all of it."""
        return self._source.delisted

    async def run(self) -> None:
        """Feed the subscribers until cancelled; an exception is the end of the server."""
        await self._source.run()

    @abstractmethod
    def obey(self, session: Session, message: str | bytes) -> bool:
        """Do what a client asks for; whether that was to subscribe to something."""

    @abstractmethod
    def leave(self, session: Session) -> None:
        """The connection has ended."""

    def granted(self, request: Request, again: Callable[[AbstractSet[str]], A]) -> Request | A:
        """What a client asks for, as far as the schedule lets it have that.

        Args:
            request: What it asks for.
            again: Says what becomes of it where only these products are on offer.
        """
        if not self._faults or request.action == "unsubscribe":
            return request
        asked = {product for names in request.products.values() for product in names or ()}
        refused = {fault.text("product") for fault in self._strike("subscription_error", "product", asked)}
        if refused:
            return again(self.products - refused)
        missing = {fault.text("channel") for fault in self._strike("partial_ack", "channel", set(request.products))}
        return Request("subscribe", {name: ids for name, ids in request.products.items() if name not in missing})

    def _strike(self, kind: str, parameter: str, asked: Collection[str]) -> list[Fault]:
        """The faults of this kind that hit something that is asked for; they have been counted."""
        struck = [
            fault
            for fault in self._faults.lasting(kind)
            if fault.text(parameter) in asked and self._faults.happens(fault)
        ]
        for fault in struck:
            self._faults.fired(fault)
        return struck
