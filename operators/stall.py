"""A stream that went silent is an error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from threading import Lock
from typing import Generic, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import SingleAssignmentDisposable

from operators._alarm import Alarm

A = TypeVar("A")


def stall_after(
    seconds: float, error: Callable[[float], Exception], *, scheduler: SchedulerBase
) -> Callable[[Observable[A]], Observable[A]]:
    """Fail when nothing came for `seconds`, whether after an item or after subscribing.

        source  a---b-c------------d--|
                    stall_after(9 ticks, error)
        result  a---b-c--------X

    The source is disposed first, then the error is emitted, so whoever subscribes anew upon it finds the old
    subscription gone. Time that the subscriber takes for an item is no silence: the clock runs while the source may
    speak.

    Laws:
        Until it fails, the result is the source.
        It never fails while items come less than `seconds` apart, nor during a call to the subscriber.

    Example:
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> clock = VirtualTimeScheduler()
        >>> source = reactivex.cold("a-b-c------------d|", timespan=1, scheduler=clock)
        >>> def silence(seconds: float) -> Exception:
        ...     return TimeoutError(f"nothing for {seconds:g} s")
        >>> _ = source.pipe(stall_after(5, silence, scheduler=clock)).subscribe(print, print)
        >>> clock.start()
        a
        b
        c
        nothing for 5 s

    Args:
        seconds: The longest silence that is none.
        error: Makes the error, given `seconds`. What it raises is the stream's error instead.
        scheduler: Keeps the time. Its thread disposes the source and emits the error.

    Raises:
        ValueError: `seconds` is not positive.
    """
    if seconds <= 0:
        raise ValueError(f"seconds must be positive: {seconds}")

    def operator(source: Observable[A]) -> Observable[A]:
        def subscribe(observer: ObserverBase[A], subscribe_scheduler: SchedulerBase | None = None) -> DisposableBase:
            return _Watch(observer, seconds, error, scheduler).connect(source, subscribe_scheduler)

        return Observable(subscribe)

    return operator


class _Watch(DisposableBase, Generic[A]):
    def __init__(
        self,
        observer: ObserverBase[A],
        seconds: float,
        error: Callable[[float], Exception],
        scheduler: SchedulerBase,
    ) -> None:
        self._observer = observer
        self._seconds = seconds
        self._silence = timedelta(seconds=seconds)
        self._error = error
        self._scheduler = scheduler
        self._lock = Lock()
        self._stopped = False
        self._calls = 0
        self._last = scheduler.now
        self._source = SingleAssignmentDisposable()
        self._alarm = Alarm(scheduler, self._on_alarm, self._on_error)

    def connect(self, source: Observable[A], scheduler: SchedulerBase | None) -> DisposableBase:
        self._alarm.set(self._silence)
        self._source.disposable = source.subscribe(
            self._on_next, self._on_error, self._on_completed, scheduler=scheduler
        )
        return self

    def dispose(self) -> None:
        self._stop()

    def _stop(self) -> bool:
        """Release everything; whether this call was the first to do so, and may end the stream."""
        with self._lock:
            first = not self._stopped
            self._stopped = True
        self._alarm.dispose()
        self._source.dispose()
        return first

    def _on_next(self, item: A) -> None:
        with self._lock:
            if self._stopped:
                return
            self._calls += 1
        try:
            self._observer.on_next(item)
        finally:
            self._last = self._scheduler.now
            self._calls -= 1

    def _on_error(self, error: Exception) -> None:
        if self._stop():
            self._observer.on_error(error)

    def _on_completed(self) -> None:
        if self._stop():
            self._observer.on_completed()

    def _on_alarm(self) -> None:
        with self._lock:
            if self._stopped:
                return
            rest = self._silence if self._calls else self._last + self._silence - self._scheduler.now
            # From here on an item that comes after all finds the stream stopped: the error overlaps no call.
            stalled = self._stopped = rest <= timedelta(0)
        if stalled:
            self._stall()
        else:
            self._alarm.set(rest)

    def _stall(self) -> None:
        self._stop()
        try:
            error = self._error(self._seconds)
        except Exception as unexpected:  # noqa: BLE001 whatever a user's function raises is the stream's error
            error = unexpected
        self._observer.on_error(error)
