"""What every route works with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from starlette.requests import Request

from rxbridge.pulsestream_server.answers import RouteError
from rxbridge.pulsestream_server.ingestion import Transaction
from rxbridge.pulsestream_server.rate_limit import RateLimiter
from rxbridge.pulsestream_server.store import Store, Tenant

BUDGET: Final = "rxbridge.budget"
"""Under this name a request's scope may say how many events are left to it, for a fault that wants it so."""


class Service:
    """The database, the limiter and the clock, and who is asking.

    Args:
        store: The database; whoever made it closes it.
        rate_limit: Events per tenant and minute; 0 for no limit.
        clock: Gives Unix time in seconds.
    """

    def __init__(self, store: Store, *, rate_limit: int, clock: Callable[[], float]) -> None:
        self.store = store
        self.limiter: RateLimiter = RateLimiter(rate_limit, clock)
        self.clock = clock

    def authenticate(self, request: Request) -> Tenant:
        """The tenant whose key the request carries in `X-API-Key`; `Authorization` is ignored.

        Raises:
            RouteError: 401, in two wordings.
        """
        api_key = request.headers.get("x-api-key")
        if not api_key:
            raise RouteError(401, "API key required")
        tenant = self.store.tenant_by_key(api_key)
        if tenant is None:
            raise RouteError(401, "Invalid API key")
        return tenant

    def transaction(self, request: Request, tenant: Tenant, *, body_bytes: int) -> Transaction:
        """A new transaction for the events of one request, whose body is so long."""
        budget = request.scope.get(BUDGET)
        return Transaction(self.store, self.limiter, tenant, now=self.now(), body_bytes=body_bytes, budget=budget)

    def now(self) -> datetime:
        """The time as the API tells it: UTC, naive."""
        return naive_utc(self.clock())


def naive_utc(seconds: float) -> datetime:
    """Unix time as the naive UTC time that the API speaks in."""
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
