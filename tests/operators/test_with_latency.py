from __future__ import annotations

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from operators import SteadyScheduler, with_latency
from operators.with_latency import Aged
from tests.operators.support import Subscriber

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

SECOND = 1_000_000_000


def seconds(item: int) -> int:
    """An item is written as the second of its time."""
    return item * SECOND


def test_the_age_is_the_schedulers_time_less_the_items_own(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 200), on_next(220, 220), on_next(230, 300), on_completed(240))

    result = clock.start(lambda: source.pipe(with_latency(seconds, scheduler=clock)))

    assert result.messages == [
        on_next(210, Aged(200, 10.0)),
        on_next(220, Aged(220, 0.0)),
        on_next(230, Aged(300, -70.0)),
        on_completed(240),
    ]
    assert source.subscriptions == [subscribe(200, 240)]


def test_an_error_of_the_source_passes_and_disposing_ends_the_subscription(clock: TestScheduler) -> None:
    lost = on_error(220, OSError("lost"))
    source = clock.create_hot_observable(on_next(210, 200), lost)
    result = clock.start(lambda: source.pipe(with_latency(seconds, scheduler=clock)))
    assert result.messages == [on_next(210, Aged(200, 10.0)), lost]

    other = TestScheduler()
    quiet = other.create_hot_observable(on_next(240, 1))
    assert other.start(lambda: quiet.pipe(with_latency(seconds, scheduler=other)), disposed=230).messages == []
    assert quiet.subscriptions == [subscribe(200, 230)]


def test_an_item_without_a_time_is_an_error_or_goes_to_failed(clock: TestScheduler) -> None:
    failed: list[tuple[str, str]] = []
    source, got, strict = Subject[str](), Subscriber[Aged[str]](), Subscriber[Aged[str]]()
    source.pipe(
        with_latency(int, failed=lambda item, error: failed.append((item, type(error).__name__)), scheduler=clock)
    ).subscribe(got)
    source.pipe(with_latency(int, scheduler=clock)).subscribe(strict)

    for item in ("1", "n/a", "2"):
        source.on_next(item)

    assert [aged.item for aged in got.items] == ["1", "2"]
    assert failed == [("n/a", "ValueError")]
    assert [aged.item for aged in strict.items] == ["1"]
    assert [type(end) for end in strict.ends] == [ValueError]


def test_what_failed_raises_is_an_error(clock: TestScheduler) -> None:
    refused, source, got = OSError("refused"), Subject[str](), Subscriber[Aged[str]]()

    def failed(_item: str, _error: Exception) -> None:
        raise refused

    source.pipe(with_latency(int, failed=failed, scheduler=clock)).subscribe(got)
    source.on_next("n/a")

    assert got.ends == [refused]
    assert source.observers == []


def test_what_the_subscriber_raises_is_no_failure_of_the_item(clock: TestScheduler) -> None:
    failed: list[str] = []
    source = Subject[str]()

    def on_item(_aged: Aged[str]) -> None:
        raise ValueError("no display")

    source.pipe(with_latency(int, failed=lambda item, _: failed.append(item), scheduler=clock)).subscribe(on_item)

    with pytest.raises(ValueError, match="no display"):
        source.on_next("1")
    assert failed == []


@given(st.lists(st.integers(0, 2 * 10**18)))
def test_every_item_passes_in_order_and_its_age_is_exact(times: list[int]) -> None:
    clock, got = TestScheduler(), list[Aged[int]]()
    clock.advance_to(1_700_000_000.0)
    reactivex.from_iterable(times).pipe(with_latency(lambda time: time, scheduler=clock)).subscribe(got.append)

    assert [aged.item for aged in got] == times
    assert [aged.seconds for aged in got] == [(1_700_000_000 * SECOND - time) / SECOND for time in times]


@pytest.mark.parametrize("kind", [EventLoopScheduler, SteadyScheduler])
def test_a_real_clock_counts_from_1970_as_the_virtual_one_does(kind: type[EventLoopScheduler]) -> None:
    scheduler = kind()
    before = scheduler.to_seconds(scheduler.now)
    got: list[Aged[int]] = []
    reactivex.of(0).pipe(with_latency(seconds, scheduler=scheduler)).subscribe(got.append)
    after = scheduler.to_seconds(scheduler.now)
    scheduler.dispose()

    assert before - 1e-3 <= got[0].seconds <= after + 1e-3
