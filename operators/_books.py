"""The subscription of `order_books`: the books, the silences, and what there is to tell of them."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, Generic

from reactivex.abc import ObserverBase, SchedulerBase

from operators._emission import SerialEmission
from operators.book_view import BookTrouble, BookView, M, ResetMessage, SnapshotMessage, UpdateMessage
from operators.order_book import Level, OrderBook, Side


@dataclass(frozen=True, slots=True)
class Settings(Generic[M]):
    """The parameters of `order_books`; `silence` is what it calls `stale_after`."""

    top: int
    every: bool
    most_products: int
    silence: timedelta | None
    troubled: Callable[[BookTrouble[M]], None] | None
    ignored: Callable[[M], None] | None
    sides: Mapping[str, Side]


@dataclass(frozen=True, slots=True)
class Notice(Generic[M]):
    """What is to be told at once: a trouble, a view, or first the one and then the other."""

    trouble: BookTrouble[M] | None
    view: BookView[M] | None


class Told(ObserverBase[Notice[M]], Generic[M]):
    """Tells `troubled` and the subscriber, and keeps a clock that stands still meanwhile."""

    def __init__(self, observer: ObserverBase[BookView[M]], settings: Settings[M], scheduler: SchedulerBase) -> None:
        self._observer = observer
        self._troubled = settings.troubled
        self._scheduler = scheduler
        self._timing = settings.silence is not None
        self._lock = Lock()
        self._spent = timedelta(0)
        self._entered: datetime | None = None

    def on_next(self, value: Notice[M]) -> None:
        if not self._timing:
            self._tell(value)
            return
        with self._lock:
            entered = self._entered = self._scheduler.now
        try:
            self._tell(value)
        finally:
            with self._lock:
                self._spent += self._scheduler.now - entered
                self._entered = None

    def on_error(self, error: Exception) -> None:
        self._observer.on_error(error)

    def on_completed(self) -> None:
        self._observer.on_completed()

    def listening(self) -> datetime:
        """The scheduler's time, less all that was spent in calls: by it, a slow subscriber makes no silence."""
        with self._lock:
            now = self._scheduler.now if self._entered is None else self._entered
            return now - self._spent

    def _tell(self, notice: Notice[M]) -> None:
        if notice.trouble is not None and self._troubled is not None:
            self._troubled(notice.trouble)
        if notice.view is not None:
            self._observer.on_next(notice.view)


class _Kept:
    """A product's book, and what of it was shown."""

    __slots__ = ("book", "product", "shown", "stale", "waiting")

    def __init__(self, product: str, sides: Mapping[str, Side]) -> None:
        self.product = product
        self.book = OrderBook(sides)
        self.waiting = True
        self.stale = False
        self.shown: tuple[Level | None, Level | None] = (None, None)


class Books(SerialEmission[M, Notice[M]]):
    """Books by product, the one not touched for the longest first; and when each was last, the same way."""

    def __init__(self, told: Told[M], settings: Settings[M], scheduler: SchedulerBase) -> None:
        super().__init__(told, scheduler)
        self._told = told
        self._settings = settings
        self._scheduler = scheduler
        self._appliers: dict[type, Callable[[Any], bool]] = {}
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._touched: OrderedDict[str, datetime] = OrderedDict()
        self._notices: deque[Notice[M]] = deque()
        self._timed = False

    def on_next(self, item: M) -> None:
        try:
            with self._lock:
                if not self._accepting:
                    return
                apply = self._appliers.get(type(item)) or self._applier(item)
                applied = apply(item)
                ready = bool(self._notices)
            if not applied and self._settings.ignored is not None:
                self._settings.ignored(item)
        except Exception as error:  # noqa: BLE001 whatever a user's function or a message raises is the stream's error
            self.finish(error)
            return
        if ready:
            self._drain(wait=True)
        if not self._timed:
            self._set_alarm()

    def _applier(self, message: object) -> Callable[[Any], bool]:
        """How to apply what looks like this. All of a class look alike, so each is looked at only once."""
        if hasattr(message, "changes"):
            applier = self._apply_update
        elif hasattr(message, "bids") and hasattr(message, "asks"):
            applier = self._apply_snapshot
        elif hasattr(message, "reset_reason"):
            applier = self._apply_reset
        else:
            raise TypeError(f"neither a snapshot nor an update nor a reset of a book: {type(message).__name__}")
        self._appliers[type(message)] = applier
        return applier

    def _apply_snapshot(self, message: Any) -> bool:
        snapshot: SnapshotMessage = message
        book = OrderBook(self._settings.sides)
        try:
            book.apply_snapshot(snapshot.bids, snapshot.asks)
        except Exception as error:  # noqa: BLE001 whichever way a message fails, its book is no good
            self._lose(snapshot.product_id, message, error)
            return True
        kept = self._kept.get(snapshot.product_id) or self._keep(snapshot.product_id)
        kept.book = book
        self._show(kept, message)
        return True

    def _apply_update(self, message: Any) -> bool:
        update: UpdateMessage = message
        kept = self._kept.get(update.product_id) or self._await(update.product_id)
        if kept is None or kept.waiting:
            return False
        try:
            kept.book.apply_update(update.changes)
        except Exception as error:  # noqa: BLE001 whichever way a message fails, its book is no good
            self._lose(update.product_id, message, error)
        else:
            self._show(kept, message)
        return True

    def _apply_reset(self, message: Any) -> bool:
        reset: ResetMessage = message
        if reset.product_id is None:
            for kept in list(self._kept.values()):
                self._discard(kept, message)
        else:
            kept = self._kept.get(reset.product_id) or self._await(reset.product_id)
            if kept is not None:
                self._discard(kept, message)
        return True

    def _keep(self, product: str) -> _Kept:
        """A place for a book, if need be another's."""
        if len(self._kept) >= self._settings.most_products:
            oldest, forgotten = next(iter(self._kept.items()))
            self._discard(forgotten, None, BookTrouble("forgotten", oldest))
            del self._kept[oldest]
            self._touched.pop(oldest, None)
        kept = self._kept[product] = _Kept(product, self._settings.sides)
        return kept

    def _await(self, product: str) -> _Kept | None:
        """Begin to wait for the first snapshot of a product, if time is kept, and no book has to give way for it."""
        if self._settings.silence is None or len(self._kept) >= self._settings.most_products:
            return None
        kept = self._keep(product)
        self._touch(kept)
        return kept

    def _touch(self, kept: _Kept) -> None:
        self._kept.move_to_end(kept.product)
        if self._settings.silence is not None:
            self._touched[kept.product] = self._told.listening()
            self._touched.move_to_end(kept.product)

    def _show(self, kept: _Kept, message: M) -> None:
        """A message was applied: note a view if it is wanted."""
        self._touch(kept)
        best = kept.book.best_bid, kept.book.best_ask
        changed = kept.waiting or kept.stale or best != kept.shown
        if not changed and not self._settings.every:
            return
        trouble: BookTrouble[M] | None = None
        if changed and kept.book.is_crossed and not _crossed(*kept.shown):
            trouble = BookTrouble("crossed", kept.product, message)
        kept.waiting = kept.stale = False
        kept.shown = best
        self._notices.append(Notice(trouble, self._view(kept, message)))

    def _discard(self, kept: _Kept, message: M | None, trouble: BookTrouble[M] | None = None) -> None:
        """Let a book wait for a snapshot, from now on; note a view, unless it was seen to wait already."""
        seen = kept.waiting and not kept.stale
        kept.book = OrderBook(self._settings.sides)
        kept.waiting, kept.stale, kept.shown = True, False, (None, None)
        self._touch(kept)
        if trouble is not None or not seen:
            self._notices.append(Notice(trouble, None if seen else self._view(kept, message)))

    def _lose(self, product: str, message: M, error: Exception) -> None:
        """A message could not be read, so something is missing in the book."""
        if self._settings.troubled is None:
            raise error
        trouble = BookTrouble("malformed", product, message, error)
        kept = self._kept.get(product) or self._await(product)
        if kept is None:
            self._notices.append(Notice(trouble, None))
        else:
            self._discard(kept, message, trouble)

    def _view(self, kept: _Kept, message: M | None) -> BookView[M]:
        book = kept.book
        bids, asks = book.top(self._settings.top)
        return BookView(
            kept.product,
            bids,
            asks,
            self._scheduler.now,
            message,
            reset=kept.waiting,
            crossed=book.is_crossed,
            stale=kept.stale,
            unknown_deletes=book.unknown_deletes,
        )

    def _set_alarm(self) -> None:
        """For the book that was not touched for the longest; no other is stale before it."""
        silence = self._settings.silence
        if silence is None:
            return
        with self._lock:
            if self._timed or not self._touched:
                return
            self._timed = True
            rest = next(iter(self._touched.values())) + silence - self._told.listening()
        self._alarm.set(rest)

    def _on_alarm(self) -> None:
        silence = self._settings.silence
        if silence is None:
            return
        with self._lock:
            now = self._told.listening()
            while self._touched:
                product, touched = next(iter(self._touched.items()))
                if touched + silence > now:
                    break
                # From now on it is the next silence, which is told of again.
                self._touched[product] = now
                self._touched.move_to_end(product)
                self._mark_stale(self._kept[product])
        self._drain(wait=False)
        with self._lock:
            self._timed = False
        self._set_alarm()

    def _mark_stale(self, kept: _Kept) -> None:
        seen, kept.stale = kept.stale, True
        view = None if seen else self._view(kept, None)
        self._notices.append(Notice(BookTrouble("stale", kept.product), view))

    def _take(self) -> tuple[Notice[M]] | None:
        return (self._notices.popleft(),) if self._notices else None

    def _flush(self) -> None:
        """What there is to emit is noted already."""

    def _forget(self) -> None:
        self._kept.clear()
        self._touched.clear()
        self._notices.clear()


def _crossed(bid: Level | None, ask: Level | None) -> bool:
    return bid is not None and ask is not None and bid.price >= ask.price
