"""When a request may come again, by the server's clock.

PulseStream counts events per fixed minute of its own clock, so that clock decides, not ours. The `Date` header tells it
to the second, rounded down: what is computed from it is up to a second late, never early.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

LONGEST_PAUSE_SECONDS = 3600.0
"""No `Retry-After` makes us wait longer: asking once an hour harms nobody, and a wrong header must not stop us."""

WINDOW_SECONDS = 60
"""PulseStream counts events in fixed minutes of its clock."""

RATE_LIMIT = "Rate limit exceeded"
"""How the text of a refusal begins."""

_TOLD = re.compile(RATE_LIMIT + r"\. Limit: ([0-9]{1,12}) events per ([0-9]{1,5}) seconds")


class Limit(msgspec.Struct, frozen=True):
    """A rate limit: `events` in each window of `seconds`, the windows beginning at multiples of it since the epoch."""

    events: int
    seconds: int


def told_limit(texts: Iterable[str]) -> Limit | None:
    """The limit that refusals tell: `Rate limit exceeded. Limit: 100 events per 60 seconds`; None if none does."""
    for text in texts:
        if told := _TOLD.match(text):
            limit = Limit(int(told[1]), int(told[2]))
            if limit.events and limit.seconds:
                return limit
    return None


def server_time(date: str | None, now: float) -> float:
    """The server's clock in Unix seconds, from its `Date` header; `now`, which is ours, where it tells nothing."""
    told = _http_date(date)
    return now if told is None else told


def resume_at(retry_after: str | None, date: str | None, now: float, window_seconds: int = WINDOW_SECONDS) -> float:
    """When to go on after the rate limit was reached, in Unix seconds of our clock.

    Args:
        retry_after: The header: seconds, or an HTTP date (RFC 9110, section 10.2.3). PulseStream itself sends none, and
            then it is the start of the next window.
        date: The `Date` header of the same answer.
        now: Our clock when the answer came, in Unix seconds.
        window_seconds: How long a window is.
    """
    there = server_time(date, now)
    value = (retry_after or "").strip()
    told = _http_date(value)
    if value.isascii() and value.isdecimal():
        pause = float(value)
    elif told is not None:
        pause = told - there
    else:
        pause = window_seconds - there % window_seconds
    return now + min(max(pause, 0.0), LONGEST_PAUSE_SECONDS)


def names_a_time(retry_after: str | None) -> bool:
    """Whether a `Retry-After` says when to come again."""
    value = (retry_after or "").strip()
    return (value.isascii() and value.isdecimal()) or _http_date(value) is not None


def _http_date(value: str | None) -> float | None:
    if not value:
        return None
    try:
        moment = parsedate_to_datetime(value)
        # "-0000" gives a naive time, which is UTC all the same.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
