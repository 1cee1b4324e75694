"""`retry_with_backoff` between the threads of its sources, of its timer, and of whoever disposes it."""

from __future__ import annotations

from itertools import repeat
from random import Random
from threading import Event, Lock, Thread, current_thread

import pytest
import reactivex
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.scheduler import EventLoopScheduler

from operators import retry_with_backoff
from tests.operators.support import DEADLINE, Subscriber, join, start, wait_for_turn

pytestmark = pytest.mark.usefixtures("frequent_switches")


def at_once(_attempt: int, _error: Exception) -> float:
    return 0


class FragileSource:
    """Emits the next numbers on a thread of its own per subscription, and fails after a few of them.

    Attributes:
        active: How many subscriptions are made and not disposed.
        most_active: The most there ever were at a time.
        threads: One per subscription.
    """

    def __init__(self, seed: int, total: int) -> None:
        self.active = 0
        self.most_active = 0
        self.threads: list[Thread] = []
        self._random = Random(seed)
        self._next = 0
        self._total = total
        self._lock = Lock()

    def observable(self) -> Observable[int]:
        return Observable(self._subscribe)

    def _subscribe(self, observer: ObserverBase[int], _scheduler: SchedulerBase | None) -> DisposableBase:
        with self._lock:
            self.active += 1
            self.most_active = max(self.most_active, self.active)
        self.threads += start(lambda: self._emit(observer))
        return Disposable(self._dispose)

    def _emit(self, observer: ObserverBase[int]) -> None:
        for _ in range(self._random.randrange(4)):
            if self._next == self._total:
                observer.on_completed()
                return
            self._next += 1
            observer.on_next(self._next - 1)
        observer.on_error(ConnectionError("lost"))

    def _dispose(self) -> None:
        with self._lock:
            self.active -= 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("seconds", [0, 1e-5])
def test_every_item_once_in_order_from_one_subscription_at_a_time(
    event_loop: EventLoopScheduler, seed: int, seconds: float
) -> None:
    source, got = FragileSource(seed, total=300), Subscriber[int]()
    source.observable().pipe(retry_with_backoff(lambda *_: seconds, scheduler=event_loop)).subscribe(got)

    got.wait_until(lambda: len(got.ends) == 1)
    join(*source.threads)
    wait_for_turn(event_loop)  # which may still be about to be given the subscription that has completed

    assert got.items == list(range(300))
    assert got.ends == [None]
    assert got.overlaps == 0
    assert len(source.threads) > 100
    assert source.most_active == 1
    assert source.active == 0


@pytest.mark.parametrize("seed", range(20))
def test_disposing_races_errors_and_timers(event_loop: EventLoopScheduler, seed: int) -> None:
    source, got = FragileSource(seed, total=100_000), Subscriber[int]()
    subscription = source.observable().pipe(retry_with_backoff(at_once, scheduler=event_loop)).subscribe(got)

    got.wait_until(lambda: len(got.items) > seed)
    subscription.dispose()
    subscription.dispose()
    wait_for_turn(event_loop)  # a subscription that the timer was making has been made, and disposed
    subscriptions = len(source.threads)
    join(*source.threads)
    wait_for_turn(event_loop)

    assert len(source.threads) == subscriptions
    assert source.active == 0
    assert source.most_active == 1
    assert got.items == list(range(len(got.items)))
    assert got.ends == []


def test_disposing_during_a_long_wait_subscribes_no_more(event_loop: EventLoopScheduler) -> None:
    waiting = Event()
    subscriptions: list[int] = []

    def failing(_: SchedulerBase) -> Observable[int]:
        subscriptions.append(1)
        return reactivex.throw(ConnectionError("lost"))

    subscription = (
        reactivex.defer(failing)
        .pipe(retry_with_backoff(lambda *_: 0.002, on_retry=lambda *_: waiting.set(), scheduler=event_loop))
        .subscribe()
    )
    assert waiting.wait(DEADLINE)
    subscription.dispose()
    rung = Event()
    event_loop.schedule_relative(0.004, lambda *_: rung.set())
    assert rung.wait(DEADLINE)

    made = len(subscriptions)
    wait_for_turn(event_loop)
    assert len(subscriptions) == made


def test_a_source_that_never_returns_can_be_disposed_although_it_was_subscribed_again(
    event_loop: EventLoopScheduler,
) -> None:
    asked = Event()
    pulled: list[Thread] = []

    def endless() -> Observable[int]:
        def pull(item: int) -> int:
            pulled.append(current_thread())
            asked.set()
            return item

        return reactivex.from_iterable(pull(item) for item in repeat(1))

    sources = iter([reactivex.throw(ConnectionError("lost")), endless()])
    subscription = (
        reactivex.defer(lambda _: next(sources)).pipe(retry_with_backoff(at_once, scheduler=event_loop)).subscribe()
    )

    assert asked.wait(DEADLINE)
    subscription.dispose()
    wait_for_turn(event_loop)  # which is to say: its thread came back from the source

    assert pulled[0] is not current_thread()


def test_an_interrupt_in_a_subscriber_is_raised_to_the_source() -> None:
    """Ctrl-C ends the program, not the stream."""
    source = reactivex.of(1)

    def on_item(_item: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        source.pipe(retry_with_backoff(at_once, scheduler=EventLoopScheduler())).subscribe(on_item)
