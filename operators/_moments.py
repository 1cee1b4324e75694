"""The time that a message tells."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import inf
from typing import TypeAlias

Moment: TypeAlias = int | str | datetime

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_BELOW_A_MICROSECOND = re.compile(r"\.\d{6}(\d{1,3})")


def nanoseconds(moment: Moment | None) -> int:
    """Nanoseconds since 1970 (UTC), exact: of an aware datetime, or of RFC 3339 text of up to nine digits of a second.

    An int is returned as it is.

    Raises:
        ValueError: It is no such text, or says no time zone.
        TypeError: It is of another type, such as None.
    """
    if isinstance(moment, int):
        return moment
    below = 0
    if isinstance(moment, str):
        # `fromisoformat` drops what is below a microsecond.
        found = _BELOW_A_MICROSECOND.search(moment)
        below = int(found[1].ljust(3, "0")) if found else 0
        moment = datetime.fromisoformat(moment)
    if not isinstance(moment, datetime):
        raise TypeError(f"no time: {moment!r}")
    if moment.tzinfo is None:
        raise ValueError(f"a time without a zone: {moment}")
    since = moment - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000 + below


def span_of(seconds: float) -> int:
    """Whole nanoseconds.

    Raises:
        ValueError: They are none, or are not finite.
    """
    if not 0 < seconds < inf or not (span := round(seconds * 1_000_000_000)):
        raise ValueError(f"must be positive: {seconds} s")
    return span
