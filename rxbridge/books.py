"""Order books in the chain: from what Coinbase sends of them to images of their best levels, at regular moments.

    messages   S u u . u h . h u C S u h        S snapshot, u update, h anything else, C the next connection
    moments    |       |     |     |     |      every `book_seconds`, by the time of receipt
    images             1     2         R 3      1 2 3 the book as it was, R it was begun anew

The images are a function of the frames of the connections and of nothing else, no clock included. So a restart that
reads these frames again, and an audit, make the same ones. Nothing is emitted but at a frame: a moment is over when a
frame is received after it, and heartbeats come every second.

Where several connections bring the same book, each has its own, and an image is of one of them: of the first line that
is not behind. A book is begun anew, to whoever sees the images, only when no line has it any more.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TypeAlias

from loguru import logger

from rxbridge.book_lines import MOST_BOOKS, Certainty, Line, LineBook, Shown
from rxbridge.book_parts import in_parts
from rxbridge.coinbase.advanced.sequence import follow_numbers
from rxbridge.coinbase.decoding import decode, is_of_no_book
from rxbridge.errors import MalformedFrame
from rxbridge.events import EventRules, Rules
from rxbridge.events.cleaning import shorten
from rxbridge.journal import Journal
from rxbridge.journal.connections import frames_of_connections
from rxbridge.messages import (
    OWN_CONNECTION,
    BookImage,
    BookSnapshot,
    BookUpdate,
    Frame,
    LastTrade,
    Message,
    Part,
    Trade,
    line_of,
)

CHANNEL = "level2"
"""The channel whose messages become books."""


_AHEAD = Part(count=2)
"""An image is told of before the message of the frame that it came with, so that frame is not done with it."""

_LONGEST_NUMBER = 100
"""Digits of a price or a size that are written out. Coinbase's have 16; `1e999999999` would have a thousand million."""

_TOLD = 300
"""Characters of what the log is told; a number that is none may be long."""

SILENT_NANOSECONDS = 10 * 10**9
"""The books of a line are dropped that brings nothing for so long beside another one. Heartbeats come each second."""

_BEHIND = 2 * 10**9
_TOGETHER = 10**9

Unparsed: TypeAlias = Callable[[Frame, MalformedFrame], None]

Doubted: TypeAlias = Callable[[int, str, int], None]
"""Is given a connection, a product, empty for all, and the place on that connection of the frame that is to blame."""


class Books:
    """The books of all connections.

    Args:
        rules: Which images are made, or whether there are parts instead, at which frame.
        once_more: Whether the frames were read before, and older ones may be there no more. Then there are only those
            images that are sure to be the same as at that time; see `Certainty`.

    Attributes:
        troubled: Is told of which product's book something is wrong, and what; of all, where the name is empty.
        doubted: Is told likewise, by place: a snapshot would put it right.
    """

    def __init__(self, rules: Rules, *, once_more: bool = False) -> None:
        self.troubled: Callable[[str, str], None] = _pass_over
        self.doubted: Doubted = _pass_over
        self._rules = rules
        self._now: EventRules = rules.at(0)
        self._lines: dict[int, Line] = {}
        self._shown: dict[str, Shown] = {}
        self._changed: dict[str, None] = {}
        self._moment = 0  # when it began
        self._at = 0
        self._certainty = Certainty(SILENT_NANOSECONDS + _TOGETHER) if once_more else None

    @property
    def unjudged(self) -> int:
        """How many images may have been made before, of which that cannot be found out by what is read once more."""
        return 0 if self._certainty is None else self._certainty.unjudged

    @property
    def is_whole(self) -> bool:
        """Whether the present connections were followed from their beginnings, where the snapshots are."""
        return all(line.is_whole for line in self._lines.values())

    def read(self, frame: Frame, unparsed: Unparsed | None = None) -> list[Message]:
        """The images that are due at the next frame, one a product at most, and then its messages.

        If whole books are wanted, there are no images, and in the place of what Coinbase sends of books its parts.

        Args:
            frame: The next one.
            unparsed: Is told if it cannot be read, and why; there are no messages then.
        """
        self._keep_rules(self._rules.at(frame.offset))
        in_parts_now = self._now.book == "full"
        read: list[Message] = [*self._see(frame)]
        try:
            messages = decode(frame)
        except MalformedFrame as error:
            self._miss(frame)
            if unparsed is not None:
                unparsed(frame, error)
            return [] if in_parts_now else read
        for message in messages:
            if frame.connection == OWN_CONNECTION:
                continue
            if isinstance(message, (BookSnapshot, BookUpdate)):
                self._apply(self._lines[line_of(frame.connection)], message)
            elif isinstance(message, Trade) and not isinstance(message, LastTrade):
                self._hear_trade(self._lines[line_of(frame.connection)], message)
        if not in_parts_now:
            return [*read, *messages]
        try:
            return in_parts(frame, messages)
        except MalformedFrame as error:
            if unparsed is not None:
                unparsed(frame, error)
            return []

    def _keep_rules(self, rules: EventRules) -> None:
        """These hold from now on: after parts, every book is begun anew, to whoever sees the images."""
        if rules.book == "images" and self._now.book == "full":
            self._shown = {product: Shown() for product in self._shown}
            self._changed = dict.fromkeys(self._shown)
        self._now = rules

    def _see(self, frame: Frame) -> list[BookImage]:
        images: list[BookImage] = []
        if self._certainty is not None and self._certainty.breaks_off(frame):
            self._lines, self._shown, self._changed = {}, {}, {}
        if frame.connection != OWN_CONNECTION:
            moment = frame.received_at - frame.received_at % max(int(self._now.book_seconds * 1e9), 1)
            # Frames of several lines are received at once, and may stand in another order in the journal.
            if moment != self._moment and not 0 < self._moment - frame.received_at < _TOGETHER:
                self._moment = moment
                images = self._due(frame)
            self._at = frame.received_at
            self._follow(frame)
        return images

    def _miss(self, frame: Frame) -> None:
        """Trust no book any more that this frame, which cannot be read, may have been of."""
        line = self._lines.get(line_of(frame.connection))
        if line is not None and line.books and frame.connection != OWN_CONNECTION and not is_of_no_book(frame.data):
            self._discard(line)
            self._trouble(line, "", "a frame cannot be read, so every book waits for its next snapshot")

    def _follow(self, frame: Frame) -> None:
        """Trust no book any more when frames may be missing from it."""
        number = line_of(frame.connection)
        line = self._lines.get(number)
        if line is None or line.connection != frame.connection:
            is_partial = line is None and self._certainty is not None and self._certainty.is_partial(frame)
            if line is not None:
                self._discard(line)
            line = self._lines[number] = Line(frame, is_partial=is_partial)
        # By the index, what the journal had no room for shows as well: that was never given an offset.
        skipped = frame.index > line.index + 1
        line.index, line.at = frame.index, frame.received_at
        line.sequence, lost = follow_numbers(line.sequence, frame.data)
        if (skipped or lost) and line.books:
            self._discard(line)
            self._trouble(line, "", "frames were lost, so every book waits for its next snapshot")
        if len(self._lines) > 1:
            self._drop_silent_lines(frame.received_at)
        if self._certainty is not None:
            self._certainty.follow(frame)

    def _drop_silent_lines(self, now: int) -> None:
        for number, line in list(self._lines.items()):
            if now - line.at > SILENT_NANOSECONDS:
                del self._lines[number]
                self._discard(line)

    def _discard(self, line: Line) -> None:
        books, line.books = line.books, {}
        for product in books:
            self._forget(product)

    def _forget(self, product: str) -> None:
        """A line has this book no more; if no other one has, it is begun anew the next time."""
        if any(product in line.books for line in self._lines.values()):
            self._changed[product] = None
        else:
            self._changed.pop(product, None)
            self._shown.pop(product, None)

    def _apply(self, line: Line, message: BookSnapshot | BookUpdate) -> None:
        product = message.product_id
        if not product:
            if line.books:
                self._discard(line)
                self._trouble(line, "", "a message does not say of which product it is, so all wait for a snapshot")
            return
        try:
            if isinstance(message, BookSnapshot):
                self._begin(line, product, message)
            elif (kept := line.books.get(product)) is not None:
                kept.apply_update(message)
            else:
                self._wait(line, product)
                return
        except (ValueError, TypeError) as error:
            self._give_up(line, product, error)
            return
        self._changed[product] = None

    def _begin(self, line: Line, product: str, snapshot: BookSnapshot) -> None:
        if product not in line.books and len(line.books) >= MOST_BOOKS:
            raise ValueError(f"there are {MOST_BOOKS} books already")
        kept = LineBook()
        kept.apply_snapshot(snapshot)
        line.books[product] = kept
        line.waiting.pop(product, None)
        line.settle(product)
        others = [other for other in self._lines.values() if other is not line]
        if not any(product in other.books for other in others):
            self._shown[product] = Shown()
            if self._certainty is not None:
                self._certainty.begin(product, others)

    def _wait(self, line: Line, product: str) -> None:
        """An update came of a book that has no snapshot yet."""
        if self._certainty is not None:
            self._certainty.wait(line, product)
        if len(line.waiting) < MOST_BOOKS and line.waits_too_long(product):
            self._trouble(line, product, "it has updates and no snapshot")

    def _hear_trade(self, line: Line, trade: Trade) -> None:
        product = trade.product_id or ""
        kept = line.books.get(product)
        if kept is not None and kept.is_stale(line.at):
            self._trouble(line, product, "it is stale: there are trades, and no updates")

    def _trouble(self, line: Line, product: str, text: str) -> None:
        self.troubled(product, text)
        self.doubted(line.connection, product, line.index)

    def _give_up(self, line: Line, product: str, error: Exception) -> None:
        line.books.pop(product, None)
        self._forget(product)
        self._trouble(line, product, f"it cannot be followed, so it waits for its next snapshot: {error}")

    def _due(self, frame: Frame) -> list[BookImage]:
        changed, self._changed = self._changed, {}
        images = [image for product in changed if (image := self._image(product, frame))]
        if self._certainty is None:
            return images
        lines, counts = self._lines.values(), self._now.book != "full"
        return self._certainty.sure(images, looked_at=changed, lines=lines, counts=counts)

    def _best_line(self, product: str) -> Line:
        """The first line that has the book and is not behind the others; of those that are, the least so."""
        lines = [line for _, line in sorted(self._lines.items()) if product in line.books]
        return next((line for line in lines if self._at - line.at < _BEHIND), max(lines, key=lambda line: line.at))

    def _image(self, product: str, frame: Frame) -> BookImage | None:
        line, shown = self._best_line(product), self._shown[product]
        book = line.books[product].book
        bids, asks = book.top(self._now.book_depth)
        try:
            levels = (
                tuple((_written(price), _written(size)) for price, size in bids),
                tuple((_written(price), _written(size)) for price, size in asks),
            )
        except ValueError as error:
            self._give_up(line, product, error)
            return None
        if levels == shown.levels:
            return None
        is_crossed = book.is_crossed
        if is_crossed and not shown.was_crossed:
            self._trouble(line, product, f"it is crossed: {bids[0].price} is bid, and {asks[0].price} asked")
        image = BookImage(
            product_id=product,
            bids=levels[0],
            asks=levels[1],
            at=self._at,
            is_reset=shown.is_reset,
            is_crossed=is_crossed,
            frame=frame,
            part=_AHEAD,
        )
        shown.levels, shown.is_reset, shown.was_crossed = levels, False, is_crossed
        return image


def _written(number: Decimal) -> str:
    if abs(number.adjusted()) > _LONGEST_NUMBER or len(number.as_tuple().digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of more than {_LONGEST_NUMBER} digits")
    return f"{number:f}"


def _pass_over(*_about: object) -> None:
    """Who reads the journal again was told before."""


def log_trouble(product: str, text: str) -> None:
    """Tell the log what is wrong with a book."""
    logger.warning("[BOOK] {}: {}", shorten(product, _TOLD) or "all products", shorten(text, _TOLD))


def resumed(rules: Rules, journal: Journal, after: int, *, once_more: bool = False) -> Books:
    """The books as they were when everything up to an offset had been read, from the frames that the journal keeps.

    That takes the frames since the oldest of the connections began that were up then. If the first of them is there no
    more, books whose snapshot is gone with it wait for the next one.

    Args:
        rules: Which images are made, as in `Books`.
        journal: Where the frames are.
        after: The offset.
        once_more: Whether what comes behind was read before, as in `Books`.

    Raises:
        JournalError: The journal cannot be read.
    """
    books = Books(rules, once_more=once_more)
    for frame in frames_of_connections(journal, after, SILENT_NANOSECONDS):
        books.read(frame)
    return books
