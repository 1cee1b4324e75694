"""For whoever reads PulseStream: order books from the parts in which they travel with `events.book = "full"`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any, TypeAlias, cast

from operators import OrderBook
from rxbridge.messages import line_of

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
    over one that was opened before, and ends that of the same line, with all its books. A message of which a part is
    missing, or whose checksum is another, is not applied, and its book is not there any more until the next snapshot
    of the same connection; nor is one before its first snapshot.

    A message that is missing as a whole is not noticed, as nothing in a part points to the one before, unless the book
    is crossed without it.

    Args:
        payloads: The parts, in any order.
        troubled: Is told of which product's book something is wrong, and what.
    """
    tell = troubled or _pass_over
    lines: dict[int, _LineBooks] = {}
    for (connection, *_), parts in groupby(sorted(payloads, key=_place), key=lambda payload: _place(payload)[:3]):
        line = lines.get(line_of(connection))
        if line is None or line.connection != connection:
            line = lines[line_of(connection)] = _LineBooks(connection)
        line.apply(list(parts), tell)
    # The newest goes over the others.
    return {
        product: book
        for line in sorted(lines.values(), key=lambda line: line.connection)
        for product, book in line.books.items()
    }


class _LineBooks:
    """The books that the newest connection of a line has brought."""

    def __init__(self, connection: int) -> None:
        self.connection = connection
        self.books: dict[str, OrderBook] = {}
        self._waiting: set[str] = set()  # of which it was told why they are not there
        self._crossed: set[str] = set()

    def apply(self, message: list[Payload], tell: Callable[[str, str], object]) -> None:
        """Apply a message, of which these are the parts that are there."""
        product = str(message[0]["product_id"])
        is_snapshot = message[0]["kind"] == "snapshot"
        problem = _problem(message)
        if not (problem or is_snapshot or product in self.books or product in self._waiting):
            problem = "it has updates and no snapshot"
        if problem:
            self.books.pop(product, None)
            self._crossed.discard(product)
            self._waiting.add(product)
            tell(product, problem)
            return
        bids, asks = _levels(message, "bids"), _levels(message, "asks")
        if is_snapshot:
            self._waiting.discard(product)
            self.books[product] = OrderBook()
            self.books[product].apply_snapshot(bids, asks)
        elif product in self.books:
            changes = [("bid", *level) for level in bids] + [("offer", *level) for level in asks]
            self.books[product].apply_update(changes)
        self._look_at(product, tell)

    def _look_at(self, product: str, tell: Callable[[str, str], object]) -> None:
        if product not in self.books or not self.books[product].is_crossed:
            self._crossed.discard(product)
        elif product not in self._crossed:
            self._crossed.add(product)
            tell(product, "it is crossed, so something of it is missing")


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


def _pass_over(_product: str, _problem: str) -> None:
    """Nobody wants to know."""
