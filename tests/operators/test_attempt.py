from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TypeAlias

import pytest
import reactivex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from operators import attempt, parse
from tests.operators.support import Subscriber, join, start

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def inverse(item: int) -> float:
    return 12 / item


def divisors(item: int) -> Iterator[int]:
    """All divisors; a negative number fails after its first."""
    for candidate in range(1, abs(item) + 1):
        if item < 0 and candidate > 1:
            raise ValueError(item)
        if item % candidate == 0:
            yield candidate


Failed: TypeAlias = Callable[[int, Exception], None]
Operator: TypeAlias = Callable[[Failed], Callable[[Observable[int]], Observable[float]]]


def attempt_inverse(failed: Failed) -> Callable[[Observable[int]], Observable[float]]:
    return attempt(inverse, failed)


def parse_inverse(failed: Failed) -> Callable[[Observable[int]], Observable[float]]:
    return parse(lambda item: [inverse(item)], failed)


both = pytest.mark.parametrize("operator", [attempt_inverse, parse_inverse])


class Failures(list[tuple[int, str]]):
    def __call__(self, item: int, error: Exception) -> None:
        self.append((item, type(error).__name__))


def test_maps_what_works_and_reports_what_fails(clock: TestScheduler) -> None:
    failed = Failures()
    source = clock.create_hot_observable(on_next(210, 4), on_next(220, 0), on_next(230, 3), on_completed(240))

    result = clock.start(lambda: source.pipe(attempt(inverse, failed)))

    assert result.messages == [on_next(210, 3.0), on_next(230, 4.0), on_completed(240)]
    assert source.subscriptions == [subscribe(200, 240)]
    assert failed == [(0, "ZeroDivisionError")]


def test_parts_are_emitted_all_or_none(clock: TestScheduler) -> None:
    failed = Failures()
    source = clock.create_hot_observable(
        on_next(210, 4), on_next(220, -4), on_next(230, 0), on_next(240, 3), on_completed(250)
    )

    result = clock.start(lambda: source.pipe(parse(divisors, failed)))

    assert result.messages == [
        *[on_next(210, part) for part in (1, 2, 4)],
        *[on_next(240, part) for part in (1, 3)],
        on_completed(250),
    ]
    assert source.subscriptions == [subscribe(200, 250)]
    assert failed == [(-4, "ValueError")]


@both
def test_a_failure_that_nobody_takes_is_an_error(clock: TestScheduler, operator: Operator) -> None:
    refused = OSError("no dead letters")
    source = clock.create_hot_observable(on_next(210, 4), on_next(220, 0), on_next(230, 3))

    def failed(_item: int, _error: Exception) -> None:
        raise refused

    result = clock.start(lambda: source.pipe(operator(failed)))

    assert result.messages == [on_next(210, 3.0), on_error(220, refused)]
    assert source.subscriptions == [subscribe(200, 220)]


@both
def test_an_error_of_the_source_passes(clock: TestScheduler, operator: Operator) -> None:
    lost = OSError("lost")
    failed = Failures()
    source = clock.create_hot_observable(on_next(210, 4), on_error(220, lost), on_next(230, 3))

    result = clock.start(lambda: source.pipe(operator(failed)))

    assert result.messages == [on_next(210, 3.0), on_error(220, lost)]
    assert source.subscriptions == [subscribe(200, 220)]
    assert failed == []


@both
def test_disposing_ends_the_subscription(clock: TestScheduler, operator: Operator) -> None:
    failed = Failures()
    source = clock.create_hot_observable(on_next(210, 4), on_next(240, 0), on_next(250, 3))

    result = clock.start(lambda: source.pipe(operator(failed)), disposed=230)

    assert result.messages == [on_next(210, 3.0)]
    assert source.subscriptions == [subscribe(200, 230)]
    assert failed == []


@both
def test_what_the_subscriber_raises_is_no_failure_of_the_item(operator: Operator) -> None:
    failed = Failures()
    source = Subject[int]()

    def on_value(value: float) -> None:
        raise RuntimeError(value)

    source.pipe(operator(failed)).subscribe(on_value)

    with pytest.raises(RuntimeError):
        source.on_next(3)
    assert failed == []


@both
def test_an_interrupt_is_no_failure_of_the_item(operator: Operator) -> None:
    failed = Failures()
    source = Subject[int]()

    class Interrupting(int):
        def __rtruediv__(self, _: object) -> float:
            raise KeyboardInterrupt

    source.pipe(operator(failed)).subscribe()

    with pytest.raises(KeyboardInterrupt):
        source.on_next(Interrupting(3))
    assert failed == []


def test_an_iterable_is_evaluated_to_its_end_before_its_first_part_is_emitted() -> None:
    events: list[str] = []

    def decode(item: int) -> Iterator[int]:
        for part in range(item):
            events.append(f"made {part}")
            yield part

    source = Subject[int]()
    source.pipe(parse(decode, Failures())).subscribe(lambda part: events.append(f"got {part}"))
    source.on_next(2)

    assert events == ["made 0", "made 1", "got 0", "got 1"]


def test_no_part_is_emitted_after_the_subscriber_disposed() -> None:
    got: list[int] = []
    source = Subject[int]()
    source.pipe(parse(divisors, Failures()), ops.take(2)).subscribe(got.append)

    source.on_next(12)

    assert got == [1, 2]
    assert source.observers == []


def test_an_item_that_the_subscriber_itself_causes_is_treated_alike() -> None:
    got: list[float] = []
    failed = Failures()
    source = Subject[int]()

    def on_value(value: float) -> None:
        got.append(value)
        if value == 3:
            source.on_next(0)
            source.on_next(2)

    source.pipe(attempt(inverse, failed)).subscribe(on_value)
    source.on_next(4)

    assert got == [3, 6]
    assert failed == [(0, "ZeroDivisionError")]


@unhurried
@given(items=st.lists(st.integers(-30, 30)))
def test_every_item_is_emitted_or_failed_and_in_order(items: list[int]) -> None:
    failed = Failures()
    got: list[tuple[int, float]] = []
    reactivex.from_iterable(items).pipe(attempt(lambda item: (item, inverse(item)), failed)).subscribe(got.append)

    assert got == [(item, 12 / item) for item in items if item]
    assert failed == [(item, "ZeroDivisionError") for item in items if not item]


@unhurried
@given(items=st.lists(st.integers(-30, 30)))
def test_every_item_is_parsed_whole_or_failed_and_in_order(items: list[int]) -> None:
    failed = Failures()
    got: list[int] = []
    reactivex.from_iterable(items).pipe(parse(divisors, failed)).subscribe(got.append)

    fails = [item for item in items if item < -1]
    assert got == [part for item in items if item not in fails for part in divisors(item)]
    assert failed == [(item, "ValueError") for item in fails]


@pytest.mark.usefixtures("frequent_switches")
def test_threads_that_take_turns_lose_nothing() -> None:
    sources = [Subject[int]() for _ in range(4)]
    failed = Failures()
    got = Subscriber[int]()
    reactivex.merge(*sources).pipe(parse(divisors, failed)).subscribe(got)

    def produce(source: Subject[int]) -> None:
        for item in range(-200, 200):
            source.on_next(item)
        source.on_completed()

    join(*start(*[partial(produce, source) for source in sources]))

    assert sorted(got.items) == sorted(4 * [part for item in range(-1, 200) for part in divisors(item)])
    assert sorted(failed) == sorted(4 * [(item, "ValueError") for item in range(-200, -1)])
    assert got.ends == [None]
    assert got.overlaps == 0
