"""REST that limits its clients, as it does, and that fails, as it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from email.utils import formatdate

from rxbridge.faults import Fault, Faults
from rxbridge.simulator import rest
from rxbridge.simulator.market import Market
from rxbridge.simulator.products import Product
from rxbridge.simulator.rest_limit import RateLimit

DATE_AHEAD_SECONDS = 2.0
"""How far ahead the date is that a Retry-After names: it has whole seconds only."""


class Rest:
    """Answers GETs."""

    def __init__(
        self,
        faults: Faults,
        limit: RateLimit,
        *,
        products: AbstractSet[str],
        markets: Mapping[str, Market],
        delisted: Mapping[str, Product],
    ) -> None:
        """Prepare.

        Args:
            faults: The schedule.
            limit: How many requests are answered.
            products: The products there are.
            markets: Those that have a market, and so trades to list.
            delisted: Products that are no longer traded.
        """
        self._faults = faults
        self._limit = limit
        self._products = products
        self._markets = markets
        self._delisted = delisted
        self.longest_delay_seconds: float = max(
            (fault.number("delay_seconds") for fault in faults.of("rest_slow")), default=0.0
        )

    async def answer(self, target: str) -> rest.Answer:
        """Answer a GET of this path and query; or fail, as the schedule says."""
        if (slow := self._strikes("rest_slow")) is not None:
            await asyncio.sleep(slow.number("delay_seconds"))
        if (busy := self._strikes("rest_429")) is not None:
            return rest.Answer(rest.TOO_MANY_REQUESTS.status, rest.TOO_MANY_REQUESTS.body, _retry_after(busy))
        if self._strikes("rest_500") is not None:
            return rest.INTERNAL_ERROR
        if not self._limit.takes():
            return rest.TOO_MANY_REQUESTS
        product = rest.trades_asked_for(target)
        if product in self._markets and self._strikes("rest_empty", product) is not None:
            return rest.NO_TRADES
        return rest.answer(
            target,
            products=self._products,
            markets=self._markets,
            delisted=self._delisted,
            now_ns=time.time_ns(),
        )

    def _strikes(self, kind: str, product: str | None = None) -> Fault | None:
        """The fault of this kind that hits this request; it has been counted."""
        for fault in self._faults.lasting(kind):
            if fault.parameters.get("product") in {None, product} and self._faults.happens(fault):
                self._faults.fired(fault)
                return fault
        return None


def _retry_after(fault: Fault) -> dict[str, str]:
    match fault.parameters["retry_after"]:
        case None:
            return {}
        case "date":
            return {"Retry-After": formatdate(time.time() + DATE_AHEAD_SECONDS, usegmt=True)}
        case seconds:
            return {"Retry-After": str(seconds)}
