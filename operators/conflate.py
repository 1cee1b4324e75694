"""The newest item of each key, at a rate that a reader can follow."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import timedelta
from typing import TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._windows import Windowed

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
            windowed = Windowed(observer, scheduler, window=window, key=key, replaced=conflated, leading=True)
            return windowed.connect(source, subscribe_scheduler)

        return Observable(subscribe)

    return operator
