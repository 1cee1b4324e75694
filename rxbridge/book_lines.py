"""What is kept of the books of one connection, what was shown of a product, and which images are surely the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, TypeAlias

from operators import OrderBook
from rxbridge.levels import MOST_LEVELS
from rxbridge.messages import BookImage, BookSnapshot, BookUpdate, Frame

STALE_NANOSECONDS: Final = 10 * 10**9
"""A trade changes the book at once, and Coinbase tells of that within 0.05 s. So a book without an update for so long
after a trade, with another trade since, has lost some; and one that is only updated for so long, its snapshot."""

MOST_BOOKS: Final = 10_000
"""Coinbase has less than a thousand products."""

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

    __slots__ = ("at", "books", "connection", "index", "is_partial", "is_whole", "sequence", "settled", "waiting")

    def __init__(self, frame: Frame, *, is_partial: bool = False) -> None:
        self.connection: int = frame.connection
        self.is_partial: bool = is_partial  # it may have brought books before, which are not known here
        self.settled: set[str] = set()  # those that are, of a partial one, as their snapshots have come since
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

    def settle(self, product: str) -> None:
        """Take note of a snapshot: whether there was a book before is of no account any more."""
        if self.is_partial and len(self.settled) < MOST_BOOKS:
            self.settled.add(product)

    def is_settled(self, product: str) -> bool:
        """Whether it is known if it has this book."""
        return not self.is_partial or product in self.settled


class Shown:
    """What the last image of a product has shown, since its book was begun."""

    __slots__ = ("is_reset", "levels", "was_crossed")

    def __init__(self) -> None:
        self.is_reset: bool = True
        self.levels: tuple[Levels, Levels] | None = None
        self.was_crossed: bool = False


class Certainty:
    """Which images that are made once more are sure to be those that were made when the frames were read at first.

        kept              |--------------------      the frames before are there no more
        line 0       S u u|u  u  u  C  S  u  u       S snapshot, u update, C the next connection
        line 1       S u u|u  S  u  u  u  u  u
        sure                               ----

    Who begins in the middle of a connection does not know the books that it brought before, and so not of which line an
    image was, nor what the one before it had shown. That is over for a book when each line has had another connection,
    or a snapshot of it, and its levels were looked at once since: from then on both have shown the same.

    Args:
        silent_nanoseconds: A line of which nothing was heard for so long has no books.

    Attributes:
        unjudged: How many images there may have been, a moment and a product each, of which nobody can say so.
    """

    def __init__(self, silent_nanoseconds: int) -> None:
        self.unjudged: int = 0
        self._silent_nanoseconds = silent_nanoseconds
        self._offset = 0
        self._began_at = 0
        self._knows_lines = True
        self._alike: set[str] = set()
        self._vague: dict[str, None] = {}

    def breaks_off(self, frame: Frame) -> bool:
        """Whether frames before this one are there no more, so that nothing is known of any line."""
        before, self._offset = self._offset, frame.offset
        if frame.offset <= before + 1:
            return False
        self._began_at, self._knows_lines = 0, False
        self._alike.clear()
        self._vague.clear()
        return True

    def is_partial(self, frame: Frame) -> bool:
        """Whether a line of which this is the first frame that is read may have had books before."""
        return frame.index > 0 and not self._knows_lines

    def follow(self, frame: Frame) -> None:
        """Take note of a frame of a line: one that is not heard of for long has, by then, no books any more."""
        self._began_at = self._began_at or frame.received_at
        if frame.received_at - self._began_at > self._silent_nanoseconds:
            self._knows_lines = True

    def wait(self, line: Line, product: str) -> None:
        """An update came of a book that a line does not have, as far as is known here."""
        if not line.is_settled(product) and len(self._vague) < MOST_BOOKS:
            self._vague[product] = None

    def begin(self, product: str, others: Collection[Line]) -> None:
        """A book begins with a snapshot, and nothing was shown of it, if no other line has it."""
        if self._knows(product, others):
            self._alike.add(product)

    def sure(
        self, images: Sequence[BookImage], *, looked_at: Collection[str], lines: Collection[Line], counts: bool
    ) -> list[BookImage]:
        """Those of the images of a moment that are sure to have been made.

        Args:
            images: All that are made of what is known here.
            looked_at: The products whose levels were compared with what was shown.
            lines: The lines that there are.
            counts: Whether images are made of books at all.
        """
        sure = [image for image in images if image.product_id in self._alike]
        if counts:
            self.unjudged += len({*looked_at, *self._vague} - self._alike)
        self._vague.clear()
        self._alike.update(product for product in looked_at if self._knows(product, lines))
        return sure

    def _knows(self, product: str, lines: Collection[Line]) -> bool:
        return self._knows_lines and all(line.is_settled(product) for line in lines)
