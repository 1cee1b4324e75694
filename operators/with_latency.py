"""How old an item is when it comes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._moments import Moment, nanoseconds
from operators._observation import observe

A = TypeVar("A")

_SECOND = 1_000_000_000  # nanoseconds


class Aged(NamedTuple, Generic[A]):
    """An item, and its age in seconds when it came: negative if its clock is ahead of the scheduler's."""

    item: A
    seconds: float


def with_latency(
    time: Callable[[A], Moment | None],
    *,
    failed: Callable[[A, Exception], None] | None = None,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[Aged[A]]]:
    """Pair each item with its age: the scheduler's time, less its own.

        source  ---1----3-----------7|    an item is written as its own time
                    with_latency(time)
        result  ---2----5-----------13|   and its age

    The age is that of the moment at which the item comes to this operator: to know what a queue or a slow stage adds,
    put one before it and one behind. Two clocks are compared, the exchange's and the scheduler's, so the age has their
    difference in it, and may be negative; it is not cut off, since then the difference could not be seen.
    A `SteadyScheduler` does not follow the wall clock when that is set; for ages over days use another.

    Laws:
        Every item is either emitted or passed to `failed`; order is kept.
        `seconds` is exact to a microsecond, which is the resolution of the scheduler's clock.

    Example:
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> clock = VirtualTimeScheduler()
        >>> source = reactivex.cold("---1----3--|", timespan=1, scheduler=clock)
        >>> aged = source.pipe(with_latency(lambda second: second * 1_000_000_000, scheduler=clock))
        >>> _ = aged.subscribe(lambda pair: print(f"{pair.item}: {pair.seconds:g} s"))
        >>> clock.start()
        1: 2 s
        3: 5 s

    Args:
        time: When the item was made: RFC 3339 text as messages have it, an aware datetime, or nanoseconds since 1970
            (UTC). An exception, None and what is no time are the stream's error, unless there is `failed`.
        failed: Told of each item whose time could not be read, and why; the stream lives on without it. What it raises
            is the stream's error.
        scheduler: Its clock is what the item's time is compared with.
    """

    def operator(source: Observable[A]) -> Observable[Aged[A]]:
        def subscribe(
            observer: ObserverBase[Aged[A]], subscribe_scheduler: SchedulerBase | None = None
        ) -> DisposableBase:
            def on_next(item: A) -> None:
                try:
                    aged = Aged(item, (nanoseconds(scheduler.now) - nanoseconds(time(item))) / _SECOND)
                except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
                    fail(item, error)
                else:
                    observer.on_next(aged)

            def fail(item: A, error: Exception) -> None:
                try:
                    if failed is None:
                        raise error  # noqa: TRY301 as what `failed` raises
                    failed(item, error)
                except Exception as unexpected:  # noqa: BLE001 whatever a user's function raises is the stream's error
                    observer.on_error(unexpected)

            return observe(source, on_next, observer, subscribe_scheduler)

        return Observable(subscribe)

    return operator
