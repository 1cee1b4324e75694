"""`conflate` between a source's thread, a timer's thread, and a subscriber that takes its time."""

from __future__ import annotations

from random import Random
from threading import get_ident
from time import sleep

import pytest
from reactivex.scheduler import EventLoopScheduler, TimeoutScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from operators import conflate
from operators.testing import assert_conserved
from tests.operators.support import Subscriber, join, start, wait_for_turn, wait_until_held_back

pytestmark = pytest.mark.usefixtures("frequent_switches")

KEYS = 7


def remainder(item: int) -> int:
    return item % KEYS


def check_conserved(items: list[int], emitted: list[int], replaced: list[int]) -> None:
    assert_conserved(items, emitted, order_within=remainder, replaced=replaced)
    for key in range(KEYS):
        own = [item for item in emitted if remainder(item) == key]
        assert own[-1:] == [item for item in items if remainder(item) == key][-1:]


@pytest.mark.parametrize("seconds", [1e-6, 0.0002, 60])
def test_nothing_is_lost_and_one_call_is_made_at_a_time(event_loop: EventLoopScheduler, seconds: float) -> None:
    items = list(range(5_000))
    source, got, replaced = Subject[int](), Subscriber[int](), list[int]()
    source.pipe(conflate(seconds, remainder, conflated=replaced.append, scheduler=event_loop)).subscribe(got)

    def produce() -> None:
        for item in items:
            source.on_next(item)
        source.on_completed()

    join(*start(produce))

    check_conserved(items, got.items, replaced)
    assert got.ends == [None]
    assert got.overlaps == 0


@pytest.mark.parametrize("seed", range(5))
def test_both_threads_emit(event_loop: EventLoopScheduler, seed: int) -> None:
    random = Random(seed)
    source, got, replaced = Subject[int](), Subscriber[int](), list[int]()
    emitters: set[int] = set()
    items: list[int] = []

    def on_item(item: int) -> None:
        emitters.add(get_ident())
        sleep(0)
        got.on_next(item)

    source.pipe(conflate(0.002, remainder, conflated=replaced.append, scheduler=event_loop)).subscribe(
        on_item, got.on_error, got.on_completed
    )

    def produce() -> None:
        while len(emitters) < 2 or len(items) < 1_000:
            for _ in range(random.choice([1, 2, 3, 10, 40])):
                items.append(len(items))
                source.on_next(items[-1])
            got.wait_until(lambda: items[-1] in got.items[-KEYS:])

    join(*start(produce))
    source.on_completed()

    check_conserved(items, got.items, replaced)
    assert got.overlaps == 0


def test_timers_on_threads_of_their_own_keep_the_order() -> None:
    items = list(range(500))
    source, got, replaced = Subject[int](), Subscriber[int](), list[int]()
    scheduler = TimeoutScheduler.singleton()
    source.pipe(conflate(1e-6, remainder, conflated=replaced.append, scheduler=scheduler)).subscribe(got)

    def produce() -> None:
        for item in items:
            source.on_next(item)
        source.on_completed()

    join(*start(produce))

    check_conserved(items, got.items, replaced)
    assert got.overlaps == 0


def test_a_slow_subscriber_does_not_hold_the_source_back_but_gets_the_newest(clock: TestScheduler) -> None:
    source, got, replaced = Subject[int](), Subscriber[int](), list[int]()
    source.pipe(conflate(50, remainder, conflated=replaced.append, scheduler=clock)).subscribe(got)
    source.on_next(0)
    source.on_next(KEYS)
    got.block()
    (timer,) = start(lambda: clock.advance_by(60))
    got.wait_until(lambda: got.inside == 1)  # on the timer's thread

    items = list(range(2 * KEYS, 1_000))
    for item in items:
        source.on_next(item)
    assert got.items == [0, KEYS]
    (ending,) = start(source.on_completed)
    wait_until_held_back(ending)
    assert got.ends == []

    got.release()
    join(ending, timer)

    assert sorted(got.items[2:]) == items[-KEYS:]
    assert sorted(replaced) == items[:-KEYS]
    assert got.ends == [None]
    assert got.overlaps == 0


@pytest.mark.parametrize("_run", range(20))
def test_disposing_races_a_timer(event_loop: EventLoopScheduler, _run: int) -> None:
    source, got = Subject[int](), Subscriber[int]()
    subscription = source.pipe(conflate(1e-6, remainder, scheduler=event_loop)).subscribe(got)

    source.on_next(0)
    source.on_next(KEYS)
    subscription.dispose()
    wait_for_turn(event_loop)
    source.on_next(2 * KEYS)
    wait_for_turn(event_loop)

    assert got.items in ([0], [0, KEYS])
    assert got.ends == []
    assert source.observers == []
