from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.recorded import Recorded

from operators import rate_limit
from operators.rate_limit import RateLimitExceeded, WhenFull
from operators.testing import assert_conserved
from tests.operators.support import CountingScheduler, Subscriber, join, start, wait_for_turn

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_what_exceeds_the_rate_waits_in_order_and_so_does_the_end() -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(
        on_next(210, "a"), on_next(211, "b"), on_next(212, "c"), on_next(300, "d"), on_next(301, "e"), on_completed(302)
    )

    result = clock.start(lambda: source.pipe(rate_limit(2, 20, hold=10, scheduler=clock)))

    assert result.messages == [
        on_next(210, "a"),
        on_next(220, "b"),
        on_next(230, "c"),
        on_next(300, "d"),
        on_next(310, "e"),
        on_completed(310),
    ]
    assert source.subscriptions == [subscribe(200, 302)]
    assert clock.most_pending == 1


def test_an_error_comes_after_what_waits_too(clock: TestScheduler) -> None:
    lost = OSError("lost")
    source = clock.create_hot_observable(on_next(210, "a"), on_next(211, "b"), on_next(212, "c"), on_error(213, lost))

    result = clock.start(lambda: source.pipe(rate_limit(1, 20, hold=10, scheduler=clock)))

    assert result.messages == [on_next(210, "a"), on_next(230, "b"), on_next(250, "c"), on_error(250, lost)]


def test_a_quiet_stream_may_say_a_burst_at_once(clock: TestScheduler) -> None:
    items = [on_next(210 + number, number) for number in range(5)]
    source = clock.create_hot_observable(*items)

    result = clock.start(lambda: source.pipe(rate_limit(1, 50, burst=3, hold=10, scheduler=clock)))

    assert result.messages == [*items[:3], on_next(260, 3), on_next(310, 4)]


@pytest.mark.parametrize(
    ("when_full", "emitted", "gone"),
    [("drop_newest", [0, 1, 2], [3, 4]), ("drop_oldest", [0, 3, 4], [1, 2]), ("fail", [0, 1, 2], [3])],
)
def test_who_goes_when_no_more_may_wait(
    clock: TestScheduler, when_full: WhenFull, emitted: list[int], gone: list[int]
) -> None:
    source, got, dropped = Subject[int](), Subscriber[int](), list[int]()
    limit = rate_limit(1, 50, hold=2, when_full=when_full, dropped=dropped.append, scheduler=clock)
    source.pipe(limit).subscribe(got)

    for item in range(5):
        source.on_next(item)
    assert source.observers == [] if when_full == "fail" else source.observers
    clock.advance_to(500)

    assert (got.items, dropped) == (emitted, gone)
    assert [type(end) for end in got.ends] == ([RateLimitExceeded] if when_full == "fail" else [])


@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
def test_without_places_what_exceeds_goes_at_once_and_no_timer_is_set(when_full: WhenFull) -> None:
    clock, dropped = CountingScheduler(), list[int]()
    source = clock.create_hot_observable(on_next(210, 1), on_next(215, 2), on_next(220, 3))

    result = clock.start(
        lambda: source.pipe(rate_limit(1, 10, hold=0, when_full=when_full, dropped=dropped.append, scheduler=clock))
    )

    assert result.messages == [on_next(210, 1), on_next(220, 3)]
    assert dropped == [2]
    assert clock.timers == 0


def test_disposing_drops_what_waits() -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(on_next(210, 1), on_next(211, 2), on_completed(212))

    result = clock.start(lambda: source.pipe(rate_limit(1, 50, hold=9, scheduler=clock)), disposed=230)

    assert result.messages == [on_next(210, 1)]
    assert clock.last_ring == 0


def test_what_dropped_raises_is_an_error_after_what_waits(clock: TestScheduler) -> None:
    refused = OSError("refused")
    source = clock.create_hot_observable(on_next(210, 1), on_next(211, 2), on_next(212, 3), on_next(213, 4))

    def dropped(_item: int) -> None:
        raise refused

    limit = rate_limit(1, 50, hold=1, when_full="drop_newest", dropped=dropped, scheduler=clock)
    result = clock.start(lambda: source.pipe(limit))

    assert result.messages == [on_next(210, 1), on_next(260, 2), on_error(260, refused)]
    assert source.subscriptions == [subscribe(200, 212)]


def test_a_scheduler_that_takes_no_timer_is_an_error() -> None:
    stopped = EventLoopScheduler()
    stopped.dispose()
    source, got = Subject[int](), Subscriber[int]()
    source.pipe(rate_limit(1, 60, hold=9, scheduler=stopped)).subscribe(got)

    source.on_next(1)
    source.on_next(2)

    assert got.items == [1, 2]
    assert [type(end).__name__ for end in got.ends] == ["DisposedException"]


def test_what_a_subscriber_raises_goes_to_its_own_on_error(clock: TestScheduler) -> None:
    failure, ends, source = ValueError("no display"), list[Exception](), Subject[int]()

    def on_item(item: int) -> None:
        if item == 2:
            raise failure

    source.pipe(rate_limit(1, 50, hold=9, scheduler=clock)).subscribe(on_item, ends.append)
    source.on_next(1)
    source.on_next(2)
    clock.advance_to(500)

    assert ends == [failure]
    assert source.observers == []


def test_a_burst_that_the_subscriber_itself_pushes_is_no_burst_too_many(clock: TestScheduler) -> None:
    source, got, dropped = Subject[int](), list[int](), list[int]()

    def on_item(item: int) -> None:
        got.append(item)
        if item == 0:
            for other in (1, 2, 3):
                source.on_next(other)

    limit = rate_limit(1, 50, burst=3, hold=0, when_full="drop_newest", dropped=dropped.append, scheduler=clock)
    source.pipe(limit).subscribe(on_item)
    source.on_next(0)

    assert (got, dropped) == ([0, 1, 2], [3])


@pytest.mark.parametrize("wrong", [{"count": 0}, {"seconds": 0}, {"burst": 0}, {"hold": -1}, {"when_full": "wait"}])
def test_the_arguments_are_checked(clock: TestScheduler, wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"count": 1, "hold": 1, "scheduler": clock} | wrong
    with pytest.raises(ValueError):
        rate_limit(**arguments)


# Laws.


@unhurried
@given(
    gaps=st.lists(st.integers(1, 30), max_size=50),
    count=st.integers(1, 4),
    seconds=st.integers(1, 60),
    burst=st.integers(1, 4),
    hold=st.integers(0, 5),
    when_full=st.sampled_from(["drop_newest", "drop_oldest"]),
)
def test_every_item_is_emitted_or_dropped_and_the_rate_is_kept(
    *, gaps: list[int], count: int, seconds: int, burst: int, hold: int, when_full: WhenFull
) -> None:
    clock, dropped = CountingScheduler(), list[int]()
    moments = [200 + sum(gaps[: number + 1]) for number in range(len(gaps))]
    messages: list[Recorded[Any]] = [on_next(moment, number) for number, moment in enumerate(moments)]
    source = clock.create_hot_observable(*messages, on_completed(2_000))
    emitted: list[tuple[float, int]] = []

    limit = rate_limit(
        count, seconds, burst=burst, hold=hold, when_full=when_full, dropped=dropped.append, scheduler=clock
    )

    def note(item: int) -> None:
        emitted.append((clock.clock, item))

    clock.start(lambda: source.pipe(limit, ops.do_action(note)), disposed=5_000)

    items = [item for _, item in emitted]
    assert_conserved(range(len(gaps)), items, dropped=dropped)
    for first, _ in emitted:
        # A timer rings on a whole microsecond, and virtual time is a float.
        within = [time for time, _ in emitted if first <= time < first + seconds - 1e-3]
        assert len(within) <= count + burst - 1
    assert clock.most_pending <= 1


@unhurried
@given(gaps=st.lists(st.integers(1, 30), max_size=50), seconds=st.integers(1, 60))
def test_applied_twice_is_the_same_as_once(gaps: list[int], seconds: int) -> None:
    def run(times: int) -> list[Recorded[Any]]:
        clock = TestScheduler()
        moments = [200 + sum(gaps[: number + 1]) for number in range(len(gaps))]
        source = clock.create_hot_observable(*[on_next(moment, moment) for moment in moments], on_completed(2_000))
        limits = [rate_limit(1, seconds, hold=100, scheduler=clock) for _ in range(times)]
        return list(clock.start(lambda: source.pipe(*limits), disposed=10_000).messages)

    once = run(1)
    assert run(2) == once
    assert len(once) == len(gaps) + 1
    assert all(later.time - earlier.time >= seconds for earlier, later in pairwise(once[:-1]))


# Threads.


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("when_full", ["drop_newest", "drop_oldest"])
def test_nothing_is_lost_between_the_threads(event_loop: EventLoopScheduler, when_full: WhenFull) -> None:
    source, got, dropped = Subject[int](), Subscriber[int](), list[int]()
    limit = rate_limit(20_000, burst=3, hold=20, when_full=when_full, dropped=dropped.append, scheduler=event_loop)
    source.pipe(limit).subscribe(got)

    def produce() -> None:
        for item in range(3_000):
            source.on_next(item)
        source.on_completed()

    join(*start(produce))
    got.wait_until(lambda: bool(got.ends))

    assert got.items == sorted(got.items)
    assert sorted(got.items + dropped) == list(range(3_000))
    assert got.ends == [None]
    assert got.overlaps == 0


@pytest.mark.parametrize("_run", range(10))
def test_disposing_races_a_timer(event_loop: EventLoopScheduler, _run: int) -> None:
    source, got = Subject[int](), Subscriber[int]()
    subscription = source.pipe(rate_limit(1_000_000, hold=9, scheduler=event_loop)).subscribe(got)

    for item in range(3):
        source.on_next(item)
    subscription.dispose()
    wait_for_turn(event_loop)

    assert got.items in ([0], [0, 1], [0, 1, 2])
    assert source.observers == []
