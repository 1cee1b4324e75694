"""`Journal.frames`: the Observable that reads when its subscriber is ready."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler
from reactivex.testing import TestScheduler

from rxbridge.errors import JournalError
from rxbridge.journal import Journal
from rxbridge.messages import Frame
from tests.rxbridge.journal.support import (
    DEADLINE_SECONDS,
    Subscriber,
    append_all,
    eventually,
    frame,
    frames,
    numbers,
)


@pytest.fixture
def uncaught(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What threads have died of."""
    found: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda given: found.append(repr(given.exc_value)))
    return found


@pytest.fixture
def event_loop() -> Iterator[EventLoopScheduler]:
    scheduler = EventLoopScheduler()
    yield scheduler
    scheduler.dispose()


def set_event() -> Event:
    event = Event()
    event.set()
    return event


def test_all_frames_come_in_order_and_then_those_to_come(journal: Journal):
    append_all(journal, frames(1, 3000))
    subscriber = Subscriber()
    subscription = journal.frames().subscribe(subscriber)
    eventually(lambda: len(subscriber.frames) == 3000)
    journal.append(frame(3001))
    eventually(lambda: len(subscriber.frames) == 3001)
    assert numbers(subscriber.frames) == list(range(1, 3002))
    assert not subscriber.ended.is_set()
    subscription.dispose()


def test_it_begins_after_the_offset(journal: Journal):
    append_all(journal, frames(1, 10))
    subscriber = Subscriber()
    journal.frames(7, finish=set_event()).subscribe(subscriber)
    assert subscriber.ended.wait(DEADLINE_SECONDS)
    assert numbers(subscriber.frames) == [8, 9, 10]


def test_it_is_cold_and_each_subscriber_gets_everything(journal: Journal):
    append_all(journal, frames(1, 100))
    source = journal.frames(finish=set_event())
    for _ in range(2):
        subscriber = Subscriber()
        source.subscribe(subscriber)
        assert subscriber.ended.wait(DEADLINE_SECONDS)
        assert numbers(subscriber.frames) == list(range(1, 101))


def test_it_works_on_a_daemon_thread_of_its_own(journal: Journal):
    append_all(journal, frames(1, 1))
    threads: list[threading.Thread] = []
    done = Event()
    journal.frames(finish=set_event()).subscribe(
        lambda _: threads.append(threading.current_thread()), on_completed=done.set
    )
    assert done.wait(DEADLINE_SECONDS)
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon


def test_finish_completes_when_everything_appended_was_read(journal: Journal):
    finish = Event()
    subscriber = Subscriber()
    journal.frames(finish=finish).subscribe(subscriber)
    for item in frames(1, 5000):
        journal.append(item)
    # Not flushed: what is still pending counts as well.
    finish.set()
    assert subscriber.ended.wait(DEADLINE_SECONDS)
    assert numbers(subscriber.frames) == list(range(1, 5001))
    assert subscriber.error is None


def test_stop_completes_at_once(journal: Journal):
    append_all(journal, frames(1, 1000))
    stop = Event()
    subscriber = Subscriber()

    def on_next(item: Frame) -> None:
        subscriber.on_next(item)
        if item.offset == 10:
            stop.set()

    journal.frames(stop=stop).subscribe(on_next, subscriber.on_error, subscriber.on_completed)
    assert subscriber.ended.wait(DEADLINE_SECONDS)
    assert numbers(subscriber.frames) == list(range(1, 11))


def test_stop_completes_an_idle_one(journal: Journal):
    stop = Event()
    subscriber = Subscriber()
    journal.frames(stop=stop).subscribe(subscriber)
    stop.set()
    assert subscriber.ended.wait(DEADLINE_SECONDS)


@pytest.mark.parametrize("count", [0, 1000])
def test_dispose_ends_it_and_its_thread(journal: Journal, count: int):
    append_all(journal, frames(1, count))
    subscriber = Subscriber()
    before = set(threading.enumerate())
    subscription = journal.frames().subscribe(subscriber)
    (pump,) = set(threading.enumerate()) - before
    eventually(lambda: len(subscriber.frames) == count)
    subscription.dispose()
    pump.join(DEADLINE_SECONDS)
    assert not pump.is_alive()
    append_all(journal, frames(count + 1, count + 10))
    assert len(subscriber.frames) == count
    assert not subscriber.ended.is_set()


def test_a_subscriber_that_blocks_is_waited_for(journal: Journal):
    append_all(journal, frames(1, 100))
    proceed = threading.Semaphore(0)
    seen: list[int] = []

    def on_next(item: Frame) -> None:
        seen.append(item.offset)
        assert proceed.acquire(timeout=DEADLINE_SECONDS)

    subscription = journal.frames().subscribe(on_next)
    for count in range(1, 6):
        eventually(lambda count=count: len(seen) >= count)
        assert seen == list(range(1, count + 1))
        proceed.release()
    subscription.dispose()
    proceed.release()


def test_what_the_subscriber_raises_goes_to_its_error_handler(journal: Journal):
    append_all(journal, frames(1, 10))
    subscriber = Subscriber()

    def on_next(item: Frame) -> None:
        subscriber.on_next(item)
        if item.offset == 3:
            raise LookupError("no sink")

    journal.frames().subscribe(on_next, subscriber.on_error, subscriber.on_completed)
    assert subscriber.ended.wait(DEADLINE_SECONDS)
    assert repr(subscriber.error) == "LookupError('no sink')"
    assert len(subscriber.frames) == 3


def test_what_a_chain_raises_behind_operators_goes_to_its_error_handler(journal: Journal):
    append_all(journal, frames(1, 10))
    subscriber = Subscriber()

    def fail_at_4(offset: int) -> None:
        if offset == 4:
            raise LookupError("no sink")

    journal.frames().pipe(ops.map(lambda item: item.offset), ops.filter(lambda offset: offset > 3)).subscribe(
        fail_at_4, subscriber.on_error
    )
    assert subscriber.ended.wait(DEADLINE_SECONDS)
    assert isinstance(subscriber.error, LookupError)


def test_without_an_error_handler_the_thread_reports_it(journal: Journal, uncaught: list[str]):
    append_all(journal, frames(1, 10))

    def on_next(_item: Frame) -> None:
        raise LookupError("nobody hears")

    journal.frames().subscribe(on_next)
    eventually(lambda: uncaught)
    assert uncaught == ["LookupError('nobody hears')"]


def test_what_is_raised_after_the_end_is_reported_by_the_thread(journal: Journal, uncaught: list[str]):
    append_all(journal, frames(1, 10))
    subscription: list[Any] = []
    subscribed = Event()
    errors: list[Exception] = []

    def on_next(_item: Frame) -> None:
        assert subscribed.wait(DEADLINE_SECONDS)
        subscription[0].dispose()
        raise LookupError("too late")

    subscription.append(journal.frames().subscribe(on_next, errors.append))
    subscribed.set()
    eventually(lambda: uncaught)
    assert uncaught == ["LookupError('too late')"]
    assert errors == []


def test_closing_the_journal_is_an_error_for_its_subscribers(journal: Journal):
    subscriber = Subscriber()
    journal.frames().subscribe(subscriber)
    journal.close()
    assert subscriber.ended.wait(DEADLINE_SECONDS)
    assert isinstance(subscriber.error, JournalError)


def test_a_scheduler_given_at_subscribe_drives_it(journal: Journal, event_loop: EventLoopScheduler):
    append_all(journal, frames(1, 5000))
    subscriber = Subscriber()
    threads: set[int] = set()

    def on_next(item: Frame) -> None:
        threads.add(threading.get_ident())
        subscriber.on_next(item)

    finish = Event()
    journal.frames(finish=finish).subscribe(on_next, subscriber.on_error, subscriber.on_completed, scheduler=event_loop)
    eventually(lambda: len(subscriber.frames) == 5000)
    # The scheduler is free for others in between.
    ran = Event()
    event_loop.schedule(lambda *_: ran.set())
    assert ran.wait(DEADLINE_SECONDS)
    append_all(journal, frames(5001, 5010))
    finish.set()
    assert subscriber.ended.wait(DEADLINE_SECONDS)
    assert numbers(subscriber.frames) == list(range(1, 5011))
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_virtual_time_drives_it(journal: Journal):
    clock = TestScheduler()
    subscriber = Subscriber()
    subscription = journal.frames().subscribe(subscriber, scheduler=clock)
    append_all(journal, frames(1, 10))
    clock.advance_to(1.0)
    assert numbers(subscriber.frames) == list(range(1, 11))
    append_all(journal, frames(11, 20))
    clock.advance_to(2.0)
    assert numbers(subscriber.frames) == list(range(1, 21))
    subscription.dispose()
    append_all(journal, frames(21, 30))
    clock.advance_to(3.0)
    assert numbers(subscriber.frames) == list(range(1, 21))


def test_an_error_on_a_scheduler_goes_to_the_error_handler(journal: Journal):
    append_all(journal, frames(1, 10))
    clock = TestScheduler()
    errors: list[Exception] = []

    def fail(item: Frame) -> None:
        raise LookupError(item.offset)

    journal.frames().subscribe(fail, errors.append, scheduler=clock)
    clock.advance_to(1.0)
    assert [type(error) for error in errors] == [LookupError]
