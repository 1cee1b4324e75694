"""Order books of many products, kept from their messages and seen as they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Literal, TypeAlias, overload

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._books import Books, Settings, Told
from operators.book_view import BookTrouble, BookView, M
from operators.order_book import SIDES, Side

Emit: TypeAlias = Literal["best-changes", "every"]


@overload
def order_books(
    *,
    top: int = ...,
    emit: Emit = ...,
    most_products: int = ...,
    stale_after: float | None = ...,
    sides: Mapping[str, Side] = ...,
    scheduler: SchedulerBase,
) -> Callable[[Observable[M]], Observable[BookView[M]]]: ...
@overload
def order_books(
    *,
    top: int = ...,
    emit: Emit = ...,
    most_products: int = ...,
    stale_after: float | None = ...,
    troubled: Callable[[BookTrouble[M]], None],
    ignored: Callable[[M], None] | None = ...,
    sides: Mapping[str, Side] = ...,
    scheduler: SchedulerBase,
) -> Callable[[Observable[M]], Observable[BookView[M]]]: ...
@overload
def order_books(
    *,
    top: int = ...,
    emit: Emit = ...,
    most_products: int = ...,
    stale_after: float | None = ...,
    ignored: Callable[[M], None],
    sides: Mapping[str, Side] = ...,
    scheduler: SchedulerBase,
) -> Callable[[Observable[M]], Observable[BookView[M]]]: ...
def order_books(
    *,
    top: int = 10,
    emit: Emit = "best-changes",
    most_products: int = 1_000,
    stale_after: float | None = None,
    troubled: Callable[[BookTrouble[M]], None] | None = None,
    ignored: Callable[[M], None] | None = None,
    sides: Mapping[str, Side] = SIDES,
    scheduler: SchedulerBase,
) -> Callable[[Observable[M]], Observable[BookView[M]]]:
    """Keep the order book of each product from snapshots and updates, and emit a view of it when it has changed.

        source    S---u---w---u---R---u---S------------|    S snapshot, u update of the best, w of another level
                      order_books(stale_after=9 ticks)
        result    1---2-------3---r-------4--------s---|    r an empty book, s a stale one
        ignored   --------------------u----------------
        troubled  ---------------------------------s---

    A message is told by what it has: `bids` and `asks` make a snapshot, `changes` an update, and a `reset_reason` says
    that a book is not to be trusted any more, after a disconnect or a jump of a sequence. That one is discarded, which
    is seen by an empty view with `reset`, and its updates are ignored until the next snapshot. `operators.book_view`
    has the shapes, the views, and a `BookReset` for those who have no such message.

    What is wrong with a book is told to `troubled`, just before the view that shows it, so that somebody may subscribe
    to the product again: the book is crossed (once each time that it becomes so); it is stale (and again each
    `stale_after` while it stays so); a message could not be read, and the book was discarded, for it lacks something
    now; or it was discarded to make room, there being more than `most_products`, and not touched for the longest.

    Calls to the subscriber and to `troubled` never overlap; a slow one holds the source back. Time that they take is
    no silence: a book behind a slow sink is not stale. A subscriber that raises ends the stream with that exception in
    its own `on_error`.

    Laws:
        The book of a product is what `OrderBook` makes of its last snapshot and the updates since; a snapshot or an
        update is applied whole or not at all.
        With "every", each snapshot and update that is applied is emitted once, in order. With "best-changes" those
        are left out that change neither the best bid nor the best ask, in price or size, nor a flag.
        Each update is either applied, or passed to `ignored`, or is one that could not be read.
        Memory is `most_products` books.

    Example:
        >>> from typing import NamedTuple
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> class Snapshot(NamedTuple):
        ...     product_id: str
        ...     bids: list[tuple[str, str]]
        ...     asks: list[tuple[str, str]]
        >>> class Update(NamedTuple):
        ...     product_id: str
        ...     changes: list[tuple[str, str, str]]
        >>> messages = reactivex.of(
        ...     Snapshot("ETH-USD", bids=[("9.5", "2"), ("9.4", "1")], asks=[("10.1", "3")]),
        ...     Update("ETH-USD", [("buy", "9.5", "0.00"), ("sell", "10.0", "0.25")]),
        ...     Update("ETH-USD", [("buy", "9.1", "7")]),
        ... )
        >>> def show(view: BookView[Snapshot | Update]) -> None:
        ...     print(view.product, view.best_bid.price, view.best_ask.price, len(view.asks))
        >>> _ = messages.pipe(order_books(top=3, scheduler=VirtualTimeScheduler())).subscribe(show)
        ETH-USD 9.5 10.1 1
        ETH-USD 9.4 10.0 2

    Args:
        top: How many levels of each side a view has.
        emit: Which views are emitted.
        most_products: How many books to keep.
        stale_after: Seconds without an applied message after which a book is stale; None for never. A quiet product
            has nothing to say for minutes.
        troubled: Told of each trouble. Without it, a message that cannot be read is the stream's error. What it raises
            is the stream's error.
        ignored: Told of each update whose product has no book. What it raises is the stream's error.
        sides: What the feed calls the sides of a book.
        scheduler: Keeps the time. Its thread tells of books that are stale.

    Raises:
        ValueError: `top`, `most_products` or `stale_after` is not positive, or `emit` is none of the two.
    """
    if top < 1 or most_products < 1 or (stale_after is not None and stale_after <= 0):
        raise ValueError(f"must be positive: top={top}, most_products={most_products}, stale_after={stale_after}")
    if emit not in {"best-changes", "every"}:
        raise ValueError(f"emit must be 'best-changes' or 'every': {emit!r}")
    settings = Settings(
        top=top,
        every=emit == "every",
        most_products=most_products,
        silence=None if stale_after is None else timedelta(seconds=stale_after),
        troubled=troubled,
        ignored=ignored,
        sides=sides,
    )

    def operator(source: Observable[M]) -> Observable[BookView[M]]:
        def subscribe(
            observer: ObserverBase[BookView[M]], subscribe_scheduler: SchedulerBase | None = None
        ) -> DisposableBase:
            return Books(Told(observer, settings, scheduler), settings, scheduler).connect(source, subscribe_scheduler)

        return Observable(subscribe)

    return operator
