"""What Coinbase sends of order books, in parts that an event can hold.

A snapshot may have 46,000 levels and 5 MB, and PulseStream takes 10 MiB of payload, measured in its own, wider JSON. So
it travels in parts of 5,000 levels. They depend on the frame alone: a restart, an audit and a repair make the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

import msgspec

from rxbridge.errors import MalformedFrame
from rxbridge.events.rebuilding import checksum
from rxbridge.messages import BookPart, BookSnapshot, BookUpdate, Frame, Message, Part

PART_LEVELS: Final = 5_000
"""Levels of one part. With the longest numbers that are taken that is 1.1 MB of JSON with spaces, mostly 0.2 MB."""

_LONGEST_NUMBER: Final = 100
_NUMBER = re.compile(rf"(?=.{{1,{_LONGEST_NUMBER}}}$)-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?", re.ASCII).fullmatch

_BIDS: Final = frozenset({"buy", "bid"})
_ASKS: Final = frozenset({"sell", "offer"})

_Level: TypeAlias = tuple[str, str]


def in_parts(frame: Frame, messages: Sequence[Message]) -> list[Message]:
    """The messages of a frame, with the parts of each snapshot and update of a book in its place.

    Args:
        frame: The frame.
        messages: All that it holds.

    Raises:
        MalformedFrame: The levels of a book are not there or out of shape, or it has no product.
    """
    split: list[Message] = []
    for index, message in enumerate(messages):
        if isinstance(message, (BookSnapshot, BookUpdate)):
            try:
                split += _parts(message, index)
            except ValueError as error:
                raise MalformedFrame(frame.data, str(error)) from error
        else:
            split.append(message)
    return [_placed(message, place, len(split)) for place, message in enumerate(split)]


def _parts(message: BookSnapshot | BookUpdate, index: int) -> Iterator[BookPart]:
    if not message.product_id:
        raise ValueError("it does not say of which product it is")
    bids, asks = _sides(message)
    levels = len(bids) + len(asks)
    chunks = max(-(-levels // PART_LEVELS), 1)
    for chunk in range(chunks):
        first, last = chunk * PART_LEVELS, (chunk + 1) * PART_LEVELS
        is_last = chunk == chunks - 1
        yield BookPart(
            frame=message.frame,
            part=message.part,
            product_id=message.product_id,
            kind="snapshot" if isinstance(message, BookSnapshot) else "update",
            message=index,
            chunk=chunk,
            chunks=chunks,
            bids=tuple(bids[first:last]),
            asks=tuple(asks[max(first - len(bids), 0) : max(last - len(bids), 0)]),
            time=message.time,
            levels=levels if is_last else None,
            checksum=checksum(bids, asks) if is_last else None,
        )


def _sides(message: BookSnapshot | BookUpdate) -> tuple[list[_Level], list[_Level]]:
    """Bids and asks, of which each number is one."""
    if isinstance(message, BookSnapshot):
        bids, asks = list(message.bids), list(message.asks)
    else:
        bids, asks = list[_Level](), list[_Level]()
        for side, price, size in message.changes:
            if side not in _BIDS | _ASKS:
                raise ValueError(f"there is no side {side[:_LONGEST_NUMBER]!r}")
            (bids if side in _BIDS else asks).append((price, size))
    for levels in (bids, asks):
        for price, size in levels:
            if not (_NUMBER(price) and _NUMBER(size)):
                raise ValueError("a level of it is none")
    return bids, asks


def _placed(message: Message, place: int, count: int) -> Message:
    """The message as one of so many of its frame; one that is the only one stays what it is."""
    if not isinstance(message, BookPart) or count == 1:
        return message
    return msgspec.structs.replace(message, part=Part(message.part.feed, place, count))
