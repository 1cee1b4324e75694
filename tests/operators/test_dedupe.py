from __future__ import annotations

import weakref
from collections.abc import Hashable, Iterator
from functools import partial

import pytest
import reactivex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from operators import dedupe
from tests.operators.support import Subscriber, join, start

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Key:
    """One that can be watched."""


def itself(item: int) -> int:
    return item


def last_digit(item: int) -> int:
    return item % 10


def deduped(items: list[int], *, remember: int, seen: tuple[int, ...] = ()) -> list[int]:
    got: list[int] = []
    reactivex.from_iterable(items).pipe(dedupe(itself, remember=remember, seen=seen)).subscribe(got.append)
    return got


def test_drops_what_was_seen_and_tells_of_it(clock: TestScheduler) -> None:
    repeats: list[int] = []
    source = clock.create_hot_observable(
        on_next(210, 11), on_next(220, 12), on_next(230, 21), on_next(240, 13), on_next(250, 21), on_completed(260)
    )

    result = clock.start(lambda: source.pipe(dedupe(last_digit, repeated=repeats.append)))

    assert result.messages == [on_next(210, 11), on_next(220, 12), on_next(240, 13), on_completed(260)]
    assert source.subscriptions == [subscribe(200, 260)]
    assert repeats == [21, 21]


def test_a_lower_key_is_no_duplicate() -> None:
    assert deduped([7, 3, 5, 3], remember=100) == [7, 3, 5]


def test_none_is_a_duplicate_of_nothing() -> None:
    got: list[str] = []
    reactivex.of("a", "b", "c").pipe(dedupe(lambda _: None, remember=1, seen=[None])).subscribe(got.append)

    assert got == ["a", "b", "c"]


def test_of_what_was_seen_before_no_more_is_held_than_is_remembered() -> None:
    made: weakref.WeakSet[Key] = weakref.WeakSet()
    most = 0

    def seen() -> Iterator[Key]:
        nonlocal most
        for _ in range(100):
            made.add(key := Key())
            yield key
            del key
            most = max(most, len(made))

    dedupe(itself, remember=3, seen=seen())

    assert most <= 5


def test_the_key_not_seen_for_the_longest_is_forgotten_first() -> None:
    assert deduped([1, 2, 3, 1], remember=2) == [1, 2, 3, 1]
    assert deduped([1, 2, 2, 2, 1], remember=2) == [1, 2]


def test_a_repeat_refreshes_its_key() -> None:
    assert deduped([1, 2, 1, 3, 1, 4, 1, 2], remember=2) == [1, 2, 3, 4, 2]


def test_keys_may_be_known_from_the_start() -> None:
    assert deduped([1, 2, 3], remember=10, seen=(2, 3)) == [1]


def test_of_too_many_keys_known_from_the_start_the_last_count() -> None:
    assert deduped([1, 3], remember=2, seen=(1, 2, 3)) == [1]
    assert deduped([1], remember=2, seen=(1, 2, 1, 1)) == []
    assert deduped([9, 1, 2], remember=2, seen=(1, 2)) == [9, 1, 2]


def test_each_subscription_starts_anew_from_the_keys_known_at_the_start() -> None:
    got: list[int] = []
    items = reactivex.of(1, 2, 2).pipe(dedupe(itself, seen=iter([1])))

    items.subscribe(got.append)
    items.subscribe(got.append)

    assert got == [2, 2]


def test_an_error_of_the_source_passes(clock: TestScheduler) -> None:
    lost = OSError("lost")
    source = clock.create_hot_observable(on_next(210, 1), on_error(220, lost), on_next(230, 2))

    result = clock.start(lambda: source.pipe(dedupe(itself)))

    assert result.messages == [on_next(210, 1), on_error(220, lost)]
    assert source.subscriptions == [subscribe(200, 220)]


def test_disposing_ends_the_subscription(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, 1), on_next(240, 2))

    result = clock.start(lambda: source.pipe(dedupe(itself)), disposed=230)

    assert result.messages == [on_next(210, 1)]
    assert source.subscriptions == [subscribe(200, 230)]


def test_what_key_raises_is_an_error(clock: TestScheduler) -> None:
    failure = ValueError("no key")
    source = clock.create_hot_observable(on_next(210, 1), on_next(220, 2), on_next(230, 3))

    def key(item: int) -> int:
        if item == 2:
            raise failure
        return item

    result = clock.start(lambda: source.pipe(dedupe(key)))

    assert result.messages == [on_next(210, 1), on_error(220, failure)]
    assert source.subscriptions == [subscribe(200, 220)]


def test_a_key_that_cannot_be_hashed_is_an_error() -> None:
    errors: list[Exception] = []

    def key(item: int) -> Hashable:
        return [item]  # pyright: ignore[reportReturnType] what a checker would have refused

    reactivex.of(1).pipe(dedupe(key)).subscribe(on_error=errors.append)

    assert [type(error) for error in errors] == [TypeError]


def test_what_repeated_raises_is_an_error(clock: TestScheduler) -> None:
    refused = OSError("refused")
    source = clock.create_hot_observable(on_next(210, 1), on_next(220, 1), on_next(230, 3))

    def repeated(_item: int) -> None:
        raise refused

    result = clock.start(lambda: source.pipe(dedupe(itself, repeated=repeated)))

    assert result.messages == [on_next(210, 1), on_error(220, refused)]
    assert source.subscriptions == [subscribe(200, 220)]


def test_an_item_that_the_subscriber_itself_repeats_is_dropped() -> None:
    got: list[int] = []
    source = Subject[int]()

    def on_item(item: int) -> None:
        got.append(item)
        source.on_next(item)

    source.pipe(dedupe(itself)).subscribe(on_item)
    source.on_next(1)

    assert got == [1]


def test_remember_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        dedupe(itself, remember=0)


@unhurried
@given(
    items=st.lists(st.one_of(st.none(), st.integers(0, 12))),
    remember=st.integers(1, 8),
    seen=st.lists(st.integers(0, 12), max_size=12),
)
def test_an_item_passes_if_its_key_is_not_among_the_last_distinct_ones(
    items: list[int | None], remember: int, seen: list[int]
) -> None:
    def expected() -> tuple[list[int | None], list[int | None]]:
        keys, passed, dropped = list[int](), list[int | None](), list[int | None]()
        for number, item in enumerate([*seen, *items]):
            known = item in keys[-remember:]
            if item is not None:
                keys = [*[key for key in keys if key != item], item]
            if number >= len(seen):
                (dropped if known else passed).append(item)
        return passed, dropped

    got, repeats = list[int | None](), list[int | None]()
    operator = dedupe(lambda item: item, remember=remember, seen=seen, repeated=repeats.append)
    reactivex.from_iterable(items).pipe(operator).subscribe(got.append)

    assert (got, repeats) == expected()


@pytest.mark.usefixtures("frequent_switches")
def test_redundant_feeds_on_threads_of_their_own_pass_each_item_once() -> None:
    sources = [Subject[int]() for _ in range(4)]
    got, repeats = Subscriber[int](), list[int]()
    reactivex.merge(*sources).pipe(dedupe(itself, repeated=repeats.append)).subscribe(got)

    def produce(source: Subject[int]) -> None:
        for item in range(1_000):
            source.on_next(item)
        source.on_completed()

    join(*start(*[partial(produce, source) for source in sources]))

    assert sorted(got.items) == list(range(1_000))
    assert len(repeats) == 3_000
    assert got.ends == [None]
    assert got.overlaps == 0
