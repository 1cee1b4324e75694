"""Order books in the chain: from what Coinbase sends of them to images of their best levels, at regular moments.

    messages   S u u . u h . h u C S u h        S snapshot, u update, h anything else, C the next connection
    moments    |       |     |     |     |      every `book_seconds`, by the time of receipt
    images             1     2         R 3      1 2 3 the book as it was, R it was begun anew

The images are a function of the frames of a connection and of nothing else, no clock included. So a restart that reads
these frames again, and an audit, make the same ones. Nothing is emitted but at a frame: a moment is over when a frame
is received after it, and heartbeats come every second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from loguru import logger
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators import OrderBook
from rxbridge.coinbase.advanced.sequence import sequence_num
from rxbridge.coinbase.decoding import decode
from rxbridge.errors import MalformedFrame
from rxbridge.events import EventRules
from rxbridge.journal import Journal
from rxbridge.messages import OWN_CONNECTION, BookImage, BookSnapshot, BookUpdate, Frame, Message, Part

CHANNEL = "level2"
"""The channel whose messages become books."""


_AHEAD = Part(count=2)
"""An image is told of before the message of the frame that it came with, so that frame is not done with it."""

_Levels = tuple[tuple[str, str], ...]


class _Book:
    """One product's book, and what its last image has shown."""

    __slots__ = ("book", "is_reset", "shown", "was_crossed")

    def __init__(self) -> None:
        self.book = OrderBook()
        self.is_reset = True
        self.was_crossed = False
        self.shown: tuple[_Levels, _Levels] | None = None


class Books:
    """The books of one connection after the other.

    Args:
        rules: Which images are made.

    Attributes:
        troubled: Is told of which product's book something is wrong, and what; of all, where the name is empty.
    """

    def __init__(self, rules: EventRules) -> None:
        self.troubled: Callable[[str, str], None] = _pass_over
        self._depth = rules.book_depth
        self._interval = max(int(rules.book_seconds * 1e9), 1)
        self._books: dict[str, _Book] = {}
        self._changed: dict[str, None] = {}
        self._connection = 0
        self._sequence = -1
        self._moment = 0
        self._offset = 0
        self._at = 0
        self._images: list[BookImage] = []

    def see(self, frame: Frame) -> None:
        """Take note of the next frame, before its messages."""
        if frame.connection != OWN_CONNECTION:
            moment = frame.received_at // self._interval
            if moment != self._moment:
                self._moment = moment
                self._images += self._due(frame)
            self._at = frame.received_at
        self._follow(frame)

    def take(self) -> list[BookImage]:
        """The images that are due, one a product and frame at most."""
        images, self._images = self._images, []
        return images

    def apply(self, message: Message) -> None:
        """Take the next message of the frame that was seen last."""
        if isinstance(message, (BookSnapshot, BookUpdate)) and message.frame.connection != OWN_CONNECTION:
            self._apply(message)

    def _follow(self, frame: Frame) -> None:
        """Trust no book any more when frames may be missing from it."""
        lost = self._offset > 0 and frame.offset > self._offset + 1
        self._offset = frame.offset
        if frame.connection not in (OWN_CONNECTION, self._connection):
            self._connection, self._sequence = frame.connection, -1
            self._discard()
        number = sequence_num(frame.data)
        if number is not None and number > self._sequence:
            lost = lost or number > self._sequence + 1
            self._sequence = number
        if lost and self._books:
            self._discard()
            self.troubled("", "frames were lost, so every book waits for its next snapshot")

    def _discard(self) -> None:
        self._books.clear()
        self._changed.clear()

    def _apply(self, message: BookSnapshot | BookUpdate) -> None:
        product = message.product_id
        if not product:
            return
        try:
            if isinstance(message, BookSnapshot):
                kept = _Book()
                kept.book.apply_snapshot(message.bids, message.asks)
                self._books[product] = kept
            elif (kept := self._books.get(product)) is not None:
                kept.book.apply_update(message.changes)
            else:
                return  # of a book that waits for its snapshot
        except (ValueError, TypeError) as error:
            self._books.pop(product, None)
            self._changed.pop(product, None)
            self.troubled(product, f"a message of it cannot be read, so it waits for its next snapshot: {error}")
            return
        self._changed[product] = None

    def _due(self, frame: Frame) -> list[BookImage]:
        changed, self._changed = self._changed, {}
        return [image for product in changed if (image := self._image(product, self._books[product], frame))]

    def _image(self, product: str, kept: _Book, frame: Frame) -> BookImage | None:
        bids, asks = kept.book.top(self._depth)
        levels = (
            tuple((f"{price:f}", f"{size:f}") for price, size in bids),
            tuple((f"{price:f}", f"{size:f}") for price, size in asks),
        )
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


def _pass_over(_product: str, _text: str) -> None:
    """Who reads the journal again was told before."""


def log_trouble(product: str, text: str) -> None:
    """Tell the log what is wrong with a book."""
    logger.warning("[BOOK] {}: {}", product or "all products", text)


def with_images(books: Books) -> Callable[[Observable[Message]], Observable[Message]]:
    """Put the images that are due in front of each message. Somebody else lets the books see the frames.

    messages   S---u---u---h------u---h---|
    result     S---u---u---1-h----u---2-h-|
    """

    def operator(source: Observable[Message]) -> Observable[Message]:
        def subscribe(observer: ObserverBase[Message], scheduler: SchedulerBase | None = None) -> DisposableBase:
            def on_next(message: Message) -> None:
                try:
                    images = books.take()
                    books.apply(message)
                except Exception as error:  # noqa: BLE001 - a defect is the stream's error, as in every operator
                    observer.on_error(error)
                    return
                for image in images:
                    observer.on_next(image)
                observer.on_next(message)

            return source.subscribe(on_next, observer.on_error, observer.on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return operator


def resumed(rules: EventRules, journal: Journal, after: int) -> Books:
    """The books as they were when everything up to an offset had been read, from the frames that the journal keeps.

    That takes the frames of the connection that the offset lies in. If the first of them is there no more, books whose
    snapshot is gone with it wait for the next one.

    Raises:
        JournalError: The journal cannot be read.
    """
    books = Books(rules)
    for frame in _of_connection(journal, after):
        books.see(frame)
        try:
            messages = decode(frame)
        except MalformedFrame:
            continue
        for message in messages:
            # What was due before a message was told of then; what is due and was not is told of with the next one.
            books.take()
            books.apply(message)
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
