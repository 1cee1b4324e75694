"""For whoever reads PulseStream: order books from the parts in which they travel with `events.book = "full"`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, TypeAlias, cast

from operators import OrderBook

Payload: TypeAlias = Mapping[str, Any]
"""The payload of an event that is a part of a book: `custom_data` of what PulseStream's search answers."""

Levels: TypeAlias = Iterable[tuple[str, str]]
"""Levels of (price, size)."""


def checksum(bids: Levels, asks: Levels) -> str:
    """The checksum of levels: the SHA-256 of a line for each, `bid 9.5 1.25` or `ask 10 2`, in 64 hexadecimal digits.

    The bids come first, each side in the order of its parts, and every line ends in a line feed.
    """
    digest = hashlib.sha256()
    for side, levels in (("bid", bids), ("ask", asks)):
        digest.update("".join([f"{side} {price} {size}\n" for price, size in levels]).encode())
    return digest.hexdigest()


def rebuilt_books(
    payloads: Iterable[Payload], *, troubled: Callable[[str, str], object] | None = None
) -> dict[str, OrderBook]:
    """The books, by product, after all of these parts.

    Snapshots and updates are applied in the order in which their frames came; a connection that was opened later goes
    over one that was opened before. One of which a part is missing, or whose checksum is another, is not applied, and
    its book is not there any more until the next snapshot of the same connection.

    Args:
        payloads: The parts, in any order.
        troubled: Is told of which product's book something is wrong, and what.
    """
    books: dict[tuple[int, str], OrderBook] = {}
    for (connection, *_), parts in groupby(sorted(payloads, key=_place), key=lambda payload: _place(payload)[:3]):
        message = list(parts)
        about = (connection, str(message[0]["product_id"]))
        problem = _problem(message)
        if problem:
            books.pop(about, None)
            if troubled is not None:
                troubled(about[1], problem)
            continue
        bids, asks = _levels(message, "bids"), _levels(message, "asks")
        if message[0]["kind"] == "snapshot":
            books[about] = OrderBook()
            books[about].apply_snapshot(bids, asks)
        elif about in books:
            changes = [("bid", *level) for level in bids] + [("offer", *level) for level in asks]
            books[about].apply_update(changes)
    return {product: book for (_, product), book in sorted(books.items(), key=lambda item: item[0])}


def _place(payload: Payload) -> tuple[int, int, int, int]:
    """Where a part came, by which they are put in order."""
    return (int(payload["connection"]), payload["frame"], payload["message"], payload["chunk"])


def _levels(parts: list[Payload], side: str) -> list[tuple[str, str]]:
    return [(price, size) for part in parts for price, size in cast("Levels", part[side])]


def _problem(parts: list[Payload]) -> str:
    """Why these are not all parts of one message; empty if they are."""
    chunks = parts[-1]["chunks"]
    if [part["chunk"] for part in parts] != list(range(chunks)) or not parts[-1]["is_complete"]:
        return f"{len(parts)} of {chunks} parts are there"
    bids, asks = _levels(parts, "bids"), _levels(parts, "asks")
    if len(bids) + len(asks) != parts[-1]["levels"] or checksum(bids, asks) != parts[-1]["checksum"]:
        return "its parts do not have its checksum"
    return ""
