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

from operators import conflate, throttle
from operators.testing import assert_conserved
from operators.throttle import Edge
from tests.operators.support import CountingScheduler, Subscriber, join, start, wait_for_turn

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

EDGES: tuple[Edge, ...] = ("leading", "trailing", "both")


def letter(item: str) -> str:
    """`a1` is about `a`."""
    return item[0]


MARBLES = [
    on_next(210, "a1"),
    on_next(220, "a2"),
    on_next(225, "b1"),
    on_next(230, "a3"),
    on_next(290, "a4"),
    on_next(400, "a5"),
    on_next(410, "a6"),
    on_completed(420),
]


def test_the_leading_edge_passes_the_first_of_each_window() -> None:
    clock, dropped = CountingScheduler(), list[str]()
    source = clock.create_hot_observable(*MARBLES)

    result = clock.start(lambda: source.pipe(throttle(50, letter, dropped=dropped.append, scheduler=clock)))

    assert result.messages == [MARBLES[0], MARBLES[2], MARBLES[4], MARBLES[5], MARBLES[7]]
    assert dropped == ["a2", "a3", "a6"]
    assert clock.timers == 0


def test_the_trailing_edge_passes_the_newest_at_the_end_of_each_window() -> None:
    clock, dropped = CountingScheduler(), list[str]()
    source = clock.create_hot_observable(*MARBLES)

    result = clock.start(
        lambda: source.pipe(throttle(50, letter, edge="trailing", dropped=dropped.append, scheduler=clock))
    )

    assert result.messages == [
        on_next(260, "a3"),
        on_next(275, "b1"),
        on_next(340, "a4"),
        on_next(420, "a6"),
        on_completed(420),
    ]
    assert dropped == ["a1", "a2", "a5"]
    assert clock.most_pending == 1


def test_both_edges_are_conflation(clock: TestScheduler) -> None:
    other = TestScheduler()
    throttled = clock.start(
        lambda: clock.create_hot_observable(*MARBLES).pipe(throttle(50, letter, edge="both", scheduler=clock))
    )
    conflated = other.start(lambda: other.create_hot_observable(*MARBLES).pipe(conflate(50, letter, scheduler=other)))

    assert throttled.messages == conflated.messages != []


def test_an_item_at_the_end_of_a_window_opens_the_next(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(259, "a2"), on_next(260, "a3"))

    result = clock.start(lambda: source.pipe(throttle(50, letter, scheduler=clock)))

    assert result.messages == [on_next(210, "a1"), on_next(260, "a3")]


@pytest.mark.parametrize("edge", EDGES)
def test_an_error_of_the_source_passes_after_what_is_held(clock: TestScheduler, edge: Edge) -> None:
    lost = on_error(230, OSError("lost"))
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, "a2"), lost)

    result = clock.start(lambda: source.pipe(throttle(50, letter, edge=edge, scheduler=clock)))

    leading, trailing = [on_next(210, "a1")], [on_next(230, "a2")]
    assert result.messages == {"leading": leading, "trailing": trailing, "both": leading + trailing}[edge] + [lost]
    assert source.subscriptions == [subscribe(200, 230)]


@pytest.mark.parametrize("edge", EDGES)
def test_disposing_drops_what_is_held(edge: Edge) -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, "a2"))

    result = clock.start(lambda: source.pipe(throttle(50, letter, edge=edge, scheduler=clock)), disposed=230)

    assert result.messages == ([] if edge == "trailing" else [on_next(210, "a1")])
    assert source.subscriptions == [subscribe(200, 230)]
    assert clock.last_ring == 0


@pytest.mark.parametrize("edge", EDGES)
def test_what_key_or_dropped_raises_is_an_error(edge: Edge) -> None:
    refused = OSError("refused")

    def refuse(_item: str) -> None:
        raise refused

    for key, dropped, items in ((refuse, None, "a"), (letter, refuse, "aaa")):
        source, got = Subject[str](), Subscriber[str]()
        source.pipe(throttle(50, key, edge=edge, dropped=dropped, scheduler=TestScheduler())).subscribe(got)
        for item in items:
            source.on_next(item)

        assert got.ends == [refused]
        assert source.observers == []


def test_each_subscription_has_windows_of_its_own(clock: TestScheduler) -> None:
    source, early, late = Subject[str](), list[str](), list[str]()
    throttled = source.pipe(throttle(50, letter, scheduler=clock))

    throttled.subscribe(early.append)
    source.on_next("a1")
    throttled.subscribe(late.append)
    source.on_next("a2")

    assert (early, late) == (["a1"], ["a2"])


def test_what_a_subscriber_raises_goes_to_its_own_on_error_from_the_timer(clock: TestScheduler) -> None:
    failure, ends = ValueError("no display"), list[Exception]()
    source = Subject[str]()

    def on_item(_item: str) -> None:
        raise failure

    source.pipe(throttle(50, letter, edge="trailing", scheduler=clock)).subscribe(on_item, ends.append)
    source.on_next("a1")
    clock.advance_to(100)

    assert ends == [failure]
    assert source.observers == []


def test_the_arguments_are_checked(clock: TestScheduler) -> None:
    unknown: Any = "middle"
    with pytest.raises(ValueError, match="positive"):
        throttle(0, letter, scheduler=clock)
    with pytest.raises(ValueError, match="middle"):
        throttle(1, letter, edge=unknown, scheduler=clock)


# Laws.


@unhurried
@given(
    gaps=st.lists(st.tuples(st.integers(1, 30), st.sampled_from("abc")), max_size=50),
    seconds=st.integers(1, 60),
    edge=st.sampled_from(EDGES),
    fails=st.booleans(),
)
def test_every_item_is_emitted_or_dropped_in_order_and_the_emitted_are_apart(
    *, gaps: list[tuple[int, str]], seconds: int, edge: Edge, fails: bool
) -> None:
    clock, dropped, sent, now = TestScheduler(), list[str](), list[str](), 200
    messages: list[Recorded[Any]] = []
    for number, (gap, key) in enumerate(gaps):
        now += gap
        sent.append(f"{key}{number:02}")
        messages.append(on_next(now, sent[-1]))
    end = on_error(now + 5, OSError("lost")) if fails else on_completed(now + 5)
    source = clock.create_hot_observable(*messages, end)

    emitted: list[tuple[float, str]] = []
    operator = throttle(seconds, letter, edge=edge, dropped=dropped.append, scheduler=clock)

    def note(item: str) -> None:
        emitted.append((clock.clock, item))

    result = clock.start(lambda: source.pipe(operator, ops.do_action(note)), disposed=now + 1000)

    assert result.messages[-1] == end
    assert_conserved(sent, [item for _, item in emitted], order_within=letter, dropped=dropped)
    for key in "abc":
        own = [(time, item) for time, item in emitted if item[0] == key]
        before_end = [time for time, _ in own if time < end.time]
        assert all(later - earlier >= seconds for earlier, later in pairwise(before_end))
        if edge == "leading":
            assert [item for _, item in own][:1] == [item for item in sent if item[0] == key][:1]
        else:
            assert [item for _, item in own][-1:] == [item for item in sent if item[0] == key][-1:]


@unhurried
@given(gaps=st.lists(st.integers(1, 30), max_size=50), seconds=st.integers(1, 60))
def test_the_leading_edge_twice_is_the_same_as_once(gaps: list[int], seconds: int) -> None:
    def run(times: int) -> list[Recorded[Any]]:
        clock = TestScheduler()
        moments = [200 + sum(gaps[: number + 1]) for number in range(len(gaps))]
        source = clock.create_hot_observable(*[on_next(moment, "a") for moment in moments])
        operators = [throttle(seconds, letter, scheduler=clock) for _ in range(times)]
        return list(clock.start(lambda: source.pipe(*operators), disposed=5_000).messages)

    assert run(2) == run(1)


# Threads.


@pytest.mark.usefixtures("frequent_switches")
@pytest.mark.parametrize("edge", EDGES)
@pytest.mark.parametrize("seconds", [1e-6, 60])
def test_nothing_is_lost_between_the_threads(event_loop: EventLoopScheduler, edge: Edge, seconds: float) -> None:
    source, got, dropped = Subject[int](), Subscriber[int](), list[int]()
    operator = throttle(seconds, lambda item: item % 7, edge=edge, dropped=dropped.append, scheduler=event_loop)
    source.pipe(operator).subscribe(got)

    def produce() -> None:
        for item in range(2_000):
            source.on_next(item)
        source.on_completed()

    join(*start(produce))

    assert sorted(got.items + dropped) == list(range(2_000))
    assert got.ends == [None]
    assert got.overlaps == 0


@pytest.mark.parametrize("_run", range(10))
def test_disposing_races_a_timer(event_loop: EventLoopScheduler, _run: int) -> None:
    source, got = Subject[str](), Subscriber[str]()
    throttled = source.pipe(throttle(1e-6, letter, edge="trailing", scheduler=event_loop))
    subscription = throttled.subscribe(got)

    source.on_next("a1")
    subscription.dispose()
    wait_for_turn(event_loop)
    source.on_next("a2")
    wait_for_turn(event_loop)

    assert got.items in ([], ["a1"])
    assert source.observers == []
