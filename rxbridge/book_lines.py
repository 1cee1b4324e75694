"""What is kept of the books of one connection, and what was shown of a product."""

from __future__ import annotations

from typing import Final, TypeAlias

from operators import OrderBook
from rxbridge.levels import MOST_LEVELS
from rxbridge.messages import BookSnapshot, BookUpdate, Frame

STALE_NANOSECONDS: Final = 10 * 10**9
"""A trade changes the book at once, and Coinbase tells of that within 0.05 s. So a book without an update for so long
after a trade, with another trade since, has lost some; and one that is only updated for so long, its snapshot."""

Levels: TypeAlias = tuple[tuple[str, str], ...]
"""Price and size, as they are shown."""


class LineBook:
    """One product's book, as one connection brings it."""

    __slots__ = ("book", "changes", "traded_at")

    def __init__(self) -> None:
        self.book: OrderBook = OrderBook()
        self.changes: int = 0  # since the levels were counted
        self.traded_at: int = 0  # when the first trade was received since the last update

    def apply_snapshot(self, snapshot: BookSnapshot) -> None:
        """Begin anew.

        Raises:
            ValueError: It cannot be read, or is too large; likewise below.
            TypeError: Likewise.
        """
        self.book.apply_snapshot(snapshot.bids, snapshot.asks)

    def apply_update(self, update: BookUpdate) -> None:
        """Change it."""
        changes = update.changes
        self.traded_at = 0
        self.book.apply_update(changes)
        self._limit(len(changes))

    def is_stale(self, now: int) -> bool:
        """Take note of a trade; whether it is the second one without an update, long after the first."""
        if not self.traded_at:
            self.traded_at = now
        if now - self.traded_at <= STALE_NANOSECONDS:
            return False
        self.traded_at = now
        return True

    def _limit(self, changes: int) -> None:
        self.changes += changes
        if self.changes > MOST_LEVELS:
            # Counting takes a while, so it is not done at every update.
            self.changes = 0
            if len(self.book.bids()) + len(self.book.asks()) > MOST_LEVELS:
                raise ValueError(f"a book of more than {MOST_LEVELS} levels")


class Line:
    """One of the connections that are kept up at the same time, and the books that it brings."""

    __slots__ = ("at", "books", "connection", "index", "is_whole", "sequence", "waiting")

    def __init__(self, frame: Frame) -> None:
        self.connection: int = frame.connection
        self.books: dict[str, LineBook] = {}
        self.is_whole: bool = frame.index == 0
        self.index: int = -1
        self.sequence: int = -1
        self.at: int = frame.received_at
        self.waiting: dict[str, int] = {}  # since when books are only updated, and have no snapshot

    def waits_too_long(self, product: str) -> bool:
        """Take note of an update of a book that has no snapshot; whether it has waited for that for long."""
        if self.at - self.waiting.setdefault(product, self.at) <= STALE_NANOSECONDS:
            return False
        self.waiting[product] = self.at
        return True


class Shown:
    """What the last image of a product has shown, since its book was begun."""

    __slots__ = ("is_reset", "levels", "was_crossed")

    def __init__(self) -> None:
        self.is_reset: bool = True
        self.levels: tuple[Levels, Levels] | None = None
        self.was_crossed: bool = False
