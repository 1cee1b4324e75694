"""The newest item of each key, on a regular tick."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._emission import SerialEmission

A = TypeVar("A")


def sample_latest(
    seconds: float,
    key: Callable[[A], Hashable],
    *,
    replaced: Callable[[A], None] | None = None,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[A]]:
    """Pass, at every tick of `seconds`, the newest item of each key that has come since the last one.

        source    a1-a2-b1-----------b2-----|
                      sample_latest(10 ticks, key), where the key is the letter
        result    ----------a2b1------b2----|
        replaced  ---a1---------------------|

    The ticks are counted from the subscription and are the same for all keys, so what passes at one of them belongs
    together: a picture of the market, every so often. A key of which nothing came is not repeated, and a tick at which
    there is nothing costs nothing: there is a timer only while something is held. Keys pass in the order in which the
    first item of each came.

    A slow subscriber does not hold the source back while the timer's thread is in it; it gets the newest there is when
    its call returns. When the source ends, by completion or by error, what is held is emitted first. Disposing drops
    it. A subscriber that raises ends the stream with that exception in its own `on_error`.

    Laws:
        Every item is either emitted or passed to `replaced`, unless disposed: in = out + replaced.
        For each key the order is kept, the last item is emitted, and there is at most one item at a tick.
        Memory is one item for each key that came since the last tick.

    Example:
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> clock = VirtualTimeScheduler()
        >>> source = reactivex.cold("-1-2-3---------4--|", timespan=0.1, scheduler=clock)
        >>> def shown(price: int) -> None:
        ...     print(f"{price} at {clock.clock:.1f}")
        >>> _ = source.pipe(sample_latest(0.4, lambda price: "BTC-USD", scheduler=clock)).subscribe(shown)
        >>> clock.start()
        2 at 0.4
        3 at 0.8
        4 at 1.6

    Args:
        seconds: The time from one tick to the next.
        key: What an item is about. An exception, or a key that cannot be hashed, is the stream's error.
        replaced: Told of each item that a newer one has replaced. What it raises is the stream's error.
        scheduler: Keeps the time. Its thread emits.

    Raises:
        ValueError: `seconds` is not positive.
    """
    if seconds <= 0:
        raise ValueError(f"seconds must be positive: {seconds}")
    tick = timedelta(seconds=seconds)

    def operator(source: Observable[A]) -> Observable[A]:
        def subscribe(observer: ObserverBase[A], subscribe_scheduler: SchedulerBase | None = None) -> DisposableBase:
            return _Sampling(observer, scheduler, tick, key, replaced).connect(source, subscribe_scheduler)

        return Observable(subscribe)

    return operator


class _Sampling(SerialEmission[A, A]):
    """Of the held items those are due whose key is in `_due`: a set that keeps the order."""

    def __init__(
        self,
        observer: ObserverBase[A],
        scheduler: SchedulerBase,
        tick: timedelta,
        key: Callable[[A], Hashable],
        replaced: Callable[[A], None] | None,
    ) -> None:
        super().__init__(observer, scheduler)
        self._scheduler = scheduler
        self._start = scheduler.now
        self._tick = tick
        self._key = key
        self._replaced = replaced
        self._held: dict[Hashable, A] = {}
        self._due: dict[Hashable, None] = {}
        self._timed = False

    def on_next(self, item: A) -> None:
        try:
            key = self._key(item)
            with self._lock:
                if not self._accepting:
                    return
                held = self._held
                replaces = key in held
                older = held[key] if replaces else item
                held[key] = item
            if replaces and self._replaced is not None:
                self._replaced(older)
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            self.finish(error)
            return
        if not self._timed:
            self._set_alarm()

    def _set_alarm(self) -> None:
        """For the next tick, if something is held for it."""
        with self._lock:
            if self._timed or len(self._due) == len(self._held):
                return
            self._timed = True
            rest = self._tick - (self._scheduler.now - self._start) % self._tick
        self._alarm.set(rest)

    def _on_alarm(self) -> None:
        with self._lock:
            self._timed = False
            self._due = dict.fromkeys(self._held)
        self._drain(wait=False)
        self._set_alarm()

    def _take(self) -> tuple[A] | None:
        if not self._due:
            return None
        key = next(iter(self._due))
        del self._due[key]
        return (self._held.pop(key),)

    def _flush(self) -> None:
        self._due = dict.fromkeys(self._held)

    def _forget(self) -> None:
        self._held.clear()
        self._due.clear()
