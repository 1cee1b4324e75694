"""When a request may come again, by the server's clock.

PulseStream counts events per fixed minute of its own clock, so that clock decides, not ours. The `Date` header tells it
to the second, rounded down: what is computed from it is up to a second late, never early.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime

LONGEST_PAUSE_SECONDS = 3600.0
"""No `Retry-After` makes us wait longer: asking once an hour harms nobody, and a wrong header must not stop us."""

_WINDOW_SECONDS = 60


def server_time(date: str | None, now: float) -> float:
    """The server's clock in Unix seconds, from its `Date` header; `now`, which is ours, where it tells nothing."""
    told = _http_date(date)
    return now if told is None else told


def resume_at(retry_after: str | None, date: str | None, now: float) -> float:
    """When to go on after the rate limit was reached, in Unix seconds of our clock.

    Args:
        retry_after: The header: seconds, or an HTTP date (RFC 9110, section 10.2.3). PulseStream itself sends none, and
            then it is the start of the next minute.
        date: The `Date` header of the same answer.
        now: Our clock when the answer came, in Unix seconds.
    """
    there = server_time(date, now)
    value = (retry_after or "").strip()
    told = _http_date(value)
    if value.isascii() and value.isdecimal():
        pause = float(value)
    elif told is not None:
        pause = told - there
    else:
        pause = _WINDOW_SECONDS - there % _WINDOW_SECONDS
    return now + min(max(pause, 0.0), LONGEST_PAUSE_SECONDS)


def _http_date(value: str | None) -> float | None:
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # "-0000" gives a naive time, which is UTC all the same.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
