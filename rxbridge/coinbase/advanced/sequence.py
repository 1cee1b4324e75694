"""The number that Advanced Trade gives to each frame of a connection, from 0: a jump says that frames were lost.

It counts over all channels, acknowledgements and heartbeats (seen, and
https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview); errors have none.
"""

from __future__ import annotations

import re

_HEAD_BYTES = 256
"""It stands before the events, which may be megabytes."""

_NUMBER = re.compile(rb'"sequence_num":(\d{1,18})[,}]').search


_MOST_LOST = 1_000_000
"""A number that is further ahead is not believed: after it, no loss of the connection would be noticed any more."""


def follow_numbers(newest: int, data: bytes) -> tuple[int, int]:
    """The newest number after one more frame of a connection, and how many frames were lost just before it.

    A frame without a number, with one that was there before, or with an absurd one, says nothing.

    Args:
        newest: The newest number so far; -1 before the first.
        data: The frame.
    """
    number = sequence_num(data)
    if number is None or number <= newest or (newest >= 0 and number - newest > _MOST_LOST):
        return newest, 0
    return number, number - newest - 1


def sequence_num(data: bytes) -> int | None:
    """The number of a frame; None for one that has none where it belongs, such as a frame of the Exchange feed."""
    if not data.startswith(b'{"channel":'):
        return None
    found = _NUMBER(data[:_HEAD_BYTES])
    return None if found is None else int(found[1])
