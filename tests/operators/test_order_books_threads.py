"""`order_books` between a source's thread, a timer's thread, and a subscriber that takes its time."""

from __future__ import annotations

from functools import partial
from threading import get_ident
from time import sleep

import pytest
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from operators import order_books
from tests.operators.book_support import Message, Trouble, View, bid, brief, snapshot
from tests.operators.support import Subscriber, join, start, wait_for_turn, wait_until_held_back

pytestmark = pytest.mark.usefixtures("frequent_switches")


@pytest.mark.parametrize("seconds", [1e-6, 0.0002, 60])
def test_every_message_is_seen_in_order_and_one_call_is_made_at_a_time(
    event_loop: EventLoopScheduler, seconds: float
) -> None:
    source, got = Subject[Message](), Subscriber[View]()
    source.pipe(order_books(emit="every", stale_after=seconds, scheduler=event_loop)).subscribe(got)
    updates = [bid("8", str(size)) for size in range(1, 3_000)]

    def produce() -> None:
        source.on_next(snapshot())
        for update in updates:
            source.on_next(update)
        source.on_completed()

    join(*start(produce))

    assert [view.message for view in got.items if not view.stale] == [snapshot(), *updates]
    assert got.ends == [None]
    assert got.overlaps == 0


def test_both_threads_emit_and_tell_one_at_a_time(event_loop: EventLoopScheduler) -> None:
    source, got = Subject[Message](), Subscriber[View]()
    emitters: set[int] = set()
    telling: list[Trouble] = []

    def on_view(view: View) -> None:
        got.overlaps += len(telling)
        emitters.add(get_ident())
        sleep(0)
        got.on_next(view)

    def troubled(trouble: Trouble) -> None:
        got.overlaps += len(telling) + got.inside
        telling.append(trouble)
        sleep(0)
        telling.pop()

    source.pipe(order_books(stale_after=0.0005, troubled=troubled, scheduler=event_loop)).subscribe(on_view)

    def produce() -> None:
        size = 0
        while len(emitters) < 2 or size < 500:
            size += 1
            source.on_next(snapshot(bid=str(size % 9)))
            for _ in range(size % 50):
                sleep(0)
        source.on_completed()

    join(*start(produce))

    assert got.overlaps == 0


def test_sources_on_threads_of_their_own_keep_their_products_in_order(event_loop: EventLoopScheduler) -> None:
    source, got = Subject[Message](), Subscriber[View]()
    source.pipe(order_books(emit="every", stale_after=60, scheduler=event_loop)).subscribe(got)

    def produce(product: str) -> None:
        source.on_next(snapshot(product))
        for size in range(1, 500):
            source.on_next(bid("8", str(size), product))

    join(*start(*[partial(produce, product) for product in "ABCD"]))
    source.on_completed()

    for product in "ABCD":
        own = [view.message for view in got.items if view.product == product]
        assert own == [snapshot(product), *[bid("8", str(size), product) for size in range(1, 500)]]
    assert got.overlaps == 0


def test_a_slow_subscriber_holds_the_source_back(clock: TestScheduler) -> None:
    source, got = Subject[Message](), Subscriber[View](blocked=True)
    source.pipe(order_books(stale_after=50, scheduler=clock)).subscribe(got)
    (first,) = start(lambda: source.on_next(snapshot()))
    got.wait_until(lambda: got.inside == 1)

    (second,) = start(lambda: source.on_next(bid("9.5")))
    wait_until_held_back(second)
    assert len(got.items) == 1
    got.release()
    join(first, second)

    assert [brief(view) for view in got.items] == ["A 9/11", "A 9.5/11"]
    assert got.overlaps == 0


def test_a_subscriber_that_blocks_makes_no_book_stale(clock: TestScheduler) -> None:
    source, got = Subject[Message](), Subscriber[View]()
    source.pipe(order_books(stale_after=50, scheduler=clock)).subscribe(got)
    source.on_next(snapshot("B"))
    clock.advance_to(40)
    got.block()
    (producer,) = start(lambda: source.on_next(snapshot("A")))
    got.wait_until(lambda: got.inside == 1)

    clock.advance_to(1_000)
    got.release()
    join(producer)
    clock.advance_to(1_009)
    assert [brief(view) for view in got.items] == ["B 9/11", "A 9/11"]
    clock.advance_to(1_010)
    assert [brief(view) for view in got.items[2:]] == ["B 9/11 stale"]
    clock.advance_to(1_050)

    assert [brief(view) for view in got.items[3:]] == ["A 9/11 stale"]


@pytest.mark.parametrize("_run", range(20))
def test_disposing_races_the_timer(event_loop: EventLoopScheduler, _run: int) -> None:
    source, got = Subject[Message](), Subscriber[View]()
    subscription = source.pipe(order_books(stale_after=1e-5, scheduler=event_loop)).subscribe(got)

    source.on_next(snapshot())
    subscription.dispose()
    wait_for_turn(event_loop)
    seen = len(got.items)
    source.on_next(snapshot(bid="8"))
    wait_for_turn(event_loop)

    assert len(got.items) == seen <= 2
    assert got.ends == []
    assert source.observers == []
