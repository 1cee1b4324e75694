"""Items of another time, played again: as fast as they came, faster, or by a clock of their own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import Any, Generic, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import CompositeDisposable, Disposable, SerialDisposable

from operators.replay_clock import ReplayClock

A = TypeVar("A")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = 1_000_000_000
_END = object()


def play_back(
    items: Callable[[], Iterator[A]],
    at: Callable[[A], int],
    *,
    speed: float | None = None,
    scheduler: SchedulerBase | None = None,
) -> Observable[A]:
    """Emit items again, in their order, each when its time has come. Cold: each subscription plays from the start.

        items    a 9:00:00   b 9:00:02      c 9:00:03 |
                     play_back(items, at, speed=2)
        result   a---------b----c|                       1 s, then half a second

    The next item is taken when the chain has returned from the last, so a subscriber may block, and memory holds one
    item, however many there are.

    Without a speed each is emitted at its own moment, by the clock of the scheduler: a `ReplayClock`, which does not
    wait; or one of the library's, such as `HistoricalScheduler`. With a speed, the time between items is divided by
    it, from the first one on. Then the scheduler may be any; without one, each subscription has a daemon thread.

    What the chain or the items raise goes to the subscriber's `on_error`, and where it has none, comes out of the
    scheduler, such as from `ReplayClock.start`. An item whose time lies before that of an
    earlier one is emitted at once after it.

    Laws:
        Every item is emitted, once, in order, whatever the speed.
        On a `ReplayClock` it is emitted when the clock says its very time, unless that was past already.

    Example:
        >>> from operators import ReplayClock, batch
        >>> minutes = [9, 10, 14, 15]
        >>> clock = ReplayClock()
        >>> numbers = play_back(lambda: iter(minutes), lambda minute: minute * 60 * 10**9, scheduler=clock)
        >>> _ = numbers.pipe(batch(count=10, seconds=120, scheduler=clock)).subscribe(
        ...     lambda some: print(clock.now.time(), some)
        ... )
        >>> clock.start()
        00:11:00 [9, 10]
        00:15:00 [14, 15]

    Args:
        items: Gives them anew, for each subscription. An iterator that has `close` is closed at the end.
        at: The time of an item: nanoseconds since the Unix epoch.
        speed: How many times faster than they came; infinity for no wait at all.
        scheduler: Where they are emitted; of a `ReplayClock` that nobody has told when it begins, the first item does.

    Raises:
        ValueError: The speed is not positive; or there is neither a speed nor a scheduler.
    """
    if speed is not None and not speed > 0:
        raise ValueError(f"a speed of {speed} is not positive")
    if speed is None and scheduler is None:
        raise ValueError("without a speed, the scheduler must be one with a clock of its own, such as a ReplayClock")

    def subscribe(observer: ObserverBase[A], given: SchedulerBase | None = None) -> DisposableBase:
        chosen = scheduler or given
        player = _Player(items, at, observer)
        if chosen is None:
            threading.Thread(target=player.run, args=(speed or inf,), name="play-back", daemon=True).start()
            return Disposable(player.dispose)
        if isinstance(chosen, ReplayClock) and speed is None:
            return player.follow(chosen)
        return player.schedule(chosen, speed)

    return Observable(subscribe)


class _Player(Generic[A]):
    """Takes the items of one subscription to its observer."""

    def __init__(self, items: Callable[[], Iterator[A]], at: Callable[[A], int], observer: ObserverBase[A]) -> None:
        self._make = items
        self._at = at
        self._observer = observer
        self._items: Iterator[A] | None = None
        self._disposed = threading.Event()
        # The same, for who asks before each item.
        self._over = False
        # Held while the items are in use: an iterator must not be closed while it runs.
        self._busy = threading.Lock()

    def dispose(self) -> None:
        """Emit nothing more, and let go of the items: now, or when who is at it has returned."""
        self._over = True
        self._disposed.set()
        self._close_if_free()

    def run(self, speed: float) -> None:
        """Play to the end, on this thread, which waits in between."""
        try:
            with self._busy:
                self._play(speed)
        finally:
            self._close_if_free()

    def _play(self, speed: float) -> None:
        first, started = None, monotonic()
        while (taken := self._next()) is not None:
            if speed != inf:
                moment = self._at(taken[0])
                first = moment if first is None else first
                due = started + (moment - first) / _SECOND / speed
                if self._disposed.wait(max(due - monotonic(), 0.0)):
                    return
            if not self._emit(taken[0]):
                return

    def follow(self, clock: ReplayClock) -> DisposableBase:
        """Play by a clock that the items move on."""
        current = SerialDisposable()
        with self._busy:
            first = self._next()
        if first is None or self._items is None:
            self._close_if_free()
            return Disposable(self.dispose)
        items, at = self._items, self._at
        item: Any = first[0]
        clock.begin(at(item))

        def play() -> None:
            nonlocal item
            on_next, reach = self._observer.on_next, clock.reach
            try:
                while not self._over:
                    on_next(item)
                    if self._over:
                        break
                    item = next(items, _END)
                    if item is _END:
                        self._end()
                        break
                    if not reach(moment := at(item)):
                        current.disposable = clock.schedule_at(moment, action)
                        break
            except Exception as error:
                if self._over:
                    # The subscriber has failed after its end, where no observer listens any more.
                    raise
                self._end(error)

        def action(_scheduler: SchedulerBase, _state: object = None) -> None:
            try:
                with self._busy:
                    play()
            finally:
                self._close_if_free()

        current.disposable = clock.schedule_at(at(item), action)
        return CompositeDisposable(Disposable(self.dispose), current)

    def schedule(self, scheduler: SchedulerBase, speed: float | None) -> DisposableBase:
        """Play as actions of any scheduler, one an item."""
        current = SerialDisposable()
        taken: tuple[A] | None = None
        first, started = 0, scheduler.now

        def action(_scheduler: SchedulerBase, _state: object = None) -> None:
            nonlocal taken, first, started
            with self._busy:
                was_first = taken is None
                if taken is not None and not self._emit(taken[0]):
                    taken = None
                elif (taken := self._next()) is not None:
                    moment = self._at(taken[0])
                    if was_first:
                        first, started = moment, scheduler.now
                    if speed is None:
                        current.disposable = scheduler.schedule_absolute(_datetime(moment), action)
                    else:
                        due = started + timedelta(seconds=(moment - first) / _SECOND / speed)
                        current.disposable = scheduler.schedule_relative(
                            max((due - scheduler.now).total_seconds(), 0.0), action
                        )
            self._close_if_free()

        current.disposable = scheduler.schedule(action)
        return CompositeDisposable(Disposable(self.dispose), current)

    def _next(self) -> tuple[A] | None:
        """The next item, boxed since it may be None; completes or fails where there is none."""
        if self._disposed.is_set():
            return None
        try:
            if self._items is None:
                self._items = self._make()
            return (next(self._items),)
        except StopIteration:
            self._end()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the subscriber's to know
            self._end(error)
        return None

    def _end(self, error: Exception | None = None) -> None:
        self._over = True
        self._disposed.set()
        if error is None:
            self._observer.on_completed()
        else:
            self._observer.on_error(error)

    def _emit(self, item: A) -> bool:
        """Whether to go on."""
        if self._disposed.is_set():
            return False
        try:
            self._observer.on_next(item)
        except Exception as error:
            if self._disposed.is_set():
                # The subscriber has failed after its end, where no observer listens any more.
                raise
            self._end(error)
        return not self._disposed.is_set()

    def _close_if_free(self) -> None:
        if self._disposed.is_set() and self._busy.acquire(blocking=False):
            try:
                items, self._items = self._items, None
                if isinstance(items, Generator):
                    items.close()
            finally:
                self._busy.release()


def _datetime(moment: int) -> datetime:
    return _EPOCH + timedelta(microseconds=moment // 1000)
