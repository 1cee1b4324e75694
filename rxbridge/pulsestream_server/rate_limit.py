"""Events per tenant and fixed clock minute."""

from __future__ import annotations

from collections.abc import Callable

WINDOW_SECONDS = 60
ADVERTISED_LIMIT = 100
"""What the API says the limit is, whatever it is."""


class RateLimiter:
    """Counts what each tenant has stored in the current minute; the counts live as long as the process.

    Args:
        limit: Events per tenant and minute; 0 for no limit.
        clock: Gives Unix time in seconds.
    """

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        self._limit = limit
        self._clock = clock
        self._used: dict[int, tuple[int, int]] = {}

    def used(self, tenant_id: int) -> int:
        """How many events were charged to the tenant in this minute."""
        window, count = self._used.get(tenant_id, (0, 0))
        return count if window == self._window() else 0

    def refusal(self, tenant_id: int) -> str | None:
        """Why the tenant may not store one more event now; None if it may."""
        if not self._limit or self.used(tenant_id) < self._limit:
            return None
        return self.words()

    def words(self) -> str:
        """How it is said that the limit is reached; where there is none, as if it were the one that is advertised."""
        return f"Rate limit exceeded. Limit: {self._limit or ADVERTISED_LIMIT} events per {WINDOW_SECONDS} seconds"

    def charge(self, tenant_id: int) -> None:
        """Count one event."""
        self._used[tenant_id] = (self._window(), self.used(tenant_id) + 1)

    def resets_at(self) -> int:
        """When the next minute starts: Unix time in seconds."""
        return (self._window() + 1) * WINDOW_SECONDS

    def _window(self) -> int:
        return int(self._clock() // WINDOW_SECONDS)
