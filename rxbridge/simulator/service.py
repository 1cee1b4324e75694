"""What the server asks of whatever answers its clients: one of Coinbase's two protocols."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from types import MappingProxyType

from rxbridge.faults import Fault, Faults
from rxbridge.simulator.market import Market
from rxbridge.simulator.products import Product
from rxbridge.simulator.session import Session


class Service(ABC):
    """Answers what clients say, and feeds them. All of it runs in the server's event loop."""

    def __init__(self, faults: Faults) -> None:
        """Prepare.

        Args:
            faults: What goes wrong, and when; those of subscribes are for the service.
        """
        self._faults = faults

    @property
    @abstractmethod
    def products(self) -> AbstractSet[str]:
        """The products on offer."""

    @property
    @abstractmethod
    def markets(self) -> Mapping[str, Market]:
        """Those of them that have a market, which REST can be asked about."""

    @property
    def delisted(self) -> Mapping[str, Product]:
        """Products that REST still lists and that nobody can subscribe to."""
        return MappingProxyType({})

    @abstractmethod
    async def run(self) -> None:
        """Feed the subscribers until cancelled; an exception is the end of the server."""

    @abstractmethod
    def obey(self, session: Session, message: str | bytes) -> bool:
        """Do what a client asks for; whether that was to subscribe to something."""

    @abstractmethod
    def leave(self, session: Session) -> None:
        """The connection has ended."""

    def strike(self, kind: str, parameter: str, asked: Collection[str]) -> list[Fault]:
        """The faults of this kind that hit something that is asked for; they have been counted."""
        struck = [
            fault
            for fault in self._faults.lasting(kind)
            if fault.text(parameter) in asked and self._faults.happens(fault)
        ]
        for fault in struck:
            self._faults.fired(fault)
        return struck
