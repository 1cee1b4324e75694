"""How many REST requests a client may make."""

from __future__ import annotations

import time
from collections.abc import Callable

REQUESTS_PER_SECOND = 10.0
BURST = 15
"""Those of https://docs.cdp.coinbase.com/exchange/rest-api/rate-limits for public endpoints, by address of the client.
Here every client has the same one."""


class RateLimit:
    """A bucket of requests that fills up at a steady rate."""

    def __init__(self, requests_per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Start full.

        Args:
            requests_per_second: How fast it fills up; 0 for no limit at all.
            burst: How many it holds.
            clock: Seconds that never step back.
        """
        self._requests_per_second = requests_per_second
        self._burst = float(burst)
        self._clock = clock
        self._left = self._burst
        self._at = clock()

    def takes(self) -> bool:
        """Whether one more request may be answered now; one that may not costs nothing."""
        if self._requests_per_second == 0:
            return True
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._requests_per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
