"""Batches closed by count, bytes or time, whose subscriber may block: that is the backpressure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf
from typing import TypeVar, overload

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._emission import SerialEmission

A = TypeVar("A")


@overload
def batch(
    *, count: int | Callable[[], int], seconds: float, scheduler: SchedulerBase
) -> Callable[[Observable[A]], Observable[list[A]]]: ...
@overload
def batch(
    *,
    count: int | Callable[[], int],
    seconds: float,
    bytes: int | None,
    size: Callable[[A], int] | None,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[list[A]]]: ...
def batch(
    *,
    count: int | Callable[[], int],
    seconds: float,
    bytes: int | None = None,  # noqa: A002 the word that a user looks for, beside `count` and `seconds`
    size: Callable[[A], int] | None = None,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[list[A]]]:
    """Gather items into lists, each closed by what comes first: its count, its bytes, or its age.

    A batch closes when it holds `count` items, when the next one would make it exceed `bytes` (or nothing more fits),
    and `seconds` after its first item came. None is ever empty. An item larger than `bytes` is a batch of its own.

        source  a-b-c-d--e------------f-g|
                    batch(count=3, seconds=5 ticks)
        result  ----[abc]--[de]----------[fg]|

    The subscriber may block, for minutes. The calls to it never overlap and keep the order, whether the source's
    thread or the timer's has closed a batch. Meanwhile one further batch fills, beyond its time if need be; when that
    is full, the source's thread is held back until there is room. There are never more in hand than two batches, and
    the item that did not fit.

    When the source ends, by completion or by error, what is held is emitted first. Disposing drops it: to drain,
    complete the source. A subscriber that raises ends the stream with that exception in its own `on_error`.

    Laws:
        The concatenation of all batches is the source, item for item, in order, unless disposed.
        `1 <= len(batch) <= count`, and `sum(map(size, batch)) <= bytes` or `len(batch) == 1`.
        No item waits longer than `seconds` for a subscriber that is idle.

    Example:
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> clock = VirtualTimeScheduler()
        >>> source = reactivex.cold("a-b-c-d---------e-|", timespan=0.1, scheduler=clock)
        >>> _ = source.pipe(batch(count=3, seconds=0.5, scheduler=clock)).subscribe(print)
        >>> clock.start()
        ['a', 'b', 'c']
        ['d']
        ['e']

    Args:
        count: Most items in a batch; or a function that is asked for it as each batch begins, and may give any number:
            one below 1 counts as 1. An exception is the stream's error, as one of `size`.
        seconds: Most time between a batch's first item and its closing.
        bytes: Most bytes in a batch, as `size` counts them; needs `size`.
        size: The bytes of an item. An exception is the stream's error, after what is held; its item is not emitted.
        scheduler: Keeps the time. Its thread emits the batches that time has closed.

    Raises:
        ValueError: A limit is not positive, or only one of `bytes` and `size` is given.
    """
    if (not callable(count) and count < 1) or seconds <= 0 or (bytes is not None and bytes < 1):
        raise ValueError(f"limits must be positive: count={count}, seconds={seconds}, bytes={bytes}")
    if (bytes is None) != (size is None):
        raise ValueError("bytes and size go together")
    age = timedelta(seconds=seconds)
    most_bytes = inf if bytes is None else bytes

    def operator(source: Observable[A]) -> Observable[list[A]]:
        def subscribe(
            observer: ObserverBase[list[A]], subscribe_scheduler: SchedulerBase | None = None
        ) -> DisposableBase:
            batching = _Batching(observer, scheduler, count=count, age=age, most_bytes=most_bytes, size=size)
            return batching.connect(source, subscribe_scheduler)

        return Observable(subscribe)

    return operator


class _Batching(SerialEmission[A, list[A]]):
    def __init__(
        self,
        observer: ObserverBase[list[A]],
        scheduler: SchedulerBase,
        *,
        count: int | Callable[[], int],
        age: timedelta,
        most_bytes: float,
        size: Callable[[A], int] | None,
    ) -> None:
        super().__init__(observer, scheduler)
        self._scheduler = scheduler
        self._count = count
        self._most = 0
        self._age = age
        self._most_bytes = most_bytes
        self._size = size
        self._held: list[A] = []
        self._held_bytes = 0
        self._due = False
        self._opened_at: datetime = scheduler.now
        self._number = 0
        self._timed: int | None = None
        self._closed: deque[list[A]] = deque()

    def on_next(self, item: A) -> None:
        size = 0
        try:
            if self._size is not None:
                size = self._size(item)
            if not self._held:
                self._most = self._count() if callable(self._count) else self._count
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            self.finish(error)
            return
        with self._lock:
            if not self._accepting:
                return
            if self._held_bytes + size > self._most_bytes and self._held:
                self._close()
            held = self._held
            held.append(item)
            self._held_bytes += size
            set_alarm = False
            if len(held) >= self._most or self._held_bytes >= self._most_bytes:
                self._close()
            elif len(held) == 1:
                set_alarm = self._open()
            closed = self._closed
        if set_alarm:
            self._alarm.set(self._age)
        if closed:
            self._drain(wait=True)

    def _open(self) -> bool:
        """Note when the batch began; whether the alarm must be set for it, not being set for an earlier one."""
        self._opened_at = self._scheduler.now
        if self._timed is not None:
            return False
        self._timed = self._number
        return True

    def _close(self) -> None:
        self._closed.append(self._held)
        self._held = []
        self._held_bytes = 0
        self._due = False
        self._number += 1

    def _on_alarm(self) -> None:
        """Close the batch that the alarm was set for; if that is gone, set it for the rest of the present one's time.

        So batches that fill before their time cost no timer each.
        """
        with self._lock:
            rest = timedelta(0)
            if not self._held:
                self._timed = None
            elif self._timed == self._number:
                self._timed = None
                self._due = True
            else:
                self._timed = self._number
                rest = min(self._opened_at + self._age - self._scheduler.now, self._age)
            due, timed = self._due, self._timed
        if due:
            self._drain(wait=False)
        elif timed is not None:
            self._alarm.set(rest)

    def _take(self) -> tuple[list[A]] | None:
        # A batch whose time has come while the subscriber was busy stays open, so that it fills rather than queues.
        if self._due and self._held:
            self._close()
        return (self._closed.popleft(),) if self._closed else None

    def _flush(self) -> None:
        self._due = True

    def _forget(self) -> None:
        self._held = []
        self._closed.clear()
