"""The newest item of each key, at a rate that a reader can follow."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._emission import SerialEmission

A = TypeVar("A")


def conflate(
    seconds: float,
    key: Callable[[A], Hashable],
    *,
    conflated: Callable[[A], None] | None = None,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[A]]:
    """Pass the newest item of each key, at most every `seconds`; what it replaces is conflated.

        source     a1-a2-a3-b1---------------a4-a5|
                       conflate(6 ticks, key), where the key is the letter
        result     a1----a3-b1---------------a4---a5|
        conflated  ------a2-----------------------

    The first item of a quiet key passes at once, since a quote that nobody waits for need not wait either. It opens a
    window of `seconds`, in which only the newest item of that key is kept. That one passes when the window ends, and
    opens the next; if there is none, the key is quiet again, and forgotten.

    The subscriber may be slow: calls to it never overlap, and while one runs the source is not held back, but more is
    conflated; the source's thread waits only for calls that it makes itself. When the source ends, by completion or
    by error, what is held is emitted first, its windows notwithstanding. Disposing drops it. A subscriber that raises
    ends the stream with that exception in its own `on_error`.

    Laws:
        Every item is either emitted or passed to `conflated`, unless disposed: in = out + conflated.
        For each key the order is kept, the last item is emitted, and items are `seconds` apart but for the end.
        Memory is one item and one window for each key that is not quiet.

    Example:
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> clock = VirtualTimeScheduler()
        >>> source = reactivex.cold("1-2-3---------4--|", timespan=0.1, scheduler=clock)
        >>> def shown(price: int) -> None:
        ...     print(f"{price} at {clock.clock:.1f}")
        >>> _ = source.pipe(conflate(0.5, lambda price: "BTC-USD", scheduler=clock)).subscribe(shown)
        >>> clock.start()
        1 at 0.0
        3 at 0.5
        4 at 1.4

    Args:
        seconds: The least time between two items of a key.
        key: What an item is about. An exception, or a key that cannot be hashed, is the stream's error.
        conflated: Told of each item that a newer one has replaced. What it raises is the stream's error.
        scheduler: Keeps the time. Its thread emits what is held when a window ends.

    Raises:
        ValueError: `seconds` is not positive.
    """
    if seconds <= 0:
        raise ValueError(f"seconds must be positive: {seconds}")
    window = timedelta(seconds=seconds)

    def operator(source: Observable[A]) -> Observable[A]:
        def subscribe(observer: ObserverBase[A], subscribe_scheduler: SchedulerBase | None = None) -> DisposableBase:
            return _Conflation(observer, scheduler, window, key, conflated).connect(source, subscribe_scheduler)

        return Observable(subscribe)

    return operator


class _Conflation(SerialEmission[A, A]):
    """A held item's key is either in `_windows`, or in `_due` since it may be emitted now."""

    def __init__(
        self,
        observer: ObserverBase[A],
        scheduler: SchedulerBase,
        window: timedelta,
        key: Callable[[A], Hashable],
        conflated: Callable[[A], None] | None,
    ) -> None:
        super().__init__(observer, scheduler)
        self._scheduler = scheduler
        self._window = window
        self._key = key
        self._conflated = conflated
        self._held: dict[Hashable, A] = {}
        self._due: deque[Hashable] = deque()
        self._windows: OrderedDict[Hashable, datetime] = OrderedDict()
        self._timed = False

    def on_next(self, item: A) -> None:
        try:
            key = self._key(item)
            with self._lock:
                if not self._accepting:
                    return
                replaces = key in self._held
                older = self._held.get(key, item)
                self._held[key] = item
                ready = not replaces and key not in self._windows
                if ready:
                    self._due.append(key)
            if replaces and self._conflated is not None:
                self._conflated(older)
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            self.finish(error)
            return
        if ready:
            self._drain(wait=False)
            self._set_alarm()

    def _set_alarm(self) -> None:
        """For the end of the oldest window; they all are of one length, so no other ends before it."""
        with self._lock:
            if self._timed or not self._windows:
                return
            self._timed = True
            rest = next(iter(self._windows.values())) - self._scheduler.now
        self._alarm.set(rest)

    def _on_alarm(self) -> None:
        with self._lock:
            now = self._scheduler.now
            while self._windows:
                key, end = next(iter(self._windows.items()))
                if end > now:
                    break
                del self._windows[key]
                if key in self._held:
                    self._due.append(key)
        self._drain(wait=False)
        with self._lock:
            self._timed = False
        self._set_alarm()

    def _take(self) -> tuple[A] | None:
        if not self._due:
            return None
        key = self._due.popleft()
        self._windows[key] = self._scheduler.now + self._window
        return (self._held.pop(key),)

    def _flush(self) -> None:
        self._due.extend(key for key in self._windows if key in self._held)
        self._windows.clear()

    def _forget(self) -> None:
        self._held.clear()
        self._due.clear()
        self._windows.clear()
