from __future__ import annotations

import gc
import weakref
from threading import Event
from time import sleep
from typing import Any

import pytest
import reactivex
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops
from reactivex.abc import DisposableBase, ObserverBase, ScheduledAction, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.recorded import Recorded
from reactivex.typing import RelativeTime

from operators import retry_with_backoff, stall_after
from tests.operators.support import DEADLINE, CountingScheduler, Subscriber, join, start, wait_for_turn

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Stalled(Exception):
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(f"nothing for {seconds:g} s")


def test_fails_when_nothing_comes_after_an_item(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(240, 2), on_next(270, 3), on_next(400, 4))

    result = clock.start(lambda: source.pipe(stall_after(50, Stalled, scheduler=clock)))

    assert result.messages == [
        on_next(210, 1),
        on_next(240, 2),
        on_next(270, 3),
        on_error(320, Stalled(50)),
    ]
    assert source.subscriptions == [subscribe(200, 320)]


def test_fails_when_nothing_comes_after_subscribing(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(190, 1), on_next(400, 2))

    result = clock.start(lambda: source.pipe(stall_after(50, Stalled, scheduler=clock)))

    assert result.messages == [on_error(250, Stalled(50))]
    assert source.subscriptions == [subscribe(200, 250)]


def test_a_steady_source_passes_and_costs_no_timer_an_item() -> None:
    clock = CountingScheduler()
    items = [on_next(time, time) for time in range(201, 900)]
    source = clock.create_hot_observable(*items, on_completed(901))

    result = clock.start(lambda: source.pipe(stall_after(50, Stalled, scheduler=clock)))

    assert result.messages == [*items, on_completed(901)]
    assert source.subscriptions == [subscribe(200, 901)]
    assert clock.timers <= 1 + 700 / 49
    assert clock.most_pending == 1
    assert clock.last_ring < 901


@pytest.mark.parametrize("end", [on_completed(230), on_error(230, OSError("lost"))], ids=["completion", "error"])
def test_an_end_passes_and_is_the_only_one(end: Recorded[int]) -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(on_next(210, 1), end)

    result = clock.start(lambda: source.pipe(stall_after(50, Stalled, scheduler=clock)))

    assert result.messages == [on_next(210, 1), end]
    assert source.subscriptions == [subscribe(200, 230)]
    assert clock.last_ring == 0


def test_disposing_ends_the_subscription_and_the_timer() -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(on_next(210, 1))

    result = clock.start(lambda: source.pipe(stall_after(50, Stalled, scheduler=clock)), disposed=240)

    assert result.messages == [on_next(210, 1)]
    assert source.subscriptions == [subscribe(200, 240)]
    assert clock.last_ring == 0


def test_what_error_raises_is_the_error(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 1))

    def error(_seconds: float) -> Exception:
        raise ArithmeticError("not you too")

    result = clock.start(lambda: source.pipe(stall_after(50, error, scheduler=clock)))

    assert result.messages == [on_next(210, 1), on_error(260, ArithmeticError("not you too"))]
    assert source.subscriptions == [subscribe(200, 260)]


def deaf(events: list[str], observers: list[ObserverBase[int]]) -> Observable[int]:
    """A source that logs its disposal, and goes on emitting if one wants it to."""

    def subscribe_to(observer: ObserverBase[int], _scheduler: SchedulerBase | None) -> DisposableBase:
        observers.append(observer)
        return Disposable(lambda: events.append("disposed"))

    return Observable(subscribe_to)


def test_the_source_is_disposed_before_the_error_is_emitted(clock: TestScheduler) -> None:
    events: list[str] = []
    observers: list[ObserverBase[int]] = []
    deaf(events, observers).pipe(stall_after(50, Stalled, scheduler=clock)).subscribe(
        lambda item: events.append(f"got {item}"), lambda error: events.append(str(error))
    )

    clock.advance_to(60)
    observers[0].on_next(1)
    observers[0].on_completed()

    assert events == ["disposed", "nothing for 50 s"]


def test_a_retry_finds_the_stalled_subscription_gone(clock: TestScheduler) -> None:
    source = clock.create_cold_observable(on_next(10, 1))

    result = clock.start(
        lambda: source.pipe(
            stall_after(50, Stalled, scheduler=clock), retry_with_backoff(lambda *_: 5, scheduler=clock), ops.take(3)
        )
    )

    assert result.messages == [on_next(210, 1), on_next(275, 1), on_next(340, 1), on_completed(340)]
    assert source.subscriptions == [subscribe(200, 260), subscribe(265, 325), subscribe(330, 340)]


def test_time_that_the_subscriber_takes_is_no_silence(clock: TestScheduler) -> None:
    source, got = Subject[int](), Subscriber[int]()

    def on_item(item: int) -> None:
        clock.advance_by(120)
        assert got.ends == []
        got.on_next(item)

    source.pipe(stall_after(50, Stalled, scheduler=clock)).subscribe(on_item, got.on_error, got.on_completed)
    source.on_next(1)
    clock.advance_to(169)
    assert got.ends == []
    clock.advance_to(170)

    assert got.items == [1]
    assert [str(end) for end in got.ends] == ["nothing for 50 s"]


def test_an_item_that_the_subscriber_itself_causes_passes_within_its_call(clock: TestScheduler) -> None:
    source, got = Subject[int](), list[int]()

    def on_item(item: int) -> None:
        got.append(item)
        if item < 3:
            source.on_next(item + 1)
            clock.advance_by(100)  # still within a call, whatever calls within it have ended

    errors: list[Exception] = []
    source.pipe(stall_after(50, Stalled, scheduler=clock)).subscribe(on_item, errors.append)
    source.on_next(1)

    assert got == [1, 2, 3]
    assert errors == []
    clock.advance_by(50)
    assert [str(error) for error in errors] == ["nothing for 50 s"]


def test_a_subscriber_that_raises_does_not_blind_the_watch(clock: TestScheduler) -> None:
    source, errors = Subject[int](), list[Exception]()

    def on_item(_item: int) -> None:
        raise ValueError

    source.pipe(stall_after(50, Stalled, scheduler=clock)).subscribe(on_item, errors.append)
    with pytest.raises(ValueError):
        source.on_next(1)
    clock.advance_to(60)

    assert [str(error) for error in errors] == ["nothing for 50 s"]


def test_a_scheduler_that_takes_no_timer_is_an_error() -> None:
    stopped = EventLoopScheduler()
    stopped.dispose()
    source, got = Subject[int](), Subscriber[int]()

    source.pipe(stall_after(50, Stalled, scheduler=stopped)).subscribe(got)

    assert [type(end).__name__ for end in got.ends] == ["DisposedException"]
    assert source.observers == []


class HastyScheduler(CountingScheduler):
    """Rings the first timer early, before the call that sets it has returned, as another thread might."""

    def schedule_relative(
        self, duetime: RelativeTime, action: ScheduledAction[Any], state: Any = None
    ) -> DisposableBase:
        if self.timers == 0:
            self.timers += 1
            action(self, state)
            return Disposable()
        return super().schedule_relative(duetime, action, state)


def test_a_timer_that_rings_while_it_is_being_set_goes_on_ringing() -> None:
    clock = HastyScheduler()
    source = clock.create_hot_observable(on_next(210, 1))

    result = clock.start(lambda: source.pipe(stall_after(50, Stalled, scheduler=clock)))

    assert result.messages == [on_next(210, 1), on_error(260, Stalled(50))]


@pytest.mark.parametrize("seconds", [0, -1])
def test_seconds_must_be_positive(clock: TestScheduler, seconds: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        stall_after(seconds, Stalled, scheduler=clock)


@unhurried
@given(gaps=st.lists(st.integers(1, 60), max_size=60), seconds=st.integers(1, 70), rest=st.integers(1, 60))
@example(gaps=[50], seconds=50, rest=50)
def test_passes_all_up_to_the_first_silence(gaps: list[int], seconds: int, rest: int) -> None:
    clock = CountingScheduler()
    sent: list[Recorded[Any]] = []
    now = 200
    for gap in gaps:
        now += gap
        sent.append(on_next(now, now))
    sent.append(on_completed(now + rest))
    expected: list[Recorded[Any]] = []
    last = 200
    for message in sent:
        if message.time > last + seconds:
            expected.append(on_error(last + seconds, Stalled(seconds)))
            break
        last = message.time
        expected.append(message)
    source = clock.create_hot_observable(*sent)

    result = clock.start(lambda: source.pipe(stall_after(seconds, Stalled, scheduler=clock)), disposed=now + 1000)

    assert result.messages == expected
    assert source.subscriptions == [subscribe(200, expected[-1].time)]
    assert clock.most_pending == 1
    assert clock.last_ring <= expected[-1].time


# Threads.


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("_run", range(20))
def test_an_item_races_the_timer_and_is_passed_or_too_late(event_loop: EventLoopScheduler, _run: int) -> None:
    source, got = Subject[int](), Subscriber[int]()

    def on_item(item: int) -> None:
        sleep(0)
        got.on_next(item)

    source.pipe(stall_after(0.0002, Stalled, scheduler=event_loop)).subscribe(on_item, got.on_error, got.on_completed)

    def produce() -> None:
        item = 0
        while not got.ends:
            source.on_next(item)
            item += 1
            for _ in range(item % 97):
                sleep(0)

    join(*start(produce))

    assert got.items == list(range(len(got.items)))
    assert [str(end) for end in got.ends] == ["nothing for 0.0002 s"]
    assert got.overlaps == 0
    assert source.observers == []


def test_a_subscriber_that_blocks_is_no_stall(event_loop: EventLoopScheduler) -> None:
    source, got = Subject[int](), Subscriber[int](blocked=True)
    source.pipe(stall_after(0.001, Stalled, scheduler=event_loop)).subscribe(got)

    (producer,) = start(lambda: source.on_next(1))
    got.wait_until(lambda: got.items == [1] or got.ends != [])
    if got.items:
        for _ in range(5):
            rung = Event()
            event_loop.schedule_relative(0.001, lambda *_, rung=rung: rung.set())
            assert rung.wait(DEADLINE)
        assert got.ends == []
    got.release()
    join(producer)
    got.wait_until(lambda: len(got.ends) == 1)

    assert got.overlaps == 0


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("_run", range(20))
def test_disposing_races_the_timer(event_loop: EventLoopScheduler, _run: int) -> None:
    source, got = Subject[int](), Subscriber[int]()
    subscription = source.pipe(stall_after(1e-5, Stalled, scheduler=event_loop)).subscribe(got)

    subscription.dispose()
    wait_for_turn(event_loop)
    ends = len(got.ends)
    source.on_next(1)
    wait_for_turn(event_loop)

    assert got.items == []
    assert len(got.ends) == ends <= 1
    assert source.observers == []


def test_disposing_frees_the_subscriber_although_the_timer_is_far_away(event_loop: EventLoopScheduler) -> None:
    got = Subscriber[int]()
    alive = weakref.ref(got)
    subscription = reactivex.never().pipe(stall_after(3600, Stalled, scheduler=event_loop)).subscribe(got)

    subscription.dispose()
    del got, subscription
    gc.collect()

    assert alive() is None
