"""A rate for each key: the first item of a window of time, or its newest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta
from typing import Literal, TypeAlias, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._observation import observe
from operators._windows import Windowed
from operators.conflate import conflate

A = TypeVar("A")

Edge: TypeAlias = Literal["leading", "trailing", "both"]


def throttle(
    seconds: float,
    key: Callable[[A], Hashable],
    *,
    edge: Edge = "leading",
    dropped: Callable[[A], None] | None = None,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[A]]:
    """Pass one item of each key every `seconds`: the first, or the newest; the others are dropped.

        source    a1-a2-a3-b1---------------a4-a5|
                      throttle(7 ticks, key), where the key is the letter
        result    a1-------b1---------------a4---|
        dropped   ---a2-a3---------------------a5|
                      throttle(7 ticks, key, edge="trailing")
        result    -------a3-------b1-------------a5|
        dropped   ---a1-a2---------------------a4|

    An item of a quiet key opens a window of `seconds`. With the leading edge it passes, and what else comes in the
    window is dropped: for alerts, of which the first counts. With the trailing edge it is held, what comes replaces
    it, and the newest passes when the window ends: for what is not to be shown before it has calmed down. With both,
    this is `conflate`: the first passes at once, and the newest when the window ends.

    The leading edge has no timer. With a trailing one, calls to the subscriber never overlap, and a slow subscriber
    does not hold the source back; when the source ends, by completion or by error, what is held is emitted first, its
    windows notwithstanding; disposing drops it; and a subscriber that raises ends the stream with that exception in
    its own `on_error`.

    Laws:
        Every item is either emitted or passed to `dropped`, unless disposed: in = out + dropped.
        For each key the order is kept, and items are `seconds` apart but for the end.
        With the leading edge, what has passed passes again: applied twice is the same as once.
        Memory is one window, and with a trailing edge one item, for each key that is not quiet.

    Example:
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> def passed(edge: Edge) -> list[int]:
        ...     clock = VirtualTimeScheduler()
        ...     source = reactivex.cold("1-2-3---------4--5-|", timespan=0.1, scheduler=clock)
        ...     items: list[int] = []
        ...     source.pipe(throttle(0.5, lambda _: "BTC-USD", edge=edge, scheduler=clock)).subscribe(items.append)
        ...     clock.start()
        ...     return items
        >>> passed("leading"), passed("trailing"), passed("both")
        ([1, 4], [3, 5], [1, 3, 4, 5])

    Args:
        seconds: The length of a window.
        key: What an item is about. An exception, or a key that cannot be hashed, is the stream's error.
        edge: Which item of a window passes.
        dropped: Told of each item that does not pass. What it raises is the stream's error.
        scheduler: Keeps the time. Its thread emits what a window has held at its end.

    Raises:
        ValueError: `seconds` is not positive, or `edge` is none of the three.
    """
    if seconds <= 0:
        raise ValueError(f"seconds must be positive: {seconds}")
    if edge not in {"leading", "trailing", "both"}:
        raise ValueError(f"edge must be 'leading', 'trailing' or 'both': {edge!r}")
    if edge == "both":
        return conflate(seconds, key, conflated=dropped, scheduler=scheduler)
    window = timedelta(seconds=seconds)

    def operator(source: Observable[A]) -> Observable[A]:
        def subscribe(observer: ObserverBase[A], subscribe_scheduler: SchedulerBase | None = None) -> DisposableBase:
            if edge == "trailing":
                windowed = Windowed(observer, scheduler, window=window, key=key, replaced=dropped, leading=False)
                return windowed.connect(source, subscribe_scheduler)
            on_next = _leading(observer, _Windows(scheduler, window), key, dropped)
            return observe(source, on_next, observer, subscribe_scheduler)

        return Observable(subscribe)

    return operator


def _leading(
    observer: ObserverBase[A], windows: _Windows, key: Callable[[A], Hashable], dropped: Callable[[A], None] | None
) -> Callable[[A], None]:
    def on_next(item: A) -> None:
        try:
            passes = windows.opens(key(item))
            if not passes and dropped is not None:
                dropped(item)
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            observer.on_error(error)
        else:
            if passes:
                observer.on_next(item)

    return on_next


class _Windows:
    """When the window of each key ends, the oldest first; those that are over go when the next item comes."""

    def __init__(self, scheduler: SchedulerBase, window: timedelta) -> None:
        self._scheduler = scheduler
        self._window = window
        self._ends: OrderedDict[Hashable, datetime] = OrderedDict()

    def opens(self, key: Hashable) -> bool:
        """Whether an item of that key opens a window now, there being none."""
        now = self._scheduler.now
        ends = self._ends
        while ends and next(iter(ends.values())) <= now:
            ends.popitem(last=False)
        if key in ends:
            return False
        ends[key] = now + self._window
        return True
