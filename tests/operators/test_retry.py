from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from threading import Event
from typing import Any, TypeVar

import pytest
import reactivex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.scheduler import (
    CurrentThreadScheduler,
    EventLoopScheduler,
    ImmediateScheduler,
    VirtualTimeScheduler,
)
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.coldobservable import ColdObservable
from reactivex.testing.recorded import Recorded

from operators import retry_with_backoff
from tests.operators.support import DEADLINE, CountingScheduler

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

A = TypeVar("A")

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LOST = ConnectionError("lost")


def ten_times(attempt: int, _error: Exception) -> float:
    return 10 * attempt


def at_once(_attempt: int, _error: Exception) -> float:
    return 0


def one_after_the_other(*sources: Observable[A]) -> Observable[A]:
    """Each subscription gets the next of the sources."""
    remaining = iter(sources)
    return reactivex.defer(lambda _: next(remaining))


def cold(clock: TestScheduler, *messages: Recorded[Any]) -> ColdObservable[int]:
    return clock.create_cold_observable(*messages)


def test_subscribes_anew_after_the_delay_of_each_attempt(clock: TestScheduler) -> None:
    first = cold(clock, on_next(10, 1), on_error(20, LOST))
    second = cold(clock, on_error(5, LOST))
    third = cold(clock, on_next(10, 2), on_next(20, 3), on_completed(30))
    told: list[tuple[Exception, int, float]] = []

    result = clock.start(
        lambda: one_after_the_other(first, second, third).pipe(
            retry_with_backoff(ten_times, on_retry=lambda *retry: told.append(retry), scheduler=clock)
        )
    )

    assert result.messages == [on_next(210, 1), on_next(265, 2), on_next(275, 3), on_completed(285)]
    assert first.subscriptions == [subscribe(200, 220)]
    assert second.subscriptions == [subscribe(230, 235)]
    assert third.subscriptions == [subscribe(255, 285)]
    assert told == [(LOST, 1, 10), (LOST, 2, 20)]


def test_the_delay_may_depend_on_the_error(clock: TestScheduler) -> None:
    first = cold(clock, on_error(10, TimeoutError("7")))
    second = cold(clock, on_completed(10))

    clock.start(
        lambda: one_after_the_other(first, second).pipe(
            retry_with_backoff(lambda _, error: float(str(error)), scheduler=clock)
        )
    )

    assert second.subscriptions == [subscribe(217, 227)]


def test_only_a_good_item_starts_the_count_over(clock: TestScheduler) -> None:
    greets = cold(clock, on_next(1, 0), on_error(2, LOST))
    works = cold(clock, on_next(1, 0), on_next(2, 7), on_next(3, 0), on_error(4, LOST))
    ends = cold(clock, on_completed(1))
    attempts: list[int] = []
    asked: list[int] = []

    def good(item: int) -> bool:
        asked.append(item)
        return item > 0

    clock.start(
        lambda: one_after_the_other(greets, greets, works, ends).pipe(
            retry_with_backoff(
                ten_times,
                good=good,
                on_retry=lambda _error, attempt, _seconds: attempts.append(attempt),
                scheduler=clock,
            )
        )
    )

    assert attempts == [1, 2, 1]
    assert asked == [0, 0, 7]  # the count was 0 before the first item of all, and after the 7


def test_without_a_test_any_item_is_good(clock: TestScheduler) -> None:
    greets = cold(clock, on_next(1, 0), on_error(2, LOST))
    attempts: list[int] = []

    clock.start(
        lambda: one_after_the_other(greets, greets, greets, cold(clock, on_completed(1))).pipe(
            retry_with_backoff(
                ten_times, on_retry=lambda _error, attempt, _seconds: attempts.append(attempt), scheduler=clock
            )
        )
    )

    assert attempts == [1, 1, 1]


def test_an_error_that_is_not_retryable_passes(clock: TestScheduler) -> None:
    refused = PermissionError("refused")
    first = cold(clock, on_error(10, LOST))
    second = cold(clock, on_next(5, 1), on_error(10, refused))

    result = clock.start(
        lambda: one_after_the_other(first, second).pipe(
            retry_with_backoff(ten_times, retryable=lambda error: error is LOST, scheduler=clock)
        )
    )

    assert result.messages == [on_next(225, 1), on_error(230, refused)]
    assert second.subscriptions == [subscribe(220, 230)]


def test_a_negative_delay_is_none(clock: TestScheduler) -> None:
    first, second = cold(clock, on_error(10, LOST)), cold(clock, on_completed(10))

    clock.start(lambda: one_after_the_other(first, second).pipe(retry_with_backoff(lambda *_: -5, scheduler=clock)))

    assert second.subscriptions == [subscribe(210, 220)]


def test_disposing_ends_the_wait_at_once() -> None:
    clock = CountingScheduler()
    source = clock.create_cold_observable(on_error(10, LOST))

    result = clock.start(lambda: source.pipe(retry_with_backoff(lambda *_: 100, scheduler=clock)), disposed=250)

    assert result.messages == []
    assert source.subscriptions == [subscribe(200, 210)]
    assert clock.last_ring == 210  # which was the source's own


def test_disposing_ends_the_subscription(clock: TestScheduler) -> None:
    source = cold(clock, on_next(10, 1), on_error(100, LOST))

    result = clock.start(lambda: source.pipe(retry_with_backoff(ten_times, scheduler=clock)), disposed=250)

    assert result.messages == [on_next(210, 1)]
    assert source.subscriptions == [subscribe(200, 250)]


def test_each_subscription_counts_for_itself(clock: TestScheduler) -> None:
    attempts: list[int] = []
    source = cold(clock, on_error(10, LOST)).pipe(
        retry_with_backoff(
            lambda *_: 1000, on_retry=lambda _error, attempt, _seconds: attempts.append(attempt), scheduler=clock
        )
    )

    source.subscribe()
    source.subscribe()
    clock.advance_to(500)

    assert attempts == [1, 1]


def fails(*_: Any) -> Any:
    raise ArithmeticError("not by you too")


@pytest.mark.parametrize("broken", ["delay", "retryable", "on_retry"])
def test_what_a_function_raises_is_an_error(clock: TestScheduler, broken: str) -> None:
    source = cold(clock, on_next(5, 1), on_error(10, LOST))
    functions: dict[str, Any] = {"delay": ten_times, broken: fails}

    result = clock.start(lambda: source.pipe(retry_with_backoff(**functions, scheduler=clock)))

    assert result.messages == [on_next(205, 1), on_error(210, ArithmeticError("not by you too"))]
    assert source.subscriptions == [subscribe(200, 210)]


def test_what_good_raises_is_an_error(clock: TestScheduler) -> None:
    source = cold(clock, on_next(5, 1), on_error(10, LOST))

    result = clock.start(lambda: source.pipe(retry_with_backoff(ten_times, good=fails, scheduler=clock)))

    assert result.messages == [on_next(205, 1), on_error(225, ArithmeticError("not by you too"))]
    assert source.subscriptions == [subscribe(200, 210), subscribe(220, 225)]


def test_a_delay_that_is_no_time_is_an_error(clock: TestScheduler) -> None:
    errors: list[Exception] = []

    reactivex.throw(LOST).pipe(retry_with_backoff(lambda *_: float("inf"), scheduler=clock)).subscribe(
        on_error=errors.append
    )

    assert [type(error) for error in errors] == [OverflowError]


def test_a_scheduler_that_takes_no_timer_is_an_error() -> None:
    stopped = EventLoopScheduler()
    stopped.dispose()
    errors: list[Exception] = []

    reactivex.throw(LOST).pipe(retry_with_backoff(at_once, scheduler=stopped)).subscribe(on_error=errors.append)

    assert [type(error).__name__ for error in errors] == ["DisposedException"]


@pytest.mark.parametrize("source", [reactivex.from_iterable(range(9)), Subject[int]()], ids=["cold", "hot"])
def test_a_subscriber_that_raises_is_no_reason_to_subscribe_anew(clock: TestScheduler, source: Observable[int]) -> None:
    failure = ValueError("no sink")
    subscriptions: list[object] = []
    errors: list[Exception] = []

    def on_item(_item: int) -> None:
        raise failure

    reactivex.defer(lambda _: subscriptions.append(source) or source).pipe(
        retry_with_backoff(at_once, scheduler=clock)
    ).subscribe(on_item, errors.append)
    if isinstance(source, Subject):
        source.on_next(1)
        assert source.observers == []
    clock.advance_to(500)

    assert errors == [failure]
    assert len(subscriptions) == 1


def logged(events: list[str], *, within: bool) -> Observable[int]:
    """A source that fails, `within` the call that subscribes or else later, and logs what happens to it."""
    numbers = count(1)

    def subscribe_to(observer: ObserverBase[int], scheduler: SchedulerBase | None) -> DisposableBase:
        number = next(numbers)
        events.append(f"subscribed {number}")
        if within:
            observer.on_error(LOST)
        else:
            assert scheduler is not None
            scheduler.schedule_relative(5, lambda *_: observer.on_error(LOST))
        return Disposable(lambda: events.append(f"disposed {number}"))

    return Observable(subscribe_to)


@pytest.mark.parametrize("within", [True, False], ids=["within subscribe", "later"])
@pytest.mark.parametrize("seconds", [0, 10])
def test_the_failed_subscription_is_disposed_before_the_wait(
    clock: TestScheduler, *, within: bool, seconds: float
) -> None:
    events: list[str] = []

    def told(_error: Exception, attempt: int, _seconds: float) -> None:
        events.append(f"attempt {attempt}")
        if attempt == 3:
            subscription.dispose()

    source = logged(events, within=within).pipe(retry_with_backoff(lambda *_: seconds, on_retry=told, scheduler=clock))
    subscription = source.subscribe(scheduler=clock)
    clock.advance_to(500)

    expected = [(f"subscribed {n}", f"disposed {n}", f"attempt {n}") for n in (1, 2, 3)]
    assert events == [event for attempt in expected for event in attempt]


def failing_at_once(subscriptions: list[int]) -> Observable[int]:
    """A source that emits, and fails, within the call that subscribes."""

    def subscribe_to(observer: ObserverBase[int], _scheduler: SchedulerBase | None) -> DisposableBase:
        subscriptions.append(len(subscriptions) + 1)
        observer.on_next(subscriptions[-1])
        observer.on_error(LOST)
        return Disposable()

    return Observable(subscribe_to)


def test_an_error_of_the_source_after_the_end_is_no_reason_for_an_attempt(clock: TestScheduler) -> None:
    subscriptions, told, errors = list[int](), list[Any](), list[Exception]()
    failure = ValueError("no sink")

    def on_item(_item: int) -> None:
        raise failure

    failing_at_once(subscriptions).pipe(
        retry_with_backoff(at_once, on_retry=lambda *retry: told.append(retry), scheduler=clock)
    ).subscribe(on_item, errors.append)
    clock.advance_to(10)

    assert errors == [failure]
    assert subscriptions == [1]
    assert told == []


def test_disposing_before_the_next_attempt_has_begun_prevents_it() -> None:
    subscriptions: list[int] = []
    source = failing_at_once(subscriptions).pipe(retry_with_backoff(at_once, scheduler=ImmediateScheduler()))

    def subscribe_and_dispose(observer: ObserverBase[int], _scheduler: SchedulerBase | None) -> DisposableBase:
        subscription = source.subscribe(observer)  # the next attempt is due, and waits for this function to return
        subscription.dispose()
        return subscription

    Observable(subscribe_and_dispose).subscribe()

    assert subscriptions == [1]


def test_disposing_within_on_next_ends_it(clock: TestScheduler) -> None:
    source = cold(clock, on_next(10, 1), on_next(20, 2), on_error(30, LOST))

    result = clock.start(lambda: source.pipe(retry_with_backoff(ten_times, scheduler=clock), ops.take(3)))

    assert result.messages == [on_next(210, 1), on_next(220, 2), on_next(250, 1), on_completed(250)]
    assert source.subscriptions == [subscribe(200, 230), subscribe(240, 250)]


# Many attempts.


def depth() -> int:
    frame, frames = sys._getframe(), 0
    while frame.f_back is not None:
        frame, frames = frame.f_back, frames + 1
    return frames


@pytest.mark.parametrize("within", [True, False], ids=["within subscribe", "trampolined"])
@pytest.mark.parametrize(
    "make_scheduler", [ImmediateScheduler, CurrentThreadScheduler, VirtualTimeScheduler, EventLoopScheduler]
)
def test_thousands_of_attempts_take_the_stack_of_one(
    make_scheduler: Callable[[], SchedulerBase], *, within: bool
) -> None:
    scheduler = make_scheduler()
    depths: list[int] = []
    ended = Event()

    def subscribe_to(observer: ObserverBase[int], _scheduler: SchedulerBase | None) -> DisposableBase:
        depths.append(depth())
        if len(depths) == 2_000:
            observer.on_completed()
        else:
            observer.on_error(LOST)
        return Disposable()

    source = Observable(subscribe_to) if within else reactivex.concat(reactivex.empty(), Observable(subscribe_to))
    source.pipe(retry_with_backoff(at_once, scheduler=scheduler)).subscribe(on_completed=ended.set)
    if isinstance(scheduler, VirtualTimeScheduler):
        scheduler.start()

    assert ended.wait(DEADLINE)
    assert len(depths) == 2_000
    assert max(depths[1:]) == depths[1]
    if isinstance(scheduler, EventLoopScheduler):
        scheduler.dispose()


@dataclass(frozen=True)
class Life:
    """One subscription of a source: what it emits, each after a gap, and how it ends."""

    items: list[tuple[int, bool]]
    last: int
    completes: bool = False


lives = st.lists(
    st.builds(Life, items=st.lists(st.tuples(st.integers(1, 9), st.booleans()), max_size=4), last=st.integers(1, 9)),
    max_size=12,
)


@unhurried
@given(failing=lives)
def test_emits_all_that_came_and_waits_as_told(failing: list[Life]) -> None:
    clock = TestScheduler()
    sources: list[ColdObservable[Any]] = []
    messages: list[Recorded[Any]] = []
    subscriptions: list[Any] = []
    now, attempt = 200, 0
    for number, life in enumerate([*failing, Life([], 1, completes=True)]):
        began, time = now, 0
        emitted: list[Recorded[Any]] = []
        for gap, is_good in life.items:
            time += gap
            emitted.append(on_next(time, (number, is_good)))
            messages.append(on_next(began + time, (number, is_good)))
            attempt = 0 if is_good else attempt
        time += life.last
        end = on_completed if life.completes else lambda at: on_error(at, LOST)
        sources.append(clock.create_cold_observable(*emitted, end(time)))
        attempt += 1
        subscriptions.append(subscribe(began, began + time))
        now = began + time + 10 * attempt
    messages.append(on_completed(subscriptions[-1].unsubscribe))

    result = clock.start(
        lambda: one_after_the_other(*sources).pipe(
            retry_with_backoff(ten_times, good=lambda item: item[1], scheduler=clock)
        ),
        disposed=100_000,
    )

    assert result.messages == messages
    assert [source.subscriptions for source in sources] == [[each] for each in subscriptions]
