"""Timers that do not care about the wall clock."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import reactivex
from reactivex.subject import Subject

import operators.steady
from operators import SteadyScheduler, batch


@pytest.fixture
def scheduler() -> Iterator[SteadyScheduler]:
    scheduler = SteadyScheduler()
    yield scheduler
    scheduler.dispose()


@pytest.fixture
def step_wall_clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the wall clock, as the library and the scheduler read it, this far off."""

    def step(by: timedelta) -> None:
        class Stepped(datetime):
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return datetime.now(tz) + by

        monkeypatch.setattr("reactivex.scheduler.scheduler.default_now", lambda: datetime.now(UTC) + by)
        monkeypatch.setattr(operators.steady, "datetime", Stepped)

    return step


def test_a_clock_set_back_delays_no_batch(scheduler: SteadyScheduler, step_wall_clock: Any) -> None:
    source: Subject[int] = Subject()
    closed = threading.Event()
    batches: list[list[int]] = []

    def take(items: list[int]) -> None:
        batches.append(items)
        closed.set()

    source.pipe(batch(count=100, seconds=0.05, scheduler=scheduler)).subscribe(take)
    source.on_next(1)
    step_wall_clock(timedelta(hours=-1))
    assert closed.wait(30)

    closed.clear()
    source.on_next(2)
    assert closed.wait(30)
    assert batches == [[1], [2]]


def test_a_clock_set_forward_rings_no_timer_early(scheduler: SteadyScheduler, step_wall_clock: Any) -> None:
    rang = threading.Event()
    reactivex.timer(3600.0, scheduler=scheduler).subscribe(lambda _: rang.set())

    step_wall_clock(timedelta(days=1))
    reactivex.timer(0.05, scheduler=scheduler).run()

    assert not rang.is_set()


def test_its_time_goes_on(scheduler: SteadyScheduler) -> None:
    before = scheduler.now
    reactivex.timer(0.01, scheduler=scheduler).run()

    assert scheduler.now - before >= timedelta(seconds=0.01)
    assert abs(datetime.now(UTC) - scheduler.now) < timedelta(minutes=1)


@pytest.mark.parametrize("timer_seconds", [None, 3600.0])
def test_it_ends_at_once_also_if_it_is_disposed_of_while_it_works(timer_seconds: float | None) -> None:
    scheduler, threads, disposed = SteadyScheduler(), list[threading.Thread](), threading.Event()
    if timer_seconds is not None:
        scheduler.schedule_relative(timer_seconds, lambda *_: None)

    def dispose(*_: object) -> None:
        threads.append(threading.current_thread())
        scheduler.dispose()
        disposed.set()

    scheduler.schedule(dispose)
    assert disposed.wait(30)
    threads[0].join(30)
    assert not threads[0].is_alive()
