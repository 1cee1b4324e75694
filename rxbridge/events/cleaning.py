"""Values from the wire to values that PulseStream takes.

What the server refuses, or chokes on, was observed on the real one: NUL, half a surrogate pair, NaN, Infinity, numbers
that a parser turns into Infinity, integers of thousands of digits, nesting without end, overlong text, and times that
carry a zone or lie more than five minutes ahead. One such event in a batch makes it refuse the whole batch.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from math import isfinite

from rxbridge.messages import Number

_UNFIT = re.compile("[\0\ud800-\udfff]")
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - PulseStream takes naive times only
_EXACT = Context(prec=40, traps=[])  # of our own: the thread's context is the user's
_LARGEST_WHOLE = 2**63 - 1


def whole(value: Number, *, minimum: int) -> int | None:
    """The value as an integer of at most 64 bits; None for what is none, or less than `minimum`."""
    if isinstance(value, str):
        number = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else None  # noqa: PLR2004
    elif isinstance(value, float):
        number = int(value) if value.is_integer() else None
    else:
        number = None if isinstance(value, bool) else value
    return number if number is not None and minimum <= number <= _LARGEST_WHOLE else None


def difference(minuend: Number, subtrahend: Number) -> float:
    """What two finite numbers differ by, computed in decimals: 14.8060 - 14.7550 is 0.051. It may be beyond a float."""
    return float(_EXACT.subtract(_decimal(minuend), _decimal(subtrahend)))


def multiplied(a: Number, b: Number) -> float:
    """The product of two finite numbers, computed in decimals; it may be beyond a float."""
    return float(_EXACT.multiply(_decimal(a), _decimal(b)))


def finite(number: float) -> float | None:
    """The number; None where it is beyond a float."""
    return number if isfinite(number) else None


def _decimal(value: Number) -> Decimal:
    return Decimal(str(value))


def instant(value: str | None) -> datetime | None:
    """An ISO 8601 time as naive UTC, cut to microseconds; None if it is none. Without a zone it is taken as UTC."""
    if value is None:
        return None
    try:
        time = datetime.fromisoformat(value.removesuffix("Z"))
        if time.tzinfo is None:
            return time
        return None if value.endswith("Z") else time.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        return None


def naive_utc(nanoseconds: int) -> datetime:
    """Nanoseconds since the Unix epoch as naive UTC."""
    return _EPOCH + timedelta(0, 0, nanoseconds // 1000)


def clean(text: str) -> str:
    """Text with U+FFFD for every NUL and every half of a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return text
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}", text)


def shorten(text: str, length: int) -> str:
    """Text of at most `length` characters; an ellipsis stands for what was cut off."""
    return text if len(text) <= length else text[: length - 1] + "…"
