from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import reactivex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.hotobservable import HotObservable
from reactivex.testing.recorded import Recorded

from operators import only
from tests.operators.support import Subscriber, join, start

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def mixed_source(clock: TestScheduler, *messages: Recorded[Any]) -> HotObservable[Any]:
    return clock.create_hot_observable(*messages)


def test_an_instance_of_a_subclass_passes() -> None:
    got: list[OSError] = []
    refused = ConnectionRefusedError()
    reactivex.of(refused, ValueError()).pipe(only(OSError)).subscribe(got.append)

    assert got == [refused]


def test_passes_instances_and_tells_of_the_others(clock: TestScheduler) -> None:
    others: list[Any] = []
    source = mixed_source(clock, on_next(210, 1), on_next(220, "a"), on_next(230, 2.5), on_completed(240))

    result = clock.start(lambda: source.pipe(only(int, float, otherwise=others.append)))

    assert result.messages == [on_next(210, 1), on_next(230, 2.5), on_completed(240)]
    assert source.subscriptions == [subscribe(200, 240)]
    assert others == ["a"]


def test_an_error_of_the_source_passes(clock: TestScheduler) -> None:
    lost = OSError("lost")
    source = clock.create_hot_observable(on_next(210, 1), on_error(220, lost), on_next(230, 2))

    result = clock.start(lambda: source.pipe(only(int)))

    assert result.messages == [on_next(210, 1), on_error(220, lost)]
    assert source.subscriptions == [subscribe(200, 220)]


def test_what_otherwise_raises_is_an_error(clock: TestScheduler) -> None:
    refused = OSError("refused")
    source = mixed_source(clock, on_next(210, 1), on_next(220, "a"), on_next(230, 2))

    def otherwise(_item: object) -> None:
        raise refused

    result = clock.start(lambda: source.pipe(only(int, otherwise=otherwise)))

    assert result.messages == [on_next(210, 1), on_error(220, refused)]
    assert source.subscriptions == [subscribe(200, 220)]


def test_disposing_ends_the_subscription(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(240, 2))

    result = clock.start(lambda: source.pipe(only(int)), disposed=230)

    assert result.messages == [on_next(210, 1)]
    assert source.subscriptions == [subscribe(200, 230)]


def test_no_types_let_nothing_pass() -> None:
    got, others = list[object](), list[object]()
    reactivex.of(1, "a").pipe(only(*tuple[type[int], ...](), otherwise=others.append)).subscribe(got.append)

    assert got == []
    assert others == [1, "a"]


def test_what_is_no_class_is_refused_before_any_item() -> None:
    with pytest.raises(TypeError):
        only("int")  # pyright: ignore[reportCallIssue, reportArgumentType]


def test_an_item_that_the_subscriber_itself_causes_is_filtered_too() -> None:
    got: list[int] = []
    source = Subject[object]()

    def on_item(item: int) -> None:
        got.append(item)
        if item == 1:
            source.on_next("a")
            source.on_next(2)

    source.pipe(only(int)).subscribe(on_item)
    source.on_next(1)

    assert got == [1, 2]


mixed = st.lists(st.one_of(st.integers(), st.text(max_size=3), st.floats(allow_nan=False), st.none(), st.booleans()))


@unhurried
@given(items=mixed)
def test_every_item_passes_or_is_told_of_and_in_order(items: list[object]) -> None:
    got, others = list[object](), list[object]()
    reactivex.from_iterable(items).pipe(only(int, str, otherwise=others.append)).subscribe(got.append)

    assert got == [item for item in items if isinstance(item, (int, str))]
    assert others == [item for item in items if not isinstance(item, (int, str))]


@pytest.mark.usefixtures("frequent_switches")
def test_threads_that_take_turns_lose_nothing() -> None:
    sources = [Subject[object]() for _ in range(4)]
    got, others = Subscriber[int](), list[object]()
    reactivex.merge(*sources).pipe(only(int, otherwise=others.append)).subscribe(got)

    def produce(source: Subject[object]) -> None:
        for item in range(500):
            source.on_next(item)
            source.on_next(str(item))
        source.on_completed()

    join(*start(*[partial(produce, source) for source in sources]))

    assert sorted(got.items) == sorted(4 * list(range(500)))
    assert sorted(map(str, others)) == sorted(4 * [str(item) for item in range(500)])
    assert got.ends == [None]
    assert got.overlaps == 0
