"""Playing items back: each at its time, by any clock, the same way each time, and nothing left behind."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops
from reactivex.scheduler import HistoricalScheduler

from operators import ReplayClock, SteadyScheduler, batch, conflate, play_back

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def itself(moment: int) -> int:
    return moment


def seconds(*numbers: float) -> list[int]:
    return [START + round(number * SECOND) for number in numbers]


class Items:
    """Items that know whether they were let go."""

    def __init__(self, moments: list[int]) -> None:
        self.moments = moments
        self.open = 0

    def __call__(self) -> Iterator[int]:
        self.open += 1
        try:
            yield from self.moments
        finally:
            self.open -= 1


@given(st.lists(st.integers(0, 50 * SECOND), max_size=30), st.lists(st.floats(0.001, 20), max_size=5))
def test_timers_and_items_come_in_the_order_of_time(offsets: list[int], delays: list[float]) -> None:
    moments = [START + offset for offset in offsets]
    clock = ReplayClock()
    said: list[int] = []
    play_back(lambda: iter(moments), itself, scheduler=clock).subscribe(lambda item: said.append(max(item, 0)))
    rung: list[int] = []
    for delay in delays:
        clock.schedule_relative(delay, lambda *_: rung.append(clock.moment))

    clock.start()

    assert said == moments
    begun = moments[0] if moments else 0
    assert rung == sorted(begun + round(delay * SECOND) for delay in delays)


def test_each_item_finds_the_clock_at_its_nanosecond() -> None:
    moments = [START + 1, START + 1, START + 999, START + 7 * SECOND + 123_456_789, START + 5 * SECOND]
    clock = ReplayClock()
    seen: list[int] = []
    play_back(lambda: iter(moments), itself, scheduler=clock).subscribe(lambda _: seen.append(clock.moment))
    assert clock.moment == START + 1

    clock.start()

    assert seen == [*moments[:4], moments[3]], "the clock never goes back"


def test_a_timer_that_is_due_when_an_item_comes_is_first() -> None:
    clock = ReplayClock()
    said: list[str] = []
    moments = seconds(0, 1)
    play_back(lambda: iter(moments), itself, scheduler=clock).subscribe(
        lambda item: said.append(f"item {item - START}")
    )
    clock.schedule_relative(1, lambda *_: said.append("timer"))
    clock.start()
    assert said == ["item 0", "timer", f"item {SECOND}"]


@pytest.mark.parametrize("make", [ReplayClock, lambda: HistoricalScheduler(datetime.fromtimestamp(1_700_000_000, UTC))])
def test_windows_are_those_of_the_time_of_the_items(make: Callable[[], Any]) -> None:
    clock = make()
    moments = seconds(0, 1, 1.5, 5, 10, 10.25, 30)
    batches: list[Any] = []
    newest: list[Any] = []
    played = play_back(lambda: iter(moments), itself, scheduler=clock).pipe(ops.share())
    played.pipe(batch(count=10, seconds=2, scheduler=clock)).subscribe(lambda some: batches.append((clock.now, some)))
    played.pipe(conflate(2, key=lambda _: 0, scheduler=clock)).subscribe(lambda item: newest.append((clock.now, item)))

    clock.start()

    at = [datetime.fromtimestamp(1_700_000_000 + number, UTC) for number in (2, 7, 12, 30)]
    assert batches == [(at[0], moments[:3]), (at[1], moments[3:4]), (at[2], moments[4:6]), (at[3], moments[6:])]
    assert [item for _, item in newest][-1] == moments[-1]


def test_the_same_items_make_the_same_calls() -> None:
    moments = [START + number * 37 * SECOND // 1000 for number in range(2000)]

    def run() -> list[Any]:
        clock, calls = ReplayClock(), list[Any]()
        played = play_back(lambda: iter(moments), itself, scheduler=clock).pipe(ops.share())
        played.pipe(batch(count=50, seconds=0.5, scheduler=clock)).subscribe(lambda b: calls.append((clock.moment, b)))
        reactivex.interval(0.7, scheduler=clock).pipe(ops.take_until(played.pipe(ops.last()))).subscribe(
            lambda n: calls.append((clock.moment, n))
        )
        clock.start()
        return calls

    first = run()
    assert len(first) > 200
    assert run() == first


def test_two_recordings_are_played_by_one_clock() -> None:
    clock = ReplayClock(START)
    said: list[tuple[str, int]] = []
    for name, moments in (("a", seconds(1, 3, 5)), ("b", seconds(0.5, 3, 4))):
        play_back(lambda moments=moments: iter(moments), itself, scheduler=clock).subscribe(
            lambda item, name=name: said.append((name, (item - START) // (SECOND // 10)))
        )
    clock.start()
    assert sorted(said, key=lambda one: one[1]) == said
    assert len(said) == 6


def test_advancing_stops_between_items() -> None:
    clock = ReplayClock()
    said: list[int] = []
    moments = seconds(0, 1, 2, 3)
    play_back(lambda: iter(moments), itself, scheduler=clock).subscribe(said.append)
    clock.advance_to(START + 2 * SECOND)
    assert said == moments[:3]
    clock.advance_to(datetime.fromtimestamp(1_700_000_002.5, UTC))
    assert (said, clock.moment) == (moments[:3], START + 5 * SECOND // 2)
    clock.start()
    assert said == moments


@pytest.mark.parametrize("disposes", ["before", "within", "after"])
def test_the_items_are_let_go(disposes: str) -> None:
    items, clock, said = Items(seconds(0, 1, 2)), ReplayClock(), list[int]()

    def on_next(item: int) -> None:
        said.append(item)
        if disposes == "within":
            subscription.dispose()

    subscription = play_back(items, itself, scheduler=clock).subscribe(on_next)
    assert items.open == 1
    if disposes == "before":
        subscription.dispose()
        assert items.open == 0
    clock.start()
    assert len(said) == {"before": 0, "within": 1, "after": 3}[disposes]
    assert items.open == 0


@pytest.mark.parametrize("how", ["clock", "thread", "scheduler"])
def test_what_the_chain_raises_is_its_error(how: str, wait_for: Callable[..., None]) -> None:
    items, errors = Items(seconds(0, 1, 2)), list[Exception]()
    clock = ReplayClock()
    scheduler = {"clock": clock, "thread": None, "scheduler": SteadyScheduler()}[how]
    speed = None if how == "clock" else inf
    play_back(items, itself, speed=speed, scheduler=scheduler).pipe(ops.map(lambda _: 1 / 0)).subscribe(
        on_error=errors.append
    )
    clock.start()
    wait_for(lambda: bool(errors) and not items.open)
    assert [type(error) for error in errors] == [ZeroDivisionError]


def test_what_the_subscriber_raises_is_its_error_or_comes_out_of_the_clock() -> None:
    items, clock, errors = Items(seconds(0, 1, 2)), ReplayClock(), list[Exception]()

    def fail(_: int) -> None:
        raise LookupError("mine")

    play_back(items, itself, scheduler=clock).subscribe(fail, errors.append)
    clock.start()
    assert [str(error) for error in errors] == ["mine"]

    play_back(items, itself, scheduler=clock).subscribe(fail)
    with pytest.raises(LookupError, match="mine"):
        clock.start()
    assert not items.open


def test_items_that_fail_are_the_error_of_the_stream() -> None:
    def items() -> Iterator[int]:
        yield START
        raise OSError("unreadable")

    clock, said = ReplayClock(), list[object]()
    play_back(items, itself, scheduler=clock).subscribe(said.append, lambda error: said.append(str(error)))
    clock.start()
    assert said == [START, "unreadable"]


@pytest.mark.parametrize("speed", [1000.0, inf])
def test_without_a_scheduler_it_plays_on_a_thread_of_its_own(speed: float) -> None:
    items = Items(seconds(0, 1, 2, 20))
    threads: set[str] = set()
    done = threading.Event()
    said: list[int] = []

    def on_next(item: int) -> None:
        threads.add(threading.current_thread().name)
        said.append(item)

    play_back(items, itself, speed=speed).subscribe(on_next, on_completed=done.set)
    assert done.wait(30)
    assert (said, threads) == (items.moments, {"play-back"})


def test_a_wait_between_items_ends_with_the_subscription(wait_for: Callable[..., None]) -> None:
    items, said = Items(seconds(0, 100_000)), list[int]()
    subscription = play_back(items, itself, speed=1).subscribe(said.append)
    wait_for(lambda: bool(said))
    subscription.dispose()
    wait_for(lambda: not items.open)


def test_a_speed_divides_the_time_between_items() -> None:
    clock = HistoricalScheduler()
    said: list[timedelta] = []
    begun = clock.now
    moments = seconds(0, 10, 30)
    play_back(lambda: iter(moments), itself, speed=10, scheduler=clock).subscribe(
        lambda _: said.append(clock.now - begun)
    )
    clock.start()
    assert said == [timedelta(seconds=number) for number in (0, 1, 3)]


def test_speeds_and_clocks_that_make_no_sense() -> None:
    for speed in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="not positive"):
            play_back(lambda: iter([1]), itself, speed=speed)
    with pytest.raises(ValueError, match="clock of its own"):
        play_back(lambda: iter([1]), itself)
    with pytest.raises(ValueError, match="no time zone"):
        ReplayClock(datetime(2026, 1, 1))  # noqa: DTZ001 that is the point


def test_a_clock_that_stops_goes_on_later() -> None:
    clock, said = ReplayClock(START), list[int]()
    moments = seconds(0, 1, 2)

    def on_next(item: int) -> None:
        said.append(item)
        clock.stop()

    play_back(lambda: iter(moments), itself, scheduler=clock).subscribe(on_next)
    for count in (1, 2, 3):
        clock.start()
        assert len(said) == count
    clock.schedule(lambda *_: clock.start())
    with pytest.raises(RuntimeError, match="running already"):
        clock.start()
