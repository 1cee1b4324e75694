"""Order books in the chain: from what Coinbase sends of them to images of their best levels, at regular moments.

    messages   S u u . u h . h u C S u h        S snapshot, u update, h anything else, C the next connection
    moments    |       |     |     |     |      every `book_seconds`, by the time of receipt
    images             1     2         R 3      1 2 3 the book as it was, R it was begun anew

The images are a function of the frames of a connection and of nothing else, no clock included. So a restart that reads
these frames again, and an audit, make the same ones. Nothing is emitted but at a frame: a moment is over when a frame
is received after it, and heartbeats come every second.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal
from typing import TypeAlias

from loguru import logger

from operators import OrderBook
from rxbridge.coinbase.advanced.sequence import follow_numbers
from rxbridge.coinbase.decoding import decode
from rxbridge.errors import MalformedFrame
from rxbridge.events import EventRules
from rxbridge.events.cleaning import shorten
from rxbridge.journal import Journal
from rxbridge.levels import MOST_LEVELS
from rxbridge.messages import (
    OWN_CONNECTION,
    BookImage,
    BookSnapshot,
    BookUpdate,
    Frame,
    Message,
    Part,
)

CHANNEL = "level2"
"""The channel whose messages become books."""


_AHEAD = Part(count=2)
"""An image is told of before the message of the frame that it came with, so that frame is not done with it."""

_LONGEST_NUMBER = 100
"""Digits of a price or a size that are written out. Coinbase's have 16; `1e999999999` would have a thousand million."""

_TOLD = 300
"""Characters of what the log is told; a number that is none may be long."""

_MOST_BOOKS = 10_000
"""Coinbase has less than a thousand products."""

_Levels: TypeAlias = tuple[tuple[str, str], ...]

_OF_ANOTHER_KIND = re.compile(rb'\{"(?:type":"(?!l2update"|snapshot")|channel":"(?!l2_data"))[a-z0-9_]+"').match
"""The beginning of a frame that says that it is of no book."""


Unparsed: TypeAlias = Callable[[Frame, MalformedFrame], None]


class _Book:
    """One product's book, and what its last image has shown."""

    __slots__ = ("book", "changes", "is_reset", "shown", "was_crossed")

    def __init__(self) -> None:
        self.book = OrderBook()
        self.is_reset = True
        self.was_crossed = False
        self.shown: tuple[_Levels, _Levels] | None = None
        self.changes = 0  # since the levels were counted

    def apply_snapshot(self, snapshot: BookSnapshot) -> None:
        self.book.apply_snapshot(snapshot.bids, snapshot.asks)

    def apply_update(self, update: BookUpdate) -> None:
        changes = update.changes
        self.book.apply_update(changes)
        self._limit(len(changes))

    def _limit(self, changes: int) -> None:
        self.changes += changes
        if self.changes > MOST_LEVELS:
            # Counting takes a while, so it is not done at every update.
            self.changes = 0
            if len(self.book.bids()) + len(self.book.asks()) > MOST_LEVELS:
                raise ValueError(f"a book of more than {MOST_LEVELS} levels")


class Books:
    """The books of one connection after the other.

    Args:
        rules: Which images are made.

    Attributes:
        troubled: Is told of which product's book something is wrong, and what; of all, where the name is empty.
        is_whole: Whether the present connection was followed from its beginning, where the snapshots are.
    """

    def __init__(self, rules: EventRules) -> None:
        self.troubled: Callable[[str, str], None] = _pass_over
        self.is_whole = True
        self._depth = rules.book_depth
        self._interval = max(int(rules.book_seconds * 1e9), 1)
        self._books: dict[str, _Book] = {}
        self._changed: dict[str, None] = {}
        self._connection = 0
        self._sequence = -1
        self._moment = 0
        self._index = -1
        self._at = 0

    def read(self, frame: Frame, unparsed: Unparsed | None = None) -> list[Message]:
        """The images that are due at the next frame, one a product at most, and then its messages.

        Args:
            frame: The next one.
            unparsed: Is told if it cannot be read, and why; there are no messages then.
        """
        read: list[Message] = [*self._see(frame)]
        try:
            messages = decode(frame)
        except MalformedFrame as error:
            self._miss(frame)
            if unparsed is not None:
                unparsed(frame, error)
            return read
        for message in messages:
            if isinstance(message, (BookSnapshot, BookUpdate)) and frame.connection != OWN_CONNECTION:
                self._apply(message)
        read += messages
        return read

    def _see(self, frame: Frame) -> list[BookImage]:
        images: list[BookImage] = []
        if frame.connection != OWN_CONNECTION:
            moment = frame.received_at // self._interval
            if moment != self._moment:
                self._moment = moment
                images = self._due(frame)
            self._at = frame.received_at
            self._follow(frame)
        return images

    def _miss(self, frame: Frame) -> None:
        """Trust no book any more that this frame, which cannot be read, may have been of."""
        if self._books and frame.connection != OWN_CONNECTION and not _OF_ANOTHER_KIND(frame.data):
            self._discard()
            self.troubled("", "a frame cannot be read, so every book waits for its next snapshot")

    def _follow(self, frame: Frame) -> None:
        """Trust no book any more when frames may be missing from it."""
        if frame.connection != self._connection:
            self._connection, self._index, self._sequence = frame.connection, -1, -1
            self.is_whole = frame.index == 0
            self._discard()
        # By the index, what the journal had no room for shows as well: that was never given an offset.
        skipped = frame.index > self._index + 1
        self._index = frame.index
        self._sequence, lost = follow_numbers(self._sequence, frame.data)
        if (skipped or lost) and self._books:
            self._discard()
            self.troubled("", "frames were lost, so every book waits for its next snapshot")

    def _discard(self) -> None:
        self._books.clear()
        self._changed.clear()

    def _apply(self, message: BookSnapshot | BookUpdate) -> None:
        product = message.product_id
        if not product:
            if self._books:
                self._discard()
                self.troubled("", "a message does not say of which product it is, so every book waits for its snapshot")
            return
        try:
            if isinstance(message, BookSnapshot):
                if product not in self._books and len(self._books) >= _MOST_BOOKS:
                    raise ValueError(f"there are {_MOST_BOOKS} books already")  # noqa: TRY301 - told like the others
                kept = _Book()
                kept.apply_snapshot(message)
                self._books[product] = kept
            elif (kept := self._books.get(product)) is not None:
                kept.apply_update(message)
            else:
                return  # of a book that waits for its snapshot
        except (ValueError, TypeError) as error:
            self._give_up(product, error)
            return
        self._changed[product] = None

    def _give_up(self, product: str, error: Exception) -> None:
        self._books.pop(product, None)
        self._changed.pop(product, None)
        self.troubled(product, f"it cannot be followed, so it waits for its next snapshot: {error}")

    def _due(self, frame: Frame) -> list[BookImage]:
        changed, self._changed = self._changed, {}
        return [image for product in changed if (image := self._image(product, self._books[product], frame))]

    def _image(self, product: str, kept: _Book, frame: Frame) -> BookImage | None:
        bids, asks = kept.book.top(self._depth)
        try:
            levels = (
                tuple((_written(price), _written(size)) for price, size in bids),
                tuple((_written(price), _written(size)) for price, size in asks),
            )
        except ValueError as error:
            self._give_up(product, error)
            return None
        if levels == kept.shown:
            return None
        is_crossed = kept.book.is_crossed
        if is_crossed and not kept.was_crossed:
            self.troubled(product, f"it is crossed: {bids[0].price} is bid, and {asks[0].price} asked")
        image = BookImage(
            product_id=product,
            bids=levels[0],
            asks=levels[1],
            at=self._at,
            is_reset=kept.is_reset,
            is_crossed=is_crossed,
            frame=frame,
            part=_AHEAD,
        )
        kept.shown, kept.is_reset, kept.was_crossed = levels, False, is_crossed
        return image


def _written(number: Decimal) -> str:
    if abs(number.adjusted()) > _LONGEST_NUMBER or len(number.as_tuple().digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of more than {_LONGEST_NUMBER} digits")
    return f"{number:f}"


def _pass_over(_product: str, _text: str) -> None:
    """Who reads the journal again was told before."""


def log_trouble(product: str, text: str) -> None:
    """Tell the log what is wrong with a book."""
    logger.warning("[BOOK] {}: {}", shorten(product, _TOLD) or "all products", shorten(text, _TOLD))


def resumed(rules: EventRules, journal: Journal, after: int) -> Books:
    """The books as they were when everything up to an offset had been read, from the frames that the journal keeps.

    That takes the frames of the connection that the offset lies in. If the first of them is there no more, books whose
    snapshot is gone with it wait for the next one.

    Raises:
        JournalError: The journal cannot be read.
    """
    books = Books(rules)
    for frame in _of_connection(journal, after):
        books.read(frame)
    return books


def _of_connection(journal: Journal, until: int) -> Iterator[Frame]:
    """The frames, up to an offset, since the beginning of the connection by which the last of them came."""
    first = max(journal.size().first_offset, 1)  # an empty journal says 0
    line = next(iter(_connections(_backwards(journal, first, until))), None)
    if line is None:
        return
    # Frames of one connection stand together, but for those of our own.
    low, high = first, until
    while low < high:
        middle = (low + high) // 2
        found = next((frame for frame in _between(journal, middle, until) if frame.connection != OWN_CONNECTION), None)
        if found is None or found.connection == line:
            high = middle
        else:
            low = found.offset + 1
    yield from _between(journal, low, until)


def _backwards(journal: Journal, first: int, until: int) -> Iterator[Frame]:
    for offset in range(until, first - 1, -1):
        yield from journal.read(offset - 1, 1)


def _connections(frames: Iterable[Frame]) -> Iterator[int]:
    return (frame.connection for frame in frames if frame.connection != OWN_CONNECTION)


def _between(journal: Journal, first: int, until: int) -> Iterator[Frame]:
    after = first - 1
    while after < until and (frames := journal.read(after)):
        for frame in frames:
            if frame.offset > until:
                return
            yield frame
        after = frames[-1].offset
