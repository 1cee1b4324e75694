"""The order books of a feed, as views of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, Unpack, cast

import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import SchedulerBase

from operators import SteadyScheduler, order_books, parse
from operators.book_view import BookMessage, BookReset, BookTrouble, BookView
from operators.books import Emit
from rxbridge.channels import FeedName
from rxbridge.coinbase.decoding import decode, is_of_no_book
from rxbridge.coinbase.in_force import ProductsInForce
from rxbridge.coinbase.renewal import BooksInDoubt
from rxbridge.coinbase.stream import frames
from rxbridge.coinbase.views import FeedOptions, Malformed, tell_malformed
from rxbridge.errors import ConfigError, MalformedFrame
from rxbridge.messages import NO_FRAME, BookSnapshot, BookUpdate, Frame, line_of

Troubled: TypeAlias = Callable[[BookTrouble[BookMessage]], None]


def books(
    products: Sequence[str] | ProductsInForce,
    *,
    feed: FeedName = "exchange",
    top: int = 10,
    emit: Emit = "best-changes",
    stale_after: float | None = None,
    troubled: Troubled | None = None,
    malformed: Malformed | None = None,
    **options: Unpack[FeedOptions],
) -> Observable[BookView[BookMessage]]:
    """The order books of products, each kept exactly, and seen whenever it has changed; cold and for ever.

        feed      S---u---u---(reconnects)---S---u---    S snapshot, u update
        result    1---2---3------------------r4--5---    r an empty view, `reset`: the book begins anew

    `operators.order_books` says what views there are, and what is told to `troubled`. With a connection its books begin
    anew, because what happened in between is lost. So does, on the open connection, a book that is in doubt: one that
    is crossed, one whose message cannot be read, and all of a connection after a frame that cannot be read, unless that
    is plainly of another kind. That is soon, but no sooner than `book_doubt_seconds` after the book has last begun.

    Args:
        products: As for `frames`.
        feed: As for `messages`.
        top: How many levels of each side a view has.
        emit: `best-changes`, or `every` for a view at each update.
        stale_after: Seconds without a change after which a book is stale; None for never.
        troubled: Told of each trouble; see `operators.order_books`.
        malformed: As for `messages`.
        options: Whatever else `frames` takes, but for several connections that bring the same books.

    Raises:
        ConfigError: An argument cannot be used. Raised here, not emitted.
        ValueError: `top` or `stale_after` is not positive.

    Emits as its error:
        SubscriptionRejected: As `frames`.
    """
    if options.get("connections", 1) > 1:
        raise ConfigError("connections", "two connections would tell the same book twice, and not in step")

    def begin(_scheduler: SchedulerBase | None = None) -> Observable[BookView[BookMessage]]:
        timers = SteadyScheduler()
        reading = _Reading(
            options.get("in_doubt") or BooksInDoubt(), tell_malformed if malformed is None else malformed
        )

        def tell(trouble: BookTrouble[BookMessage]) -> None:
            if trouble.kind in {"malformed", "crossed"}:
                reading.doubt(trouble.product)
            if troubled is not None:
                troubled(trouble)

        own_options: FeedOptions = {**options, "in_doubt": reading.in_doubt}
        return frames(products, ["level2"], feed=feed, **own_options).pipe(
            parse(reading.read, _raise),
            order_books(top=top, emit=emit, stale_after=stale_after, troubled=tell, scheduler=timers),
            ops.finally_action(timers.dispose),
        )

    begin()  # What cannot be used is refused now, and not at the first subscription.
    return reactivex.defer(begin)


class _Reading:
    """Reads the messages that make books; those of a connection begin anew with the next one of the same line."""

    def __init__(self, in_doubt: BooksInDoubt, malformed: Malformed) -> None:
        self.in_doubt = in_doubt
        self._malformed = malformed
        self._connections: dict[int, int] = {}
        self._lines: dict[str, int] = {}
        self._frame = NO_FRAME

    def doubt(self, product: str) -> None:
        """Have a book begin anew, because of what the newest frame says; all of its connection, without a product."""
        frame = self._frame
        # Of connections that are gone no doubt is left.
        kept = {about: at for about, at in self.in_doubt.current.items() if about[0] in self._connections.values()}
        self.in_doubt.set({**kept, (frame.connection, product): frame.index})

    def read(self, frame: Frame) -> list[BookMessage]:
        self._frame = frame
        line, read = line_of(frame.connection), list[BookMessage]()
        if self._connections.get(line) != frame.connection:
            self._connections[line] = frame.connection
            read += self._resets(line, "there is another connection")
        try:
            for message in decode(frame):
                if isinstance(message, (BookSnapshot, BookUpdate)):
                    if not message.product_id:
                        raise MalformedFrame(frame.data, "a message of a book names no product")  # noqa: TRY301 - told like the others
                    self._lines[message.product_id] = line
                    # Its product is no longer None, which a checker cannot know.
                    read.append(cast("BookMessage", message))
        except MalformedFrame as error:
            self._malformed(frame, error)
            if is_of_no_book(frame.data):
                return read
            self.doubt("")
            return [*read, *self._resets(line, "a frame cannot be read")]
        return read

    def _resets(self, line: int, reason: str) -> list[BookMessage]:
        lost = [product for product, of in self._lines.items() if of == line]
        for product in lost:
            del self._lines[product]
        return [BookReset(product, reason) for product in lost]


def _raise(_frame: Frame, error: Exception) -> None:
    """What `malformed` raises is the stream's error."""
    raise error
