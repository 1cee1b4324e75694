"""Events of rxbridge's own, which show whether PulseStream's database works when it refuses one of the market's.

Each takes a row in PulseStream, under a service of its own, so that neither a search for the market's events nor the
audit meets it; and one of the tenant's events of that minute.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import msgspec

from rxbridge.events import EncodedEvent

PROBE_SERVICE = "rxbridge-probe"
"""`source.service` of a probe."""


class Probes:
    """Makes probes, and remembers one that is stored: sent again, it shows at no cost that the database can be read.

    Args:
        unique: A text that no other probe has.
    """

    def __init__(self, unique: Callable[[], str] = lambda: uuid4().hex) -> None:
        self._unique = unique
        self._stored: EncodedEvent | None = None

    def next(self, now: int, *, writes: bool) -> EncodedEvent:
        """A probe, `now` being nanoseconds since the Unix epoch.

        Args:
            now: The time.
            writes: Whether it must be a new one, which shows that the database can also be written.
        """
        return self._new(now) if writes or self._stored is None else self._stored

    def stored(self, probe: EncodedEvent) -> None:
        """Remember it: PulseStream has it."""
        self._stored = probe

    def _new(self, now: int) -> EncodedEvent:
        event_id = f"{PROBE_SERVICE}-{self._unique()}"
        title = "Does PulseStream's database take events?"
        content = {
            "event_type": "system_event",
            "event_id": event_id,
            "title": title,
            "message": "rxbridge asks this when one event is refused again and again; it has no other meaning.",
            "source": {"service": PROBE_SERVICE, "endpoint": "/probe", "method": "POST"},
            # Without a timestamp: PulseStream takes its own time, whatever our clock says.
        }
        moment = datetime.fromtimestamp(now / 1e9, UTC).replace(tzinfo=None)
        return EncodedEvent(event_id, title, None, 0, moment, msgspec.json.encode(content))
