"""Two streams joined by the time of their items: what was the quote when the trade was made?"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import inf
from threading import get_ident
from typing import Generic, NamedTuple, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import SingleAssignmentDisposable
from reactivex.scheduler import ImmediateScheduler

from operators._as_of import AsOf
from operators._emission import SerialEmission
from operators._moments import Moment, nanoseconds

A = TypeVar("A")
B = TypeVar("B")

_NANOSECONDS_A_SECOND = 1_000_000_000


class Joined(NamedTuple, Generic[A, B]):
    """A left item, and the newest right one that is not newer; None if there is none within the tolerance."""

    left: A
    right: B | None


class JoinOverflow(Exception):
    """More items wait for the other stream than may."""


def join_by_time(
    right: Observable[B],
    *,
    time: Callable[[A | B], Moment | None],
    key: Callable[[A | B], Hashable],
    tolerance: float | None = None,
    lateness: float = 1.0,
    most_held: int = 100_000,
    late: Callable[[A | B], None] | None = None,
    overflowed: Callable[[A | B], None] | None = None,
    failed: Callable[[A | B, Exception], None] | None = None,
) -> Callable[[Observable[A]], Observable[Joined[A, B]]]:
    """Emit each item together with the newest item of `right` that has its key and is not newer than it.

        source  ---3------7----9-----|    an item is written as its own time
        right   -1---4-----------8---|
                    join_by_time(right, lateness=0)
        result  -----31----------74--98|    a left item and its right one

    This is the as-of join: by the times in the items, and not by when they come. A left item waits until the right
    stream has gone past its time, so that nothing can come any more that would suit it better; what a heartbeat, or
    any other product, says of the time counts too. So the result depends on the two streams alone: how they were
    interleaved, whether one was a second behind, live or replayed at any speed, it is the same.

    Within each stream an item may be up to `lateness` older than the newest before it. One that is older still is
    passed to `late` and not joined. When `most_held` left items wait, or as many right ones are needed, the next is
    passed to `overflowed` and not joined, for the other stream has stopped; without `overflowed` that is the stream's
    error. What has overflowed depends on when things came.

    When the right stream completes, nothing waits any more; when the left one does, the end comes after what waits.
    When either fails, what waits is joined with what has come, and emitted before the error. Both threads emit, one
    call of the subscriber at a time; a slow one holds both streams back. A subscriber that raises ends the stream with
    that exception in its own `on_error`. Disposing drops what is held.

    Laws:
        Every left item is either emitted, in order, or passed to `late`, `overflowed` or `failed`, unless
        disposed.
        Without an overflow the result is the same for every interleaving of the two streams.
        The right item is the one that sorting all of them by time, and looking at the last, would find.
        Memory is `most_held` items of each stream.

    Example:
        >>> import reactivex
        >>> trades = reactivex.of(("BTC", 3, "buy"), ("BTC", 7, "sell"))
        >>> quotes = reactivex.of(("BTC", 1, 9.5), ("ETH", 2, 1.5), ("BTC", 7, 9.7))
        >>> joined = trades.pipe(join_by_time(quotes, time=lambda item: item[1], key=lambda item: item[0]))
        >>> _ = joined.subscribe(lambda pair: print(pair.left[2], "at", pair.right[2]))
        buy at 9.5
        sell at 9.7

    Args:
        right: What to join with; subscribed to first.
        time: When an item of either stream was made: RFC 3339 text as messages have it, an aware datetime, or whole
            nanoseconds since any one moment.
        key: What an item of either stream is about, such as the product. One that cannot be hashed is the stream's
            error.
        tolerance: How much older a right item may be, in seconds; None for any.
        lateness: How much an item may be older than another that came before it in its stream, in seconds.
        most_held: How many items of each stream to hold.
        late: Told of each item of either stream that is too late. What it raises is the stream's error.
        overflowed: Told of each item of either stream for which there is no room. What it raises is the stream's error.
        failed: Told of each item of either stream of which `time` or `key` could not be read, and why; it is not
            joined. Without `failed` that is the stream's error, and so is what it raises itself.

    Raises:
        ValueError: `most_held` is not positive, or `tolerance` or `lateness` is negative.
    """
    if most_held < 1 or lateness < 0 or (tolerance is not None and tolerance < 0):
        raise ValueError(f"must not be negative: most_held={most_held}, lateness={lateness}, tolerance={tolerance}")
    most_behind = inf if tolerance is None else round(tolerance * _NANOSECONDS_A_SECOND)

    def operator(source: Observable[A]) -> Observable[Joined[A, B]]:
        def subscribe(observer: ObserverBase[Joined[A, B]], scheduler: SchedulerBase | None = None) -> DisposableBase:
            state = AsOf[A, B](round(lateness * _NANOSECONDS_A_SECOND), most_behind, most_held)
            joining = _Joining(observer, state, time=time, key=key, late=late, overflowed=overflowed, failed=failed)
            joining.connect_right(right, scheduler)
            return joining.connect(source, scheduler)

        return Observable(subscribe)

    return operator


class _Joining(SerialEmission[A, Joined[A, B]], Generic[A, B]):
    def __init__(
        self,
        observer: ObserverBase[Joined[A, B]],
        state: AsOf[A, B],
        *,
        time: Callable[[A | B], Moment | None],
        key: Callable[[A | B], Hashable],
        late: Callable[[A | B], None] | None,
        overflowed: Callable[[A | B], None] | None,
        failed: Callable[[A | B, Exception], None] | None,
    ) -> None:
        # The alarm is never set: no clock is read, and time is what the items say.
        super().__init__(observer, ImmediateScheduler.singleton())
        self._state = state
        self._time = time
        self._key = key
        self._late = late
        self._overflowed = overflowed
        self._failed = failed
        self._left_ended = False
        self._right = SingleAssignmentDisposable()

    def connect_right(self, right: Observable[B], scheduler: SchedulerBase | None) -> None:
        self._right.disposable = right.subscribe(self._on_right, self.finish, self._end_right, scheduler=scheduler)

    def connect(self, source: Observable[A], scheduler: SchedulerBase | None) -> DisposableBase:
        if self._stopped:
            return self  # the right stream has failed already
        self._source.disposable = source.subscribe(self.on_next, self.finish, self._end_left, scheduler=scheduler)
        return self

    def dispose(self) -> None:
        super().dispose()
        self._right.dispose()

    def on_next(self, item: A) -> None:
        try:
            if (read := self._read(item)) is None:
                return
            time, key = read
            with self._lock:
                if not self._accepting:
                    return
                pair = self._state.join_at_once(time, key, item) if self._emitter is None else None
                if pair is not None:
                    self._emitter = get_ident()
            if pair is None:
                self._hold(item, time, key)
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            self.finish(error)
            return
        if pair is not None:
            self._pass(Joined(*pair))
        else:
            self._drain(wait=True)

    def _hold(self, item: A, time: int, key: Hashable) -> None:
        with self._lock:
            if not self._accepting:
                return
            is_late = self._state.is_late_left(time)
            fits = not is_late and self._state.add_left(time, key, item)
        self._tell(item, is_late=is_late, fits=fits)

    def _on_right(self, item: B) -> None:
        try:
            if (read := self._read(item)) is None:
                return
            time, key = read
            with self._lock:
                if not self._accepting:
                    return
                is_late = self._state.is_late_right(time)
                fits = not is_late and self._state.add_right(time, key, item)
            self._tell(item, is_late=is_late, fits=fits)
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            self.finish(error)
            return
        self._drain(wait=True)
        self._finish_if_over()

    def _read(self, item: A | B) -> tuple[int, Hashable] | None:
        try:
            return nanoseconds(self._time(item)), self._key(item)
        except Exception as error:
            if self._failed is None:
                raise
            self._failed(item, error)
            return None

    def _tell(self, item: A | B, *, is_late: bool, fits: bool) -> None:
        if is_late:
            if self._late is not None:
                self._late(item)
        elif not fits:
            if self._overflowed is None:
                raise JoinOverflow("the other stream has stopped, or is too far behind")
            self._overflowed(item)

    def _end_left(self) -> None:
        with self._lock:
            self._left_ended = True
        self._finish_if_over()

    def _end_right(self) -> None:
        with self._lock:
            self._state.end_right()
        self._drain(wait=True)
        self._finish_if_over()

    def _finish_if_over(self) -> None:
        with self._lock:
            over = self._left_ended and not self._state.is_waiting
        if over:
            self.finish()

    def _on_alarm(self) -> None:
        """It is never set."""

    def _take(self) -> tuple[Joined[A, B]] | None:
        pair = self._state.take()
        return None if pair is None else (Joined(*pair),)

    def _flush(self) -> None:
        self._state.end_right()

    def _forget(self) -> None:
        self._state.clear()
