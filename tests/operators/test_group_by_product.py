from __future__ import annotations

import gc
import weakref
from functools import partial
from typing import Any

import pytest
import reactivex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import GroupedObservable, Observable
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from operators import group_by_product
from tests.operators.support import Subscriber, join, start

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def letter(item: str) -> str:
    """`a1` is about `a`."""
    return item[0]


def written(group: GroupedObservable[str, str]) -> Observable[str]:
    """The group's items, and its end as text."""
    return group.pipe(
        ops.materialize(), ops.map(lambda note: note.value if note.kind == "N" else f"end of {group.key}")
    )


def test_of_too_many_groups_the_one_not_used_for_the_longest_completes(clock: TestScheduler) -> None:
    completed: list[str] = []
    items = ["a1", "b1", "a2", "c1", "b2"]
    source = clock.create_hot_observable(
        *[on_next(210 + 10 * place, item) for place, item in enumerate(items)], on_completed(260)
    )

    result = clock.start(
        lambda: source.pipe(group_by_product(letter, most_groups=2, completed=completed.append), ops.flat_map(written))
    )

    assert result.messages == [
        on_next(210, "a1"),
        on_next(220, "b1"),
        on_next(230, "a2"),
        on_next(240, "end of b"),
        on_next(240, "c1"),
        on_next(250, "end of a"),
        on_next(250, "b2"),
        on_next(260, "end of c"),
        on_next(260, "end of b"),
        on_completed(260),
    ]
    assert completed == ["b", "a"]
    assert source.subscriptions == [subscribe(200, 260)]


def test_an_error_is_that_of_all_groups_and_of_the_stream(clock: TestScheduler) -> None:
    lost, ends = OSError("lost"), list[tuple[str, Exception]]()
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, "b1"), on_error(230, lost))

    def watch(group: GroupedObservable[str, str]) -> str:
        group.subscribe(on_error=lambda error: ends.append((group.key, error)))
        return group.key

    result = clock.start(lambda: source.pipe(group_by_product(letter), ops.map(watch)))

    assert result.messages == [on_next(210, "a"), on_next(220, "b"), on_error(230, lost)]
    assert ends == [("a", lost), ("b", lost)]


def test_disposing_ends_the_subscription_once_no_group_is_subscribed_to() -> None:
    source, got = Subject[str](), list[str]()
    source.pipe(group_by_product(letter), ops.take(1), ops.flat_map(lambda group: group)).subscribe(got.append)
    grouped = source.pipe(group_by_product(letter))
    inner: list[Any] = []
    outer = grouped.subscribe(lambda group: inner.append(group.subscribe()))

    for item in ("a1", "b1", "a2"):
        source.on_next(item)
    assert got == ["a1", "a2"]  # the first group lives on after `take(1)`
    outer.dispose()
    assert len(source.observers) == 2
    for subscription in inner:
        subscription.dispose()
    assert len(source.observers) == 1


def test_disposing_ends_the_subscription_with_flat_map(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(240, "a2"))

    result = clock.start(lambda: source.pipe(group_by_product(letter), ops.flat_map(lambda group: group)), disposed=230)

    assert result.messages == [on_next(210, "a1")]
    assert source.subscriptions == [subscribe(200, 230)]


def test_what_product_raises_is_an_error(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(on_next(210, "a1"), on_next(220, ""), on_next(230, "a2"))

    result = clock.start(lambda: source.pipe(group_by_product(letter), ops.flat_map(lambda group: group)))

    assert result.messages == [on_next(210, "a1"), on_error(220, "string index out of range")]
    assert source.subscriptions == [subscribe(200, 220)]


def test_a_product_that_cannot_be_hashed_is_an_error() -> None:
    errors: list[Exception] = []
    product: Any = list
    reactivex.of("a1").pipe(group_by_product(product)).subscribe(on_error=errors.append)

    assert [type(error) for error in errors] == [TypeError]


def test_what_completed_raises_is_an_error() -> None:
    refused = OSError("refused")

    def refuse(_product: str) -> None:
        raise refused

    source, got = Subject[str](), Subscriber[str]()
    source.pipe(group_by_product(letter, most_groups=1, completed=refuse), ops.flat_map(lambda group: group)).subscribe(
        got
    )
    source.on_next("a1")
    source.on_next("b1")

    assert (got.items, got.ends) == (["a1"], [refused])
    assert source.observers == []


def test_who_hears_of_a_completion_may_push_an_item_of_the_new_product() -> None:
    source, got = Subject[str](), list[str]()

    def follow(group: GroupedObservable[str, str]) -> Observable[str]:
        pushed = reactivex.defer(lambda _: reactivex.empty().pipe(ops.do_action(on_completed=push)))
        return group if group.key != "a" else reactivex.concat(group, pushed)

    def push() -> None:
        source.on_next("b1")

    source.pipe(group_by_product(letter, most_groups=1), ops.flat_map(follow)).subscribe(got.append)
    source.on_next("a1")
    source.on_next("b2")

    assert got == ["a1", "b1", "b2"]


class Weighty:
    """Something that can be seen to be let go of."""


def test_the_memory_of_a_completed_group_is_freed() -> None:
    source, alive = Subject[str](), list[weakref.ref[Weighty]]()

    def with_state(group: GroupedObservable[str, str]) -> Observable[Weighty]:
        state = Weighty()
        alive.append(weakref.ref(state))
        return group.pipe(ops.map(lambda _: state))

    source.pipe(group_by_product(letter, most_groups=2), ops.flat_map(with_state)).subscribe()
    for item in "abcde":
        source.on_next(item)
    gc.collect()

    assert [reference() is not None for reference in alive] == [False, False, False, True, True]


def test_most_groups_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        group_by_product(letter, most_groups=0)


# Laws.


@unhurried
@given(items=st.lists(st.sampled_from("abcdef")), most=st.integers(1, 6))
def test_merged_again_the_groups_are_the_source_and_never_too_many(items: list[str], most: int) -> None:
    alive, most_alive, got = set[int](), 0, list[tuple[int, str]]()
    keys: list[str] = []

    def follow(group: GroupedObservable[str, str]) -> Observable[str]:
        nonlocal most_alive
        number = len(keys)
        keys.append(group.key)
        alive.add(number)
        most_alive = max(most_alive, len(alive))

        def note(item: str) -> None:
            got.append((number, item))

        return group.pipe(ops.do_action(note, on_completed=lambda: alive.remove(number)))

    merged: list[str] = []
    sent = [f"{item}{place}" for place, item in enumerate(items)]
    reactivex.from_iterable(sent).pipe(group_by_product(letter, most_groups=most), ops.flat_map(follow)).subscribe(
        merged.append
    )

    assert merged == sent == [item for _, item in got]
    assert all(keys[number] == item[0] for number, item in got)
    assert most_alive <= most
    assert alive == set()
    recent: list[str] = []
    expected = 0
    for item in items:
        expected += item not in recent[-most:]
        recent = [*(other for other in recent if other != item), item][-most:]
    assert len(keys) == expected


@unhurried
@given(items=st.lists(st.sampled_from(["a1", "b1", "a2", "c1"])))
def test_with_few_products_it_is_the_librarys(items: list[str]) -> None:
    def counts(operator: Any) -> list[Any]:
        got: list[Any] = []

        def tally(group: GroupedObservable[str, str]) -> Observable[tuple[str, list[str]]]:
            return group.pipe(ops.to_list(), ops.map(lambda own: (group.key, own)))

        reactivex.from_iterable(items).pipe(operator, ops.flat_map(tally)).subscribe(got.append)
        return got

    assert sorted(counts(group_by_product(letter))) == sorted(counts(ops.group_by(letter)))


@pytest.mark.usefixtures("frequent_switches")
def test_sources_on_threads_of_their_own_lose_nothing() -> None:
    sources, got = [Subject[str]() for _ in range(4)], Subscriber[str]()
    reactivex.merge(*sources).pipe(
        group_by_product(letter, most_groups=2), ops.flat_map(lambda group: group)
    ).subscribe(got)

    def produce(key: int) -> None:
        for number in range(500):
            sources[key].on_next(f"{key}{number:03}")
        sources[key].on_completed()

    join(*start(*[partial(produce, key) for key in range(4)]))

    assert sorted(got.items) == sorted(f"{key}{number:03}" for key in range(4) for number in range(500))
    assert (got.ends, got.overlaps) == ([None], 0)
