from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.recorded import Recorded

from operators import conflate
from operators.testing import assert_conserved
from tests.operators.support import CountingScheduler, Subscriber

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def letter(item: str) -> str:
    """`a1` is about `a`."""
    return item[0]


def test_a_quiet_key_passes_at_once_and_then_the_newest_of_each_window(clock: TestScheduler) -> None:
    replaced: list[str] = []
    source = clock.create_hot_observable(
        on_next(210, "a1"),
        on_next(220, "a2"),
        on_next(230, "a3"),
        on_next(290, "a4"),
        on_next(400, "a5"),
        on_completed(500),
    )

    result = clock.start(lambda: source.pipe(conflate(50, letter, conflated=replaced.append, scheduler=clock)))

    assert result.messages == [
        on_next(210, "a1"),
        on_next(260, "a3"),
        on_next(310, "a4"),
        on_next(400, "a5"),
        on_completed(500),
    ]
    assert source.subscriptions == [subscribe(200, 500)]
    assert replaced == ["a2"]


def test_keys_do_not_wait_for_each_other(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(
        on_next(210, "a1"), on_next(220, "b1"), on_next(230, "b2"), on_next(240, "a2"), on_next(241, "a3")
    )

    result = clock.start(lambda: source.pipe(conflate(50, letter, scheduler=clock)))

    assert result.messages == [on_next(210, "a1"), on_next(220, "b1"), on_next(260, "a3"), on_next(270, "b2")]
    assert source.subscriptions == [subscribe(200, 1000)]


def test_many_keys_take_one_timer_at_a_time_and_one_a_window() -> None:
    clock = CountingScheduler()
    items = [on_next(210 + number, chr(ord("a") + number)) for number in range(20)]
    source = clock.create_hot_observable(*items)

    result = clock.start(lambda: source.pipe(conflate(50, letter, scheduler=clock)))

    assert result.messages == items
    assert clock.timers == 20
    assert clock.most_pending == 1


def test_an_item_at_the_end_of_a_window_is_that_windows(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, "a2"), on_next(260, "a3"))

    result = clock.start(lambda: source.pipe(conflate(50, letter, scheduler=clock)))

    assert result.messages == [on_next(210, "a1"), on_next(260, "a3")]


@pytest.mark.parametrize("end", [on_completed(230), on_error(230, OSError("lost"))], ids=["completion", "error"])
def test_what_is_held_is_emitted_before_the_end(end: Recorded[Any]) -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(
        on_next(210, "a1"), on_next(215, "b1"), on_next(220, "b2"), on_next(225, "a2"), end
    )

    result = clock.start(lambda: source.pipe(conflate(50, letter, scheduler=clock)))

    assert result.messages == [on_next(210, "a1"), on_next(215, "b1"), on_next(230, "a2"), on_next(230, "b2"), end]
    assert source.subscriptions == [subscribe(200, 230)]
    assert clock.last_ring == 0


def test_disposing_drops_what_is_held(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, "a2"))

    result = clock.start(lambda: source.pipe(conflate(50, letter, scheduler=clock)), disposed=240)

    assert result.messages == [on_next(210, "a1")]
    assert source.subscriptions == [subscribe(200, 240)]


def test_none_is_an_item_like_any_other(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, None), on_next(220, None), on_next(230, None))
    replaced: list[None] = []

    result = clock.start(lambda: source.pipe(conflate(50, id, conflated=replaced.append, scheduler=clock)))

    assert result.messages == [on_next(210, None), on_next(260, None)]
    assert replaced == [None]


def test_each_subscription_has_windows_of_its_own(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, "a2"), on_completed(400))
    conflated = source.pipe(conflate(50, letter, scheduler=clock))
    late = clock.create_observer()
    clock.schedule_absolute(215.0, lambda *_: conflated.subscribe(late))

    early = clock.start(lambda: conflated)

    assert early.messages == [on_next(210, "a1"), on_next(260, "a2"), on_completed(400)]
    assert late.messages == [on_next(220, "a2"), on_completed(400)]


def test_what_key_raises_is_an_error_after_what_is_held(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, "a2"), on_next(230, ""), on_next(240, "a3"))

    result = clock.start(lambda: source.pipe(conflate(50, letter, scheduler=clock)))

    assert result.messages == [on_next(210, "a1"), on_next(230, "a2"), on_error(230, "string index out of range")]
    assert source.subscriptions == [subscribe(200, 230)]


def test_a_key_that_cannot_be_hashed_is_an_error() -> None:
    source, errors = Subject[str](), list[Exception]()
    key: Any = list
    source.pipe(conflate(50, key, scheduler=TestScheduler())).subscribe(on_error=errors.append)

    source.on_next("a1")

    assert [type(error) for error in errors] == [TypeError]
    assert source.observers == []


def test_what_conflated_raises_is_an_error_after_what_is_held(clock: TestScheduler) -> None:
    refused = OSError("refused")
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, "a2"), on_next(230, "a3"), on_next(240, "b1"))

    def conflated(_item: str) -> None:
        raise refused

    result = clock.start(lambda: source.pipe(conflate(50, letter, conflated=conflated, scheduler=clock)))

    assert result.messages == [on_next(210, "a1"), on_next(230, "a3"), on_error(230, refused)]
    assert source.subscriptions == [subscribe(200, 230)]


def test_a_scheduler_that_takes_no_timer_is_an_error() -> None:
    stopped = EventLoopScheduler()
    stopped.dispose()
    source, got = Subject[str](), Subscriber[str]()
    source.pipe(conflate(50, letter, scheduler=stopped)).subscribe(got)

    source.on_next("a1")

    assert got.items == ["a1"]
    assert [type(end).__name__ for end in got.ends] == ["DisposedException"]


@pytest.mark.parametrize("seconds", [0, -1])
def test_seconds_must_be_positive(clock: TestScheduler, seconds: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        conflate(seconds, letter, scheduler=clock)


class Key:
    """Something that can be seen to be let go of."""


def test_a_key_that_has_become_quiet_is_forgotten(clock: TestScheduler) -> None:
    source = Subject[Key]()
    source.pipe(conflate(50, lambda key: key, scheduler=clock)).subscribe()
    key = Key()
    alive = weakref.ref(key)

    source.on_next(key)
    source.on_next(key)
    del key
    clock.advance_to(99)
    assert alive() is not None
    clock.advance_to(100)
    gc.collect()

    assert alive() is None


# The subscriber within its own call.


def test_an_item_that_the_subscriber_itself_causes_is_emitted_after_its_call(clock: TestScheduler) -> None:
    source, got = Subject[str](), Subscriber[str]()

    def on_item(item: str) -> None:
        got.overlaps += got.inside
        got.inside += 1
        if item == "a1":
            source.on_next("a2")
            source.on_next("b1")
            source.on_next("c1")
            source.on_next("b2")
        got.items.append(item)
        got.inside -= 1

    source.pipe(conflate(50, letter, scheduler=clock)).subscribe(on_item)
    source.on_next("a1")
    assert got.items == ["a1", "b2", "c1"]
    clock.advance_to(50)

    assert got.items == ["a1", "b2", "c1", "a2"]
    assert got.overlaps == 0


def test_a_window_that_ends_during_the_call_is_emitted_after_it(clock: TestScheduler) -> None:
    source, got = Subject[str](), list[str]()

    def on_item(item: str) -> None:
        if item == "b1":
            clock.advance_by(60)
        got.append(item)

    source.pipe(conflate(50, letter, scheduler=clock)).subscribe(on_item)
    source.on_next("a1")
    source.on_next("a2")
    source.on_next("b1")

    assert got == ["a1", "b1", "a2"]


def test_a_subscriber_may_dispose_within_on_next() -> None:
    clock = CountingScheduler()
    source, got = Subject[str](), list[str]()

    def on_item(item: str) -> None:
        got.append(item)
        source.on_next("b1")
        subscription.dispose()

    subscription = source.pipe(conflate(50, letter, scheduler=clock)).subscribe(on_item)
    source.on_next("a1")
    source.on_next("c1")
    clock.advance_to(500)

    assert got == ["a1"]
    assert source.observers == []
    assert clock.last_ring == 0


def test_a_subscriber_may_end_the_source_within_on_next(clock: TestScheduler) -> None:
    source, got = Subject[str](), Subscriber[str]()

    def on_item(item: str) -> None:
        got.items.append(item)
        if item == "a1":
            source.on_next("a2")
            source.on_completed()

    source.pipe(conflate(50, letter, scheduler=clock)).subscribe(on_item, got.on_error, got.on_completed)
    source.on_next("a1")

    assert got.items == ["a1", "a2"]
    assert got.ends == [None]


def test_what_a_subscriber_raises_goes_to_its_own_on_error(clock: TestScheduler) -> None:
    failure = ValueError("no display")
    source, ends = Subject[str](), list[Exception]()

    def on_item(_item: str) -> None:
        raise failure

    source.pipe(conflate(50, letter, scheduler=clock)).subscribe(on_item, ends.append)
    source.on_next("a1")
    source.on_next("b1")
    clock.advance_to(500)

    assert ends == [failure]
    assert source.observers == []


# Laws.


def expected(items: list[tuple[int, str]], seconds: int, end: Recorded[Any]) -> tuple[list[Recorded[Any]], list[str]]:
    """What `conflate` must emit, and what replace, for items of (time, item), by its definition."""
    messages: list[Recorded[Any]] = []
    replaced: list[str] = []
    windows: list[tuple[int, str]] = []  # (end, key), in order
    held: dict[str, str] = {}

    def emit(time: int, item: str) -> None:
        messages.append(on_next(time, item))
        windows.append((time + seconds, letter(item)))

    def end_windows(before: int) -> None:
        while windows and windows[0][0] < before:
            time, key = windows.pop(0)
            if key in held:
                emit(time, held.pop(key))

    for time, item in items:
        end_windows(before=time)
        key = letter(item)
        if key in held:
            replaced.append(held[key])
        if any(key == open_key for _, open_key in windows):
            held[key] = item
        else:
            emit(time, item)
    end_windows(before=end.time)
    messages += [on_next(end.time, held[key]) for _, key in windows if key in held]
    return [*messages, end], replaced


@unhurried
@given(
    gaps=st.lists(st.tuples(st.integers(1, 30), st.sampled_from("abc")), max_size=60),
    seconds=st.integers(1, 60),
    rest=st.integers(1, 100),
    fails=st.booleans(),
)
def test_every_item_is_emitted_or_conflated_and_in_order(
    *, gaps: list[tuple[int, str]], seconds: int, rest: int, fails: bool
) -> None:
    clock = CountingScheduler()
    items: list[tuple[int, str]] = []
    now = 200
    for number, (gap, key) in enumerate(gaps):
        now += gap
        items.append((now, f"{key}{number}"))
    end = on_error(now + rest, OSError("lost")) if fails else on_completed(now + rest)
    messages: list[Recorded[Any]] = [on_next(time, item) for time, item in items]
    source = clock.create_hot_observable(*messages, end)
    replaced: list[str] = []

    result = clock.start(
        lambda: source.pipe(conflate(seconds, letter, conflated=replaced.append, scheduler=clock)), disposed=now + 1000
    )

    assert (result.messages, replaced) == expected(items, seconds, end)
    emitted = [item for _, item in items if any(on_next(message.time, item) == message for message in result.messages)]
    assert_conserved([item for _, item in items], emitted, order_within=letter, replaced=replaced)
    assert source.subscriptions == [subscribe(200, end.time)]
    assert clock.most_pending <= 1
    assert clock.last_ring <= end.time
