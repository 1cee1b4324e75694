"""Reads the fields of a message, and notes each one that had to be replaced."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from math import isfinite, nan

from msgspec import UNSET, Raw, UnsetType

from rxbridge.events.cleaning import clean, instant, naive_utc, shorten, whole
from rxbridge.events.identity import UNKNOWN_PRODUCT
from rxbridge.events.raw import embeddable
from rxbridge.messages import Flag, Number

TEXT_LENGTH = 100
"""Characters of a text field that are kept. Coinbase's own have 36 at most."""

LEAD = timedelta(minutes=4)
"""How far an event may lie ahead of its receipt: the server refuses five minutes, by its own clock."""

_FLAGS = {"true": True, "yes": True, "false": False, "no": False}

_EARLIEST = datetime(1970, 1, 1)  # noqa: DTZ001 - PulseStream takes naive times only


class Reader:
    """Reads the fields of one message, given their names on the wire."""

    __slots__ = ("_raw", "_replaced")

    def __init__(self, *, raw: bool = True) -> None:
        """Begin with a message.

        Args:
            raw: Whether the frame is to be embedded at all.
        """
        self._raw = raw
        self._replaced: list[str] = []

    def invalid_fields(self) -> tuple[str, ...] | UnsetType:
        """The fields that could not be taken as they were, in the order of reading; unset if all could."""
        return tuple(dict.fromkeys(self._replaced)) if self._replaced else UNSET

    def product(self, value: str | None) -> str:
        """The product id, as text; "UNKNOWN" where there is none."""
        product = self.text("product_id", value)
        if not product:
            self._replaced.append("product_id")
            return UNKNOWN_PRODUCT
        return product

    def number(self, name: str, value: Number) -> float:
        """The number; 0.0 where there is none, or one that is not finite or beyond a float."""
        try:
            number = nan if value is None or isinstance(value, bool) else float(value)
        except (ValueError, OverflowError):
            number = nan
        if isfinite(number):
            return number
        self._replaced.append(name)
        return 0.0

    def number_if_any(self, name: str, value: Number) -> float | UnsetType:
        """The number, likewise; unset where there is none at all."""
        return UNSET if value is None else self.number(name, value)

    def flag_if_any(self, name: str, value: Flag) -> bool | UnsetType:
        """The yes or no, which may be text; unset where there is none at all, or something else."""
        if value is None or isinstance(value, bool):
            return UNSET if value is None else value
        flag = _FLAGS.get(value) if isinstance(value, str) else None
        if flag is None:
            self._replaced.append(name)
            return UNSET
        return flag

    def whole(self, name: str, value: Number, *, minimum: int) -> int | None:
        """The integer; None where there is none, which is noted only if there was something else."""
        number = whole(value, minimum=minimum)
        if number is None and value is not None:
            self._replaced.append(name)
        return number

    def text(self, name: str, value: str | None) -> str | None:
        """The text, cleaned and shortened to 100 characters."""
        if value is None:
            return None
        text = clean(shorten(value, TEXT_LENGTH))
        if text != value:
            self._replaced.append(name)
        return text

    def time(self, name: str, value: str | None, received_at: int) -> datetime:
        """The time, in naive UTC; the time of receipt where there is none, or one that cannot be.

        One before 1970 cannot be (Go's zero time is of the year 1), nor one more than four minutes after the receipt:
        the server refuses five.
        """
        time = instant(value)
        if time is None or not _EARLIEST <= time <= _latest(received_at // 1_000_000_000):
            self._replaced.append(name)
            return naive_utc(received_at)
        return time

    def epoch(self, name: str, value: Number, received_at: int) -> datetime:
        """Seconds since the Unix epoch, likewise."""
        try:
            time = None if value is None else _EARLIEST + timedelta(seconds=float(value))
        except (ValueError, OverflowError):
            time = None
        return self.time(name, None if time is None else time.isoformat(), received_at)

    def raw(self, name: str, data: bytes) -> Raw | UnsetType:
        """The frame to be embedded; unset if it is not to be."""
        if not self._raw:
            return UNSET
        embedded = embeddable(data)
        if embedded is not data:
            self._replaced.append(name)
        return Raw(embedded)


@lru_cache(maxsize=64)
def _latest(received_second: int) -> datetime:
    return naive_utc(received_second * 1_000_000_000) + LEAD
