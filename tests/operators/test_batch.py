from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.abc import DisposableBase, ObserverBase, SchedulerBase
from reactivex.disposable import Disposable
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.recorded import Recorded

from operators import batch
from tests.operators.support import CountingScheduler, Subscriber

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

Batched = Callable[[Observable[int]], Observable[list[int]]]


def batch_by_bytes(clock: SchedulerBase, limit: int, *, count: int = 100, seconds: float = 50) -> Batched:
    def own_value(item: int) -> int:
        return item

    return batch(count=count, seconds=seconds, bytes=limit, size=own_value, scheduler=clock)


def test_closes_by_count_and_by_the_age_of_the_first_item(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(
        on_next(150, 0), on_next(210, 1), on_next(220, 2), on_next(235, 3), on_next(236, 4), on_next(300, 5)
    )

    result = clock.start(lambda: source.pipe(batch(count=2, seconds=50, scheduler=clock)))

    assert result.messages == [on_next(220, [1, 2]), on_next(236, [3, 4]), on_next(350, [5])]
    assert source.subscriptions == [subscribe(200, 1000)]


def test_time_runs_from_the_first_item_and_not_on_a_grid(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(249, 1), on_next(260, 2), on_next(320, 3), on_next(333, 4))

    result = clock.start(lambda: source.pipe(batch(count=9, seconds=50, scheduler=clock)))

    assert result.messages == [on_next(299, [1, 2]), on_next(370, [3, 4])]


def test_the_timer_of_a_batch_closed_by_count_does_not_close_the_next_one_early(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(215, 2), on_next(240, 3))

    result = clock.start(lambda: source.pipe(batch(count=2, seconds=50, scheduler=clock)))

    assert result.messages == [on_next(215, [1, 2]), on_next(290, [3])]


def test_timer_and_count_at_the_same_moment_make_one_batch(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(260, 2), on_next(400, 3), on_completed(450))

    result = clock.start(lambda: source.pipe(batch(count=2, seconds=50, scheduler=clock)))

    assert result.messages == [on_next(260, [1, 2]), on_next(450, [3]), on_completed(450)]


def test_an_item_just_after_the_timer_opens_a_batch_of_its_own(clock: TestScheduler) -> None:
    source = Subject[int]()
    got = clock.create_observer()
    source.pipe(batch(count=2, seconds=50, scheduler=clock)).subscribe(got)

    source.on_next(1)
    clock.advance_to(50)
    source.on_next(2)
    clock.advance_to(500)

    assert got.messages == [on_next(50, [1]), on_next(100, [2])]


def test_a_batch_of_one_needs_no_timer() -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(on_next(210, 1), on_next(211, 2))

    result = clock.start(lambda: source.pipe(batch(count=1, seconds=50, scheduler=clock)))

    assert result.messages == [on_next(210, [1]), on_next(211, [2])]
    assert clock.timers == 0


def test_closes_before_the_item_that_would_exceed_the_bytes(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 4), on_next(220, 5), on_next(230, 2), on_completed(240))

    result = clock.start(lambda: source.pipe(batch_by_bytes(clock, 10)))

    assert result.messages == [on_next(230, [4, 5]), on_next(240, [2]), on_completed(240)]


def test_closes_at_once_when_no_more_bytes_fit(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 4), on_next(220, 6), on_next(230, 1))

    result = clock.start(lambda: source.pipe(batch_by_bytes(clock, 10)))

    assert result.messages == [on_next(220, [4, 6]), on_next(280, [1])]


def test_an_item_larger_than_the_bytes_is_a_batch_of_its_own(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(
        on_next(210, 11), on_next(220, 1), on_next(230, 99), on_next(240, 2), on_completed(250)
    )

    result = clock.start(lambda: source.pipe(batch_by_bytes(clock, 10)))

    assert result.messages == [
        on_next(210, [11]),
        on_next(230, [1]),
        on_next(230, [99]),
        on_next(250, [2]),
        on_completed(250),
    ]


def test_the_time_of_an_item_that_did_not_fit_runs_from_its_arrival(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 6), on_next(240, 6))

    result = clock.start(lambda: source.pipe(batch_by_bytes(clock, 10)))

    assert result.messages == [on_next(240, [6]), on_next(290, [6])]


@pytest.mark.parametrize("end", [on_completed(230), on_error(230, ValueError("lost"))], ids=["completion", "error"])
def test_what_is_held_is_emitted_before_the_end(clock: TestScheduler, end: Recorded[int]) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(220, 2), end)

    result = clock.start(lambda: source.pipe(batch(count=9, seconds=50, scheduler=clock)))

    assert result.messages == [on_next(230, [1, 2]), end]
    assert source.subscriptions == [subscribe(200, 230)]


@pytest.mark.parametrize("end", [on_completed(230), on_error(230, ValueError("lost"))], ids=["completion", "error"])
def test_nothing_held_is_nothing_emitted(clock: TestScheduler, end: Recorded[int]) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(220, 2), end)

    result = clock.start(lambda: source.pipe(batch(count=2, seconds=50, scheduler=clock)))

    assert result.messages == [on_next(220, [1, 2]), end]


def test_disposing_drops_what_is_held_and_ends_the_subscription(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(240, 2), on_completed(400))

    result = clock.start(lambda: source.pipe(batch(count=9, seconds=50, scheduler=clock)), disposed=250)

    assert result.messages == []
    assert source.subscriptions == [subscribe(200, 250)]


def test_an_item_whose_size_fails_ends_the_stream_after_what_is_held(clock: TestScheduler) -> None:
    failure = ValueError("unmeasurable")
    source = clock.create_hot_observable(on_next(210, 1), on_next(220, 2), on_next(230, 3), on_next(240, 4))

    def size(item: int) -> int:
        if item == 3:
            raise failure
        return item

    result = clock.start(lambda: source.pipe(batch(count=9, seconds=50, bytes=99, size=size, scheduler=clock)))

    assert result.messages == [on_next(230, [1, 2]), on_error(230, failure)]
    assert source.subscriptions == [subscribe(200, 230)]


def test_the_source_is_disposed_before_an_error_that_is_not_its_own(clock: TestScheduler) -> None:
    events: list[object] = []
    sources: list[ObserverBase[int]] = []

    def subscribe_to(observer: ObserverBase[int], _scheduler: SchedulerBase | None) -> DisposableBase:
        sources.append(observer)
        return Disposable(lambda: events.append("disposed"))

    def size(_item: int) -> int:
        raise ArithmeticError

    Observable(subscribe_to).pipe(batch(count=9, seconds=1, bytes=9, size=size, scheduler=clock)).subscribe(
        events.append, lambda error: events.append(type(error))
    )
    sources[0].on_next(1)

    assert events == ["disposed", ArithmeticError]


def test_items_after_the_end_are_not_held() -> None:
    clock = CountingScheduler()

    def subscribe_to(observer: ObserverBase[str], _scheduler: SchedulerBase | None) -> DisposableBase:
        for item in (None, "a"):  # and none of it can be disposed before this function returns
            observer.on_next(cast("str", item))
        return Disposable()

    got = Subscriber[list[str]]()
    Observable(subscribe_to).pipe(batch(count=9, seconds=1, bytes=9, size=len, scheduler=clock)).subscribe(got)

    assert got.items == []
    assert [type(end) for end in got.ends] == [TypeError]
    assert clock.timers == 0


def test_each_subscription_has_batches_of_its_own(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(220, 2), on_next(230, 3), on_completed(240))
    batches = source.pipe(batch(count=2, seconds=50, scheduler=clock))
    late = clock.create_observer()
    clock.schedule_absolute(215.0, lambda *_: batches.subscribe(late))

    early = clock.start(lambda: batches)

    assert early.messages == [on_next(220, [1, 2]), on_next(240, [3]), on_completed(240)]
    assert late.messages == [on_next(230, [2, 3]), on_completed(240)]


def test_a_scheduler_that_takes_no_timer_is_an_error_and_loses_nothing() -> None:
    stopped = EventLoopScheduler()
    stopped.dispose()
    source, got = Subject[int](), Subscriber[list[int]]()
    source.pipe(batch(count=9, seconds=1, scheduler=stopped)).subscribe(got)

    source.on_next(1)
    source.on_next(2)

    assert got.items == [[1]]
    assert [type(end).__name__ for end in got.ends] == ["DisposedException"]


@pytest.mark.parametrize(
    ("count", "seconds", "size_limit"), [(0, 1, None), (1, 0, None), (1, -1, None), (1, 1, 0), (-1, 1, 9)]
)
def test_limits_must_be_positive(clock: TestScheduler, count: int, seconds: float, size_limit: int | None) -> None:
    with pytest.raises(ValueError, match="positive"):
        batch(count=count, seconds=seconds, bytes=size_limit, size=None, scheduler=clock)


def test_bytes_and_size_go_together(clock: TestScheduler) -> None:
    with pytest.raises(ValueError, match="together"):
        batch(count=1, seconds=1, bytes=9, size=None, scheduler=clock)
    with pytest.raises(ValueError, match="together"):
        batch(count=1, seconds=1, bytes=None, size=int, scheduler=clock)


# The subscriber within its own call.


def test_a_subscriber_may_dispose_within_on_next(clock: TestScheduler) -> None:
    source, got = Subject[int](), Subscriber[list[int]]()

    def on_batch(items: list[int]) -> None:
        got.on_next(items)
        subscription.dispose()

    subscription = source.pipe(batch_by_bytes(clock, 10)).subscribe(on_batch, got.on_error, got.on_completed)
    source.on_next(1)
    source.on_next(10)  # closes two batches
    source.on_next(10)
    source.on_completed()
    clock.advance_by(500)

    assert got.items == [[1]]
    assert got.ends == []
    assert source.observers == []


def test_items_that_the_subscriber_itself_causes_are_emitted_after_its_call(clock: TestScheduler) -> None:
    source, got = Subject[int](), Subscriber[list[int]]()

    def on_batch(items: list[int]) -> None:
        got.overlaps += got.inside
        got.inside += 1
        got.items.append(items)
        if items == [1, 2]:
            for item in range(3, 8):
                source.on_next(item)
            source.on_completed()
        got.inside -= 1

    source.pipe(batch(count=2, seconds=50, scheduler=clock)).subscribe(on_batch, got.on_error, got.on_completed)
    source.on_next(1)
    source.on_next(2)

    assert got.items == [[1, 2], [3, 4], [5, 6], [7]]
    assert got.ends == [None]
    assert got.overlaps == 0


def test_a_timer_that_rings_during_the_call_closes_its_batch_after_it(clock: TestScheduler) -> None:
    source, got = Subject[int](), Subscriber[list[int]]()

    def on_batch(items: list[int]) -> None:
        if items == [6]:
            clock.advance_by(60)  # the timer of the 7, which did not fit, rings here
            got.items.append([-1])
        got.items.append(items)

    source.pipe(batch_by_bytes(clock, 10)).subscribe(on_batch)
    source.on_next(6)
    source.on_next(7)

    assert got.items == [[-1], [6], [7]]


def test_what_a_subscriber_raises_goes_to_its_own_on_error(clock: TestScheduler) -> None:
    failure = ValueError("no sink")
    source, ends = Subject[int](), list[Exception]()

    def on_batch(_items: list[int]) -> None:
        raise failure

    source.pipe(batch_by_bytes(clock, 10)).subscribe(on_batch, ends.append)
    source.on_next(5)
    source.on_next(10)
    source.on_next(10)
    clock.advance_by(500)

    assert ends == [failure]
    assert source.observers == []


def test_an_interrupt_in_a_subscriber_is_raised_and_leaves_nothing_running(clock: TestScheduler) -> None:
    source, got = Subject[int](), Subscriber[list[int]]()

    def on_batch(_items: list[int]) -> None:
        raise KeyboardInterrupt

    source.pipe(batch(count=1, seconds=50, scheduler=clock)).subscribe(on_batch, got.on_error, got.on_completed)
    with pytest.raises(KeyboardInterrupt):
        source.on_next(1)
    source.on_next(2)

    assert got.ends == []
    assert source.observers == []


# Laws.


@dataclass(frozen=True)
class Limits:
    count: int
    seconds: int
    bytes: int | None


def expected(items: list[tuple[int, int]], limits: Limits, end: Recorded[Any]) -> list[Recorded[Any]]:
    """What `batch` must emit for items of (time, size), by its definition; an item's size is its value."""
    messages: list[Recorded[Any]] = []
    held: list[int] = []
    opened_at = 0

    def close(time: int) -> None:
        if held:
            messages.append(on_next(time, held.copy()))
            held.clear()

    for time, size in items:
        if held and time > opened_at + limits.seconds:
            close(opened_at + limits.seconds)
        if limits.bytes is not None and sum(held) + size > limits.bytes:
            close(time)
        if not held:
            opened_at = time
        held.append(size)
        if len(held) == limits.count or (limits.bytes is not None and sum(held) >= limits.bytes):
            close(time)
    close(min(end.time, opened_at + limits.seconds))
    return [*messages, end]


arrivals = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), max_size=60)
limits_given = st.builds(
    Limits,
    count=st.integers(1, 8),
    seconds=st.integers(1, 60),
    bytes=st.one_of(st.none(), st.integers(1, 20)),
)


@unhurried
@given(gaps=arrivals, limits=limits_given, rest=st.integers(1, 100), fails=st.booleans())
@example(gaps=[(1, 1), (7, 1), (7, 1)], limits=Limits(count=3, seconds=7, bytes=None), rest=1, fails=False)
def test_emits_every_item_once_in_order_and_in_time(
    *, gaps: list[tuple[int, int]], limits: Limits, rest: int, fails: bool
) -> None:
    clock = CountingScheduler()
    items: list[tuple[int, int]] = []
    now = 200
    for gap, size in gaps:
        now += gap
        items.append((now, size))
    end = on_error(now + rest, ValueError("lost")) if fails else on_completed(now + rest)
    source = clock.create_hot_observable(*[on_next(time, size) for time, size in items], end)
    size_of = None if limits.bytes is None else int
    batched = batch(count=limits.count, seconds=limits.seconds, bytes=limits.bytes, size=size_of, scheduler=clock)

    result = clock.start(lambda: source.pipe(batched), disposed=now + 1000)

    assert result.messages == expected(items, limits, end)
    assert source.subscriptions == [subscribe(200, end.time)]
    assert clock.most_pending <= 1
    assert clock.last_ring <= end.time


def test_the_count_may_be_a_function_that_is_asked_as_each_batch_begins() -> None:
    scheduler = TestScheduler()
    sizes = iter([2, 0, 3])
    source = scheduler.create_hot_observable(*[on_next(210 + 10 * n, n) for n in range(6)], on_completed(290))

    results = scheduler.start(lambda: source.pipe(batch(count=lambda: next(sizes), seconds=100, scheduler=scheduler)))

    assert results.messages == [
        on_next(220, [0, 1]),
        on_next(230, [2]),
        on_next(260, [3, 4, 5]),
        on_completed(290),
    ]


def test_a_count_that_raises_ends_the_stream_after_what_is_held() -> None:
    scheduler = TestScheduler()
    answers = iter([2])
    failure = RuntimeError("no more")

    def count() -> int:
        for answer in answers:
            return answer
        raise failure

    source = scheduler.create_hot_observable(*[on_next(210 + 10 * n, n) for n in range(6)])

    results = scheduler.start(lambda: source.pipe(batch(count=count, seconds=100, scheduler=scheduler)))

    assert results.messages == [on_next(220, [0, 1]), on_error(230, failure)]
