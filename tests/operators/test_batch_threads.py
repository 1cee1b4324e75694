"""`batch` between a source's thread, a timer's thread, and a subscriber that takes its time."""

from __future__ import annotations

import gc
import weakref
from functools import partial
from random import Random
from threading import Event, Thread, current_thread, get_ident
from time import sleep

import pytest
from reactivex.scheduler import EventLoopScheduler, TimeoutScheduler
from reactivex.subject import Subject

from operators import batch
from tests.operators.support import DEADLINE, Subscriber, join, start, wait_for_turn, wait_until_held_back

pytestmark = pytest.mark.usefixtures("frequent_switches")


def flat(batches: list[list[int]]) -> list[int]:
    return [item for each in batches for item in each]


@pytest.mark.parametrize("seconds", [1e-6, 0.0005, 60])
@pytest.mark.parametrize("count", [1, 3, 1000])
def test_every_item_once_in_order_and_one_call_at_a_time(
    event_loop: EventLoopScheduler, seconds: float, count: int
) -> None:
    items = list(range(5_000))
    source, got = Subject[int](), Subscriber[list[int]]()
    source.pipe(batch(count=count, seconds=seconds, scheduler=event_loop)).subscribe(got)

    def produce() -> None:
        for item in items:
            source.on_next(item)
        source.on_completed()

    join(*start(produce))

    assert flat(got.items) == items
    assert all(1 <= len(each) <= count for each in got.items)
    assert got.ends == [None]
    assert got.overlaps == 0


@pytest.mark.parametrize("seed", range(5))
def test_both_threads_close_batches(event_loop: EventLoopScheduler, seed: int) -> None:
    random = Random(seed)
    source, got = Subject[int](), Subscriber[list[int]]()
    emitters: set[int] = set()
    items: list[int] = []

    def on_batch(batched: list[int]) -> None:
        emitters.add(get_ident())
        sleep(0)
        got.on_next(batched)

    source.pipe(batch(count=4, seconds=1e-5, scheduler=event_loop)).subscribe(on_batch, got.on_error, got.on_completed)

    def produce() -> None:
        while len(emitters) < 2 or len(items) < 3_000:
            for _ in range(random.choice([1, 2, 3, 4, 5, 40])):
                items.append(len(items))
                source.on_next(items[-1])
            got.wait_until(lambda: bool(got.items) and got.items[-1][-1] == items[-1])

    join(*start(produce))

    assert flat(got.items) == items
    assert all(1 <= len(each) <= 4 for each in got.items)
    assert got.overlaps == 0


@pytest.mark.parametrize("seconds", [1e-6, 0.001])
def test_bytes_and_time_race_and_nothing_is_lost(event_loop: EventLoopScheduler, seconds: float) -> None:
    items = [(7 * item) % 23 for item in range(3_000)]
    source, got = Subject[int](), Subscriber[list[int]]()
    source.pipe(batch(count=8, seconds=seconds, bytes=30, size=int, scheduler=event_loop)).subscribe(got)

    def produce() -> None:
        for item in items:
            source.on_next(item)
        source.on_error(ValueError("lost"))

    join(*start(produce))

    assert flat(got.items) == items
    assert all(sum(each) <= 30 and 1 <= len(each) <= 8 for each in got.items)
    assert [str(end) for end in got.ends] == ["lost"]
    assert got.overlaps == 0


def test_timers_on_threads_of_their_own_keep_the_order() -> None:
    items = list(range(300))
    source, got = Subject[int](), Subscriber[list[int]]()
    source.pipe(batch(count=5, seconds=1e-6, scheduler=TimeoutScheduler.singleton())).subscribe(got)

    def produce() -> None:
        for item in items:
            source.on_next(item)
        source.on_completed()

    join(*start(produce))

    assert flat(got.items) == items
    assert got.overlaps == 0


def test_sources_that_do_not_take_turns_still_lose_nothing(event_loop: EventLoopScheduler) -> None:
    source, got = Subject[int](), Subscriber[list[int]]()
    source.pipe(batch(count=7, seconds=0.0002, scheduler=event_loop)).subscribe(got)

    def produce(first: int) -> None:
        for item in range(first, first + 1_000):
            source.on_next(item)

    join(*start(*[partial(produce, first) for first in (0, 1_000, 2_000, 3_000)]))
    source.on_completed()

    items = flat(got.items)
    assert sorted(items) == list(range(4_000))
    for first in (0, 1_000, 2_000, 3_000):
        own = [item for item in items if first <= item < first + 1_000]
        assert own == sorted(own)
    assert got.overlaps == 0


def test_the_source_is_held_back_when_the_next_batch_is_full(event_loop: EventLoopScheduler) -> None:
    source, got = Subject[int](), Subscriber[list[int]](blocked=True)
    emitters: list[Thread] = []

    def on_batch(items: list[int]) -> None:
        emitters.append(current_thread())
        got.on_next(items)

    source.pipe(batch(count=3, seconds=0.001, scheduler=event_loop)).subscribe(on_batch)
    passed: list[int] = []

    def produce() -> None:
        source.on_next(0)
        got.wait_until(lambda: got.items == [[0]])  # on the timer's thread, which is in the subscriber now
        for item in range(1, 100):
            source.on_next(item)
            passed.append(item)

    (producer,) = start(produce)
    wait_until_held_back(producer)

    assert passed == [1, 2]
    assert got.items == [[0]]

    got.release()
    join(producer)
    got.wait_until(lambda: len(flat(got.items)) == 100)

    assert flat(got.items) == list(range(100))
    assert got.overlaps == 0
    assert emitters[0] is not producer
    assert emitters[1] is producer  # the timer's thread was let go


def test_a_timer_that_rings_while_the_source_emits_does_not_wait(event_loop: EventLoopScheduler) -> None:
    source, got = Subject[int](), Subscriber[list[int]](blocked=True)
    source.pipe(batch(count=9, seconds=0.001, bytes=10, size=int, scheduler=event_loop)).subscribe(got)

    def produce() -> None:
        source.on_next(10)  # closes at once, and is emitted here

    # The 6 is held, its time runs out, and the producer is in the subscriber with the 10.
    (producer,) = start(produce)
    got.wait_until(lambda: got.items == [[10]])
    source.on_next(6)
    rung = Event()
    event_loop.schedule_relative(0.002, lambda *_: rung.set())
    assert rung.wait(DEADLINE)
    source.on_next(3)
    assert got.items == [[10]]

    got.release()
    join(producer)

    assert got.items == [[10], [6, 3]]
    assert got.overlaps == 0


@pytest.mark.parametrize("error", [None, ValueError("lost")], ids=["completion", "error"])
def test_the_end_waits_for_the_call_that_runs(event_loop: EventLoopScheduler, error: Exception | None) -> None:
    source, got = Subject[int](), Subscriber[list[int]](blocked=True)
    source.pipe(batch(count=3, seconds=0.001, scheduler=event_loop)).subscribe(got)

    def produce() -> None:
        source.on_next(0)
        got.wait_until(lambda: got.items == [[0]])
        source.on_next(1)
        if error is None:
            source.on_completed()
        else:
            source.on_error(error)

    (producer,) = start(produce)
    wait_until_held_back(producer)
    assert got.items == [[0]]
    assert got.ends == []

    got.release()
    join(producer)

    assert got.items == [[0], [1]]
    assert got.ends == [error]
    assert got.overlaps == 0


def test_disposing_lets_a_source_go_that_is_held_back(event_loop: EventLoopScheduler) -> None:
    source, got = Subject[int](), Subscriber[list[int]](blocked=True)
    subscription = source.pipe(batch(count=1, seconds=0.001, scheduler=event_loop)).subscribe(got)

    (emitting,) = start(lambda: source.on_next(0))
    got.wait_until(lambda: got.items == [[0]])
    (held_back,) = start(lambda: source.on_next(1))
    wait_until_held_back(held_back)
    subscription.dispose()
    subscription.dispose()
    join(held_back)
    got.release()
    join(emitting)

    assert got.items == [[0]]
    assert got.ends == []
    assert source.observers == []


@pytest.mark.parametrize("_run", range(30))
def test_disposing_races_a_timer(event_loop: EventLoopScheduler, _run: int) -> None:
    source, got = Subject[int](), Subscriber[list[int]]()
    subscription = source.pipe(batch(count=9, seconds=1e-6, scheduler=event_loop)).subscribe(got)

    source.on_next(1)
    subscription.dispose()
    wait_for_turn(event_loop)
    source.on_next(2)
    wait_for_turn(event_loop)

    assert got.items in ([], [[1]])
    assert got.ends == []
    assert source.observers == []


def test_a_subscriber_that_raises_on_the_timers_thread_does_not_end_it(event_loop: EventLoopScheduler) -> None:
    source, failed = Subject[int](), Event()
    failure = ValueError("no sink")
    ends: list[Exception] = []

    def on_batch(_items: list[int]) -> None:
        raise failure

    def on_failure(error: Exception) -> None:
        ends.append(error)
        failed.set()

    source.pipe(batch(count=9, seconds=0.001, scheduler=event_loop)).subscribe(on_batch, on_failure)
    source.on_next(1)

    assert failed.wait(DEADLINE)
    wait_for_turn(event_loop)
    assert ends == [failure]
    assert source.observers == []


class Item:
    """Something that can be seen to be let go of."""


def test_disposing_frees_what_is_held_although_the_timer_is_far_away(event_loop: EventLoopScheduler) -> None:
    source, got = Subject[Item](), Subscriber[list[Item]]()
    item = Item()
    alive, subscriber_alive = weakref.ref(item), weakref.ref(got)
    subscription = source.pipe(batch(count=9, seconds=3600, scheduler=event_loop)).subscribe(got)
    source.on_next(item)

    subscription.dispose()
    del item, got, subscription
    gc.collect()

    assert alive() is None
    assert subscriber_alive() is None


def test_disposing_frees_what_is_held_although_the_subscriber_still_blocks(event_loop: EventLoopScheduler) -> None:
    source, got = Subject[Item | None](), Subscriber[list[Item | None]](blocked=True)
    subscription = source.pipe(batch(count=1, seconds=3600, scheduler=event_loop)).subscribe(got)
    item = Item()
    alive = weakref.ref(item)
    (emitting,) = start(lambda: source.on_next(None))
    got.wait_until(lambda: got.items == [[None]])
    (held_back,) = start(partial(source.on_next, item))
    wait_until_held_back(held_back)
    del item

    subscription.dispose()
    join(held_back)
    del held_back
    gc.collect()
    assert alive() is None

    got.release()
    join(emitting)
