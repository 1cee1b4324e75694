"""The frames of Advanced Trade, field by field as they were received from wss://advanced-trade-ws.coinbase.com in 2026.

A frame is numbered only when it is known to whom it goes: each connection counts for itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

_encode = msgspec.json.Encoder().encode

_NUMBER = re.compile(rb'("sequence_num"\s*:\s*)\d+')


class Unnumbered(NamedTuple):
    """A frame without the number that stands between its two parts."""

    head: bytes
    tail: bytes

    def numbered(self, number: int) -> bytes:
        """The frame."""
        return b"%b%d%b" % (self.head, number, self.tail)


def frame(channel: str, time_ns: int, events: Sequence[Any]) -> Unnumbered:
    """A frame of these events, sent at this time: nanoseconds since the Unix epoch."""
    return Unnumbered(
        b'{"channel":%b,"timestamp":"%b","sequence_num":' % (_encode(channel), timestamp(time_ns).encode()),
        b',"events":%b}' % _encode(events),
    )


def without_number(data: bytes) -> Unnumbered:
    """A recorded frame, to be numbered anew; every other byte stays.

    Raises:
        ValueError: It has no number.
    """
    found = _NUMBER.search(data)
    if found is None:
        raise ValueError("the frame has no sequence_num")
    return Unnumbered(data[: found.end(1)], data[found.end() :])


def subscriptions(acknowledged: dict[str, list[str]], time_ns: int) -> Unnumbered:
    """The acknowledgement: products by channel, all that is subscribed."""
    return frame("subscriptions", time_ns, [{"subscriptions": acknowledged}])


def heartbeat(counter: int, uptime_ns: int, time_ns: int) -> Unnumbered:
    """A heartbeat; the server counts them, and tells the time in the words of Go.

    Args:
        counter: How many the server has sent.
        uptime_ns: For how long it has been running, in nanoseconds.
        time_ns: The time, in nanoseconds since the Unix epoch.
    """
    seconds, rest = divmod(uptime_ns, 1_000_000_000)
    current_time = f"{_spelled(time_ns, ' ')} +0000 UTC m=+{seconds}.{rest:09d}"
    return frame("heartbeats", time_ns, [{"current_time": current_time, "heartbeat_counter": counter}])


def timestamp(time_ns: int) -> str:
    """A UTC time to the nanosecond, without the zeros that end the fraction."""
    return f"{_spelled(time_ns, 'T')}Z"


def _spelled(time_ns: int, separator: str) -> str:
    seconds, rest = divmod(time_ns, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{_to_the_second(seconds, separator)}{fraction}"


@lru_cache(maxsize=4)
def _to_the_second(seconds: int, separator: str) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime(f"%Y-%m-%d{separator}%H:%M:%S")
