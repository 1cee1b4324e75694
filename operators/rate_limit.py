"""At most so many items a second: what exceeds waits its turn, or goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import get_ident
from typing import Generic, Literal, TypeAlias, TypeVar

from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase

from operators._alarm import Alarm
from operators._emission import SerialEmission

A = TypeVar("A")

WhenFull: TypeAlias = Literal["drop_newest", "drop_oldest", "fail"]

_MICROSECOND = timedelta(microseconds=1)


class RateLimitExceeded(Exception):
    """More items wait than may."""


def rate_limit(
    count: int,
    seconds: float = 1.0,
    *,
    burst: int = 1,
    hold: int,
    when_full: WhenFull = "fail",
    dropped: Callable[[A], None] | None = None,
    scheduler: SchedulerBase,
) -> Callable[[Observable[A]], Observable[A]]:
    """Pass at most `count` items in `seconds`; of those that exceed it up to `hold` wait, in order.

        source   a-b-c-d-e-----------f-|
                     rate_limit(1, 5 ticks, hold=1, when_full="drop_newest")
        result   a----b----d---------f-|
        dropped  ----c---e-------------|

    This is the token bucket: it holds `burst` tokens at most, a new one comes every `seconds / count`, and an item
    takes one. With a `burst` of 1 items are evenly spaced, and no span of `seconds` has more than `count` of them;
    with more, a quiet stream may say so many at once, before it goes at its rate.

    With `hold=0` none waits, and what exceeds the rate is dropped at once. When the places are taken, `when_full` says
    who goes: the item that comes, the one that waits for the longest, or the stream, with a `RateLimitExceeded`.
    `dropped` is told of each.

    The end of the source, by completion or by error, comes after all that waits, which still passes at its rate.
    Disposing drops it. Calls to the subscriber never overlap; one that is slow holds the source back. A subscriber
    that raises ends the stream with that exception in its own `on_error`.

    Laws:
        Every item is either emitted or passed to `dropped`, unless disposed: in = out + dropped.
        Order is kept. Any span of `seconds`, its end excluded, has at most `count + burst - 1` emissions.
        A source that keeps the rate passes as it is: applied twice is the same as once.
        Memory is `hold` items.

    Example:
        >>> import reactivex
        >>> from reactivex.scheduler import VirtualTimeScheduler
        >>> clock = VirtualTimeScheduler()
        >>> source = reactivex.cold("a-b-c-d-e|", timespan=0.1, scheduler=clock)
        >>> limited = source.pipe(rate_limit(2, burst=2, hold=10, scheduler=clock))
        >>> _ = limited.subscribe(lambda item: print(f"{item} at {clock.clock:.1f}"))
        >>> clock.start()
        a at 0.0
        b at 0.2
        c at 0.5
        d at 1.0
        e at 1.5

    Args:
        count: Most items in `seconds`.
        seconds: The span in which they are counted.
        burst: How many may pass at once after a silence.
        hold: How many may wait.
        when_full: What happens when more would have to wait.
        dropped: Told of each item that goes. What it raises is the stream's error.
        scheduler: Keeps the time. Its thread emits what has waited.

    Raises:
        ValueError: `count`, `seconds` or `burst` is not positive, `hold` is negative, or `when_full` is none of the
            three.
    """
    if count < 1 or seconds <= 0 or burst < 1 or hold < 0:
        raise ValueError(f"must be positive: count={count}, seconds={seconds}, burst={burst}, hold={hold}")
    if when_full not in {"drop_newest", "drop_oldest", "fail"}:
        raise ValueError(f"when_full must be 'drop_newest', 'drop_oldest' or 'fail': {when_full!r}")

    def operator(source: Observable[A]) -> Observable[A]:
        def subscribe(observer: ObserverBase[A], subscribe_scheduler: SchedulerBase | None = None) -> DisposableBase:
            bucket = _Bucket(scheduler.now, count, timedelta(seconds=seconds), burst)
            limiting = _Limiting(observer, scheduler, bucket, hold=hold, when_full=when_full, dropped=dropped)
            return limiting.connect(source, subscribe_scheduler)

        return Observable(subscribe)

    return operator


class _Bucket:
    """The tokens, as the time at which the bucket will be full; a whole number of microseconds divided by `count`.

    This form of the token bucket is the Generic Cell Rate Algorithm of ITU-T I.371: exact, and without a timer.
    """

    def __init__(self, start: datetime, count: int, span: timedelta, burst: int) -> None:
        self._start = start
        self._count = count
        self._interval = max(1, span // _MICROSECOND)
        self._tolerance = (burst - 1) * self._interval
        self._full_at = 0

    def rest(self, now: datetime) -> timedelta:
        """How long until there is a token; nothing, or less, if there is one."""
        missing = self._full_at - self._tolerance - self._ticks(now)
        return -(-missing // self._count) * _MICROSECOND

    def take(self, now: datetime) -> bool:
        """Take a token; whether there was one."""
        ticks = self._ticks(now)
        if ticks < self._full_at - self._tolerance:
            return False
        self._full_at = max(self._full_at, ticks) + self._interval
        return True

    def _ticks(self, now: datetime) -> int:
        since = now - self._start
        return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * self._count


class _Limiting(SerialEmission[A, A], Generic[A]):
    """Items wait in `_held` for a token, and then, with it, in `_ready` for the subscriber."""

    def __init__(
        self,
        observer: ObserverBase[A],
        scheduler: SchedulerBase,
        bucket: _Bucket,
        *,
        hold: int,
        when_full: WhenFull,
        dropped: Callable[[A], None] | None,
    ) -> None:
        super().__init__(observer, scheduler)
        # If the scheduler takes no timers nothing that waits would ever pass: then the end is at once.
        self._alarm = Alarm(scheduler, self._on_alarm, super().finish)
        self._scheduler = scheduler
        self._bucket = bucket
        self._hold = hold
        self._when_full = when_full
        self._dropped = dropped
        self._ready: deque[A] = deque()
        self._held: deque[A] = deque()
        self._timed = False
        self._ending = False

    def on_next(self, item: A) -> None:
        gone: tuple[A] | None = None
        with self._lock:
            if not self._accepting or self._ending:
                return
            passes = not self._held and self._bucket.take(self._scheduler.now)
            at_once = passes and self._emitter is None and not self._ready
            if at_once:
                self._emitter = get_ident()
            elif passes:
                self._ready.append(item)
            elif len(self._held) < self._hold:
                self._held.append(item)
            else:
                gone = (self._make_room(item),)
        if at_once:
            self._pass(item)
        elif passes:
            self._drain(wait=True)
        elif gone is None:
            self._set_alarm()
        else:
            self._drop(gone[0])

    def finish(self, error: Exception | None = None) -> None:
        with self._lock:
            if self._ending:
                return
            self._ending = waits = bool(self._held) and self._accepting
            if waits:
                self._error = error
        if waits:
            self._source.dispose()
        else:
            super().finish(error)

    def _make_room(self, item: A) -> A:
        """Which item goes."""
        if self._when_full != "drop_oldest" or not self._held:
            return item
        self._held.append(item)
        return self._held.popleft()

    def _drop(self, item: A) -> None:
        try:
            if self._dropped is not None:
                self._dropped(item)
            if self._when_full == "fail":
                raise RateLimitExceeded(f"{self._hold} items wait already")  # noqa: TRY301 as what `dropped` raises
        except Exception as error:  # noqa: BLE001 whatever a user's function raises is the stream's error
            self.finish(error)

    def _set_alarm(self) -> None:
        with self._lock:
            if self._timed or not self._held:
                return
            self._timed = True
            rest = self._bucket.rest(self._scheduler.now)
        self._alarm.set(rest)

    def _on_alarm(self) -> None:
        with self._lock:
            now = self._scheduler.now
            while self._held and self._bucket.take(now):
                self._ready.append(self._held.popleft())
        self._drain(wait=False)
        with self._lock:
            self._timed = False
            over = self._ending and not self._held
        if over:
            super().finish(self._error)
        else:
            self._set_alarm()

    def _take(self) -> tuple[A] | None:
        return (self._ready.popleft(),) if self._ready else None

    def _flush(self) -> None:
        self._ready.extend(self._held)
        self._held.clear()

    def _forget(self) -> None:
        self._ready.clear()
        self._held.clear()
