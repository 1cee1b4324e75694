"""The order books of a feed, as views of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, Unpack, cast

import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import SingleAssignmentDisposable

from operators import SteadyScheduler, order_books, parse, retry_with_backoff
from operators.book_view import BookMessage, BookReset, BookTrouble, BookView
from operators.books import Emit
from rxbridge.channels import FeedName
from rxbridge.coinbase.decoding import decode
from rxbridge.coinbase.in_force import ProductsInForce
from rxbridge.coinbase.stream import backoff, frames
from rxbridge.coinbase.views import FeedOptions, Malformed, tell_malformed
from rxbridge.errors import FeedError, MalformedFrame
from rxbridge.messages import BookSnapshot, BookUpdate, Frame

Troubled: TypeAlias = Callable[[BookTrouble[BookMessage]], None]

_OF_ANOTHER_KIND = re.compile(rb'\{"(?:type":"(?!l2update"|snapshot")|channel":"(?!l2_data"))[a-z0-9_]+"').match
"""The beginning of a frame that says that it is of no book."""


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

    `operators.order_books` says what views there are, and what is told to `troubled`. With a connection the books
    begin anew, because what happened in between is lost. A frame that cannot be read, unless it is plainly of another
    kind, or whose levels make no sense, leaves books that may be wrong; the connection is then given up for a new one,
    whose snapshots mend it.

    Args:
        products: As for `frames`.
        feed: As for `messages`.
        top: How many levels of each side a view has.
        emit: `best-changes`, or `every` for a view at each update.
        stale_after: Seconds without a change after which a book is stale; None for never.
        troubled: Told of each trouble; see `operators.order_books`.
        malformed: As for `messages`.
        options: Whatever else `frames` takes.

    Raises:
        ConfigError: An argument cannot be used. Raised here, not emitted.
        ValueError: `top` or `stale_after` is not positive.

    Emits as its error:
        SubscriptionRejected: As `frames`.
    """
    received = frames(products, ["level2"], feed=feed, **options)
    wait = backoff(options.get("backoff_minimum_seconds", 0.25), options.get("backoff_maximum_seconds", 30.0))
    told_malformed = tell_malformed if malformed is None else malformed

    def begin(_scheduler: SchedulerBase) -> Observable[BookView[BookMessage]]:
        timers = SteadyScheduler()
        source = _Source(received, told_malformed)

        def heal(trouble: BookTrouble[BookMessage]) -> None:
            if troubled is not None:
                troubled(trouble)
            if trouble.kind == "malformed":
                source.give_up(_BooksSuspectError(f"the book of {trouble.product}: {trouble.error}"))

        views = order_books(top=top, emit=emit, stale_after=stale_after, troubled=heal, scheduler=timers)
        return source.messages().pipe(
            retry_with_backoff(wait, retryable=_is_mended_by_snapshots, good=_is_update, scheduler=timers),
            views,
            ops.finally_action(timers.dispose),
        )

    # What cannot be used is refused now, and not at the first subscription.
    order_books(top=top, emit=emit, stale_after=stale_after, scheduler=SteadyScheduler())
    return reactivex.defer(begin)


class _BooksSuspectError(FeedError):
    """Books may be wrong, and only new snapshots would mend them."""


class _Source:
    """The messages that make books, of one connection after the other, between which there is a reset."""

    def __init__(self, received: Observable[Frame], malformed: Malformed) -> None:
        self.give_up: Callable[[Exception], None] = _nobody
        self._received = received
        self._malformed = malformed
        self._connection = 0

    def messages(self) -> Observable[BookMessage]:
        return Observable(self._subscribe).pipe(parse(self._read, self._failed))

    def _subscribe(self, observer: ObserverBase[Frame], scheduler: SchedulerBase | None = None) -> DisposableBase:
        connection = SingleAssignmentDisposable()

        def give_up(error: Exception) -> None:
            connection.dispose()
            observer.on_error(error)

        self.give_up = give_up
        connection.disposable = self._received.subscribe(
            observer.on_next, observer.on_error, observer.on_completed, scheduler=scheduler
        )
        return connection

    def _read(self, frame: Frame) -> Iterable[BookMessage]:
        read: list[BookMessage] = []
        if frame.connection != self._connection:
            if self._connection:
                read.append(BookReset(None, "there is another connection"))
            self._connection = frame.connection
        for message in decode(frame):
            if isinstance(message, (BookSnapshot, BookUpdate)):
                if not message.product_id:
                    raise MalformedFrame(frame.data, "a message of a book names no product")
                # Its product is no longer None, which a checker cannot know.
                read.append(cast("BookMessage", message))
        return read

    def _failed(self, frame: Frame, error: Exception) -> None:
        self._malformed(frame, error)
        if not _OF_ANOTHER_KIND(frame.data):
            self.give_up(_BooksSuspectError(str(error)))


def _is_mended_by_snapshots(error: Exception) -> bool:
    return isinstance(error, _BooksSuspectError)


def _is_update(message: BookMessage) -> bool:
    return isinstance(message, BookUpdate)


def _nobody(_error: Exception) -> None:
    """Before the first subscription there is nothing to give up."""
