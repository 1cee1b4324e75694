from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.recorded import Recorded

from operators import sample_latest
from operators.testing import assert_conserved
from tests.operators.support import CountingScheduler, Subscriber, join, start, wait_for_turn, wait_until_held_back

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


def test_the_newest_of_each_key_passes_at_the_ticks_from_the_subscription_on() -> None:
    clock, replaced = CountingScheduler(), list[str]()
    source = clock.create_hot_observable(
        on_next(210, "a1"),
        on_next(220, "b1"),
        on_next(240, "a2"),
        on_next(430, "b2"),
        on_next(460, "b3"),
        on_completed(600),
    )

    result = clock.start(lambda: source.pipe(sample_latest(50, letter, replaced=replaced.append, scheduler=clock)))

    assert result.messages == [
        on_next(250, "a2"),
        on_next(250, "b1"),
        on_next(450, "b2"),
        on_next(500, "b3"),
        on_completed(600),
    ]
    assert source.subscriptions == [subscribe(200, 600)]
    assert replaced == ["a1"]
    assert clock.timers == 3  # none for a tick without anything


@pytest.mark.parametrize("end", [on_completed(230), on_error(230, OSError("lost"))], ids=["completion", "error"])
def test_what_is_held_is_emitted_before_the_end(end: Recorded[Any]) -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, "b1"), on_next(225, "a2"), end)

    result = clock.start(lambda: source.pipe(sample_latest(50, letter, scheduler=clock)))

    assert result.messages == [on_next(230, "a2"), on_next(230, "b1"), end]
    assert clock.last_ring == 0


def test_disposing_drops_what_is_held() -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(on_next(210, "a1"))

    result = clock.start(lambda: source.pipe(sample_latest(50, letter, scheduler=clock)), disposed=230)

    assert result.messages == []
    assert source.subscriptions == [subscribe(200, 230)]
    assert clock.last_ring == 0


def test_what_key_or_replaced_raises_is_an_error_after_what_is_held() -> None:
    refused = OSError("refused")

    def refuse(_item: str) -> None:
        raise refused

    for key, replaced, items, expected in ((refuse, None, "a", []), (letter, refuse, "abb", ["a", "b"])):
        source, got = Subject[str](), Subscriber[str]()
        source.pipe(sample_latest(50, key, replaced=replaced, scheduler=TestScheduler())).subscribe(got)
        for item in items:
            source.on_next(item)

        assert (got.items, got.ends) == (expected, [refused])
        assert source.observers == []


def test_a_scheduler_that_takes_no_timer_is_an_error() -> None:
    stopped = EventLoopScheduler()
    stopped.dispose()
    source, got = Subject[str](), Subscriber[str]()
    source.pipe(sample_latest(50, letter, scheduler=stopped)).subscribe(got)

    source.on_next("a1")

    assert got.items == ["a1"]
    assert [type(end).__name__ for end in got.ends] == ["DisposedException"]


def test_what_a_subscriber_raises_goes_to_its_own_on_error(clock: TestScheduler) -> None:
    failure, ends, source = ValueError("no display"), list[Exception](), Subject[str]()

    def on_item(_item: str) -> None:
        raise failure

    source.pipe(sample_latest(50, letter, scheduler=clock)).subscribe(on_item, ends.append)
    source.on_next("a1")
    clock.advance_to(100)

    assert ends == [failure]
    assert source.observers == []


def test_what_the_subscriber_itself_pushes_waits_for_the_next_tick(clock: TestScheduler) -> None:
    source, got = Subject[str](), list[tuple[float, str]]()

    def on_item(item: str) -> None:
        got.append((clock.clock, item))
        if item == "a1":
            source.on_next("a2")

    source.pipe(sample_latest(50, letter, scheduler=clock)).subscribe(on_item)
    source.on_next("a1")
    clock.advance_to(300)

    assert got == [(50, "a1"), (100, "a2")]


def test_seconds_must_be_positive(clock: TestScheduler) -> None:
    with pytest.raises(ValueError, match="positive"):
        sample_latest(0, letter, scheduler=clock)


# Laws.


@unhurried
@given(
    gaps=st.lists(st.tuples(st.integers(1, 40), st.sampled_from("abc")), max_size=50),
    seconds=st.integers(1, 30).map(lambda half: 2 * half),  # so no item comes at a tick
    fails=st.booleans(),
)
def test_every_item_is_emitted_at_its_tick_or_replaced(
    *, gaps: list[tuple[int, str]], seconds: int, fails: bool
) -> None:
    clock, replaced, now = CountingScheduler(), list[str](), 201
    messages: list[Recorded[Any]] = []
    expected: dict[tuple[int, str], str] = {}
    for number, (gap, key) in enumerate(gaps):
        now += 2 * gap
        item = f"{key}{number:02}"
        messages.append(on_next(now, item))
        expected[-(-(now - 200) // seconds) * seconds + 200, key] = item
    end = on_error(now + 2, OSError("lost")) if fails else on_completed(now + 2)
    source = clock.create_hot_observable(*messages, end)
    emitted: list[tuple[float, str]] = []

    operator = sample_latest(seconds, letter, replaced=replaced.append, scheduler=clock)

    def note(item: str) -> None:
        emitted.append((clock.clock, item))

    result = clock.start(lambda: source.pipe(operator, ops.do_action(note)), disposed=now + 1000)

    assert result.messages[-1] == end
    assert sorted(emitted) == sorted((min(tick, now + 2), item) for (tick, _), item in expected.items())
    assert len(emitted) + len(replaced) == len(gaps)
    assert not {item for _, item in emitted} & set(replaced)
    assert clock.most_pending <= 1


# Threads.


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("seconds", [1e-6, 0.0002, 60])
def test_nothing_is_lost_between_the_threads(event_loop: EventLoopScheduler, seconds: float) -> None:
    source, got, replaced = Subject[int](), Subscriber[int](), list[int]()
    operator = sample_latest(seconds, lambda item: item % 7, replaced=replaced.append, scheduler=event_loop)
    source.pipe(operator).subscribe(got)

    def produce() -> None:
        for item in range(3_000):
            source.on_next(item)
        source.on_completed()

    join(*start(produce))

    assert_conserved(range(3_000), got.items, order_within=lambda item: item % 7, replaced=replaced)
    for key in range(7):
        own = [item for item in got.items if item % 7 == key]
        assert own[-1] >= 2_993
    assert got.ends == [None]
    assert got.overlaps == 0


def test_a_slow_subscriber_does_not_hold_the_source_back_but_gets_the_newest(clock: TestScheduler) -> None:
    source, got = Subject[str](), Subscriber[str](blocked=True)
    source.pipe(sample_latest(50, letter, scheduler=clock)).subscribe(got)
    source.on_next("a1")
    source.on_next("b1")
    (timer,) = start(lambda: clock.advance_by(60))
    got.wait_until(lambda: got.inside == 1)  # on the timer's thread

    source.on_next("b2")
    source.on_next("b3")
    (ending,) = start(source.on_completed)
    wait_until_held_back(ending)
    got.release()
    join(ending, timer)

    assert got.items == ["a1", "b3"]
    assert (got.ends, got.overlaps) == ([None], 0)


@pytest.mark.parametrize("_run", range(10))
def test_disposing_races_a_timer(event_loop: EventLoopScheduler, _run: int) -> None:
    source, got = Subject[str](), Subscriber[str]()
    subscription = source.pipe(sample_latest(1e-6, letter, scheduler=event_loop)).subscribe(got)

    source.on_next("a1")
    subscription.dispose()
    wait_for_turn(event_loop)

    assert got.items in ([], ["a1"])
    assert source.observers == []
