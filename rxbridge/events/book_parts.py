"""The events that are parts of what Coinbase sent of a book."""

from __future__ import annotations

from typing import Literal

import msgspec

from rxbridge.channels import FeedName
from rxbridge.messages import BookPart


class BookPartMetrics(msgspec.Struct, frozen=True, gc=False):
    """The server demands the two; a socket has neither."""

    response_time_ms: float
    status_code: int


class BookPartPayload(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A part of a snapshot, or of an update, of an order book.

    Attributes:
        kind: Whether the levels of all parts are all that there are, or those that have changed: a size is absolute,
            and zero removes the level.
        connection: The connection by which it came, in decimal digits; one that was opened later has the larger number.
        frame: The place of its frame on that connection, from 0.
        message: The place of the message in that frame, from 0.
        chunk: Which part of the message it is, from 0.
        chunks: How many there are.
        bids: Price and size, exactly as Coinbase wrote them.
        asks: Likewise.
        is_complete: True on the last part.
        levels: On the last part: how many levels all parts have; else null.
        checksum: On the last part: the SHA-256 of the levels of all parts, in hexadecimal digits; else null.
        time: What Coinbase says, as it came; null where it does not.
        feed: `advanced` if it came by Advanced Trade; absent otherwise.
    """

    product_id: str
    kind: Literal["snapshot", "update"]
    connection: str
    frame: int
    message: int
    chunk: int
    chunks: int
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]
    is_complete: bool
    levels: int | None
    checksum: str | None
    time: str | None
    feed: FeedName | msgspec.UnsetType = msgspec.UNSET


def book_part_payload(part: BookPart, product: str, time: str | None) -> BookPartPayload:
    """The payload of a part.

    Args:
        part: The part.
        product: Its product, as PulseStream takes it.
        time: Its time, likewise.
    """
    return BookPartPayload(
        product_id=product,
        kind=part.kind,
        connection=str(part.frame.connection),
        frame=part.frame.index,
        message=part.message,
        chunk=part.chunk,
        chunks=part.chunks,
        bids=part.bids,
        asks=part.asks,
        is_complete=part.checksum is not None,
        levels=part.levels,
        checksum=part.checksum,
        time=time,
        feed="advanced" if part.part.feed == "advanced" else msgspec.UNSET,
    )


def book_part_text(payload: BookPartPayload) -> str:
    """What is said of it in words."""
    levels = len(payload.bids) + len(payload.asks)
    part = f"part {payload.chunk + 1} of {payload.chunks}"
    return f"Order book of {payload.product_id}: {payload.kind}, {part}, {levels} levels"
