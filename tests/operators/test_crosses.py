from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from itertools import pairwise
from typing import Any

import pytest
import reactivex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from operators import crosses_above, crosses_below
from tests.operators.support import Subscriber

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

BOTH = pytest.mark.parametrize("operator", [crosses_above, crosses_below])


def itself(item: Any) -> Any:
    return item


def of_a(_item: object) -> str:
    return "A"


def first(item: tuple[str, int]) -> str:
    return item[0]


def second(item: tuple[str, int]) -> int:
    return item[1]


def passed(operator: Callable[..., Any], level: Any, values: list[Any], **options: Any) -> list[Any]:
    got: list[Any] = []
    reactivex.from_iterable(values).pipe(operator(level, itself, of_a, **options)).subscribe(got.append)
    return got


def test_what_rises_above_the_level_passes_once_for_each_time(clock: TestScheduler) -> None:
    values = ["4", "5.5", "5.6", "7", "5.5", "5.6", "5", "9"]
    source = clock.create_hot_observable(
        *[on_next(210 + 10 * place, value) for place, value in enumerate(values)], on_completed(300)
    )

    result = clock.start(lambda: source.pipe(crosses_above("5.5", itself, of_a)))

    assert result.messages == [on_next(230, "5.6"), on_next(260, "5.6"), on_next(280, "9"), on_completed(300)]
    assert source.subscriptions == [subscribe(200, 300)]


def test_what_falls_below_the_level_passes_once_for_each_time() -> None:
    assert passed(crosses_below, 5, [7, 5, 4, 3, 5, 4, 6, 1]) == [4, 4, 1]


def test_a_value_that_starts_beyond_the_level_has_not_crossed_it() -> None:
    assert passed(crosses_above, 5, [6, 7, 5, 6]) == [6]
    assert passed(crosses_below, 5, [4, 3, 5, 4]) == [4]


def test_after_a_crossing_there_is_none_before_the_value_has_come_back() -> None:
    assert passed(crosses_above, 100, [100, 101, 99.5, 101.5, 99, 102], rearm=1) == [101, 102]
    assert passed(crosses_below, 100, [100, 99, 100.5, 98.5, 101, 98], rearm=1) == [99, 98]


def test_keys_do_not_know_of_each_other_and_the_one_not_seen_for_the_longest_is_forgotten() -> None:
    items = [("A", 1), ("B", 9), ("A", 9), ("B", 1), ("A", 1), ("C", 1), ("B", 9), ("A", 9)]
    got: list[tuple[str, int]] = []
    operator = crosses_above(5, second, first, most_keys=2)
    reactivex.from_iterable(items).pipe(operator).subscribe(got.append)

    assert got == [("A", 9)]  # C made room for itself by B, and B by A: both began anew


def test_the_level_may_go_with_the_item() -> None:
    got: list[tuple[int, int]] = []
    items = [(1, 2), (3, 2), (3, 4), (4, 3)]
    reactivex.from_iterable(items).pipe(crosses_above(lambda item: item[1], lambda item: item[0], of_a)).subscribe(
        got.append
    )

    assert got == [(3, 2), (4, 3)]


def test_values_are_exact_whatever_the_threads_context_is() -> None:
    near = "1." + "0" * 50 + "1"
    with localcontext(Context(prec=3)):
        assert passed(crosses_above, "1", ["1", near, "1.000", Decimal(near)]) == [near, Decimal(near)]
        assert passed(crosses_above, 0.3, [0.3, 0.1 + 0.2]) == [0.1 + 0.2]


@BOTH
def test_what_cannot_be_read_is_an_error_or_goes_to_failed(operator: Callable[..., Any]) -> None:
    values, failed = ["0", "n/a", None, "NaN", "inf", "10"], list[Any]()
    lenient, strict = Subscriber[Any](), Subscriber[Any]()
    source = Subject[Any]()
    source.pipe(operator(5, itself, of_a, failed=lambda item, _: failed.append(item))).subscribe(lenient)
    source.pipe(operator(5, itself, of_a)).subscribe(strict)

    for value in values:
        source.on_next(value)

    assert failed == values[1:-1]
    assert lenient.items == (["10"] if operator is crosses_above else [])
    assert [type(end) for end in strict.ends] == [ValueError]


@BOTH
def test_what_key_level_or_failed_raises_is_an_error(operator: Callable[..., Any]) -> None:
    refused = OSError("refused")

    def refuse(*_: object) -> Any:
        raise refused

    for arguments in ((5, refuse, of_a), (5, itself, refuse), (refuse, itself, of_a)):
        for options in ({}, {"failed": refuse}):
            source, got = Subject[int](), Subscriber[int]()
            source.pipe(operator(*arguments, **options)).subscribe(got)
            source.on_next(1)

            assert got.ends == [refused]
            assert source.observers == []


@BOTH
def test_an_error_of_the_source_passes_and_disposing_ends_the_subscription(operator: Callable[..., Any]) -> None:
    clock, lost = TestScheduler(), on_error(230, OSError("lost"))
    failing = clock.create_hot_observable(on_next(210, 5), lost)
    assert clock.start(lambda: failing.pipe(operator(5, itself, of_a))).messages == [lost]

    other = TestScheduler()
    quiet = other.create_hot_observable(on_next(210, 5), on_next(240, 9))
    assert other.start(lambda: quiet.pipe(operator(5, itself, of_a)), disposed=230).messages == []
    assert quiet.subscriptions == [subscribe(200, 230)]


@BOTH
def test_each_subscription_has_a_state_of_its_own(operator: Callable[..., Any]) -> None:
    values = [5, 9, 1, 9] if operator is crosses_above else [5, 1, 9, 1]
    crossings, got = reactivex.from_iterable(values).pipe(operator(5, itself, of_a)), list[int]()

    crossings.subscribe(got.append)
    crossings.subscribe(got.append)

    assert len(got) == 4


@BOTH
@pytest.mark.parametrize("wrong", [{"rearm": -1}, {"most_keys": 0}, {"level": "high"}, {"rearm": "nan"}])
def test_the_arguments_are_checked(operator: Callable[..., Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        operator(**{"level": 5, "value": itself, "key": of_a} | wrong)


# Laws.

values = st.lists(st.tuples(st.sampled_from("AB"), st.integers(-6, 6)), max_size=60)


def expected(items: list[tuple[str, int]], level: int) -> list[int]:
    """Where an item is above the level, and the one of its key before it is not."""
    result: list[int] = []
    for place, (key, value) in enumerate(items):
        own = [other for other_key, other in items[:place] if other_key == key]
        if value > level and own and own[-1] <= level:
            result.append(place)
    return result


@unhurried
@given(items=values, level=st.integers(-3, 3))
def test_without_rearm_it_passes_each_first_value_above_after_one_that_is_not(
    items: list[tuple[str, int]], level: int
) -> None:
    got: list[int] = []
    reactivex.from_iterable(range(len(items))).pipe(
        crosses_above(level, lambda place: items[place][1], lambda place: items[place][0])
    ).subscribe(got.append)

    assert got == expected(items, level)


@unhurried
@given(items=values, level=st.integers(-3, 3), rearm=st.integers(0, 5))
def test_between_two_that_pass_the_value_has_come_back_and_below_mirrors_above(
    items: list[tuple[str, int]], level: int, rearm: int
) -> None:
    numbered = [(key, value, place) for place, (key, value) in enumerate(items)]
    above, below = list[Any](), list[Any]()
    reactivex.from_iterable(numbered).pipe(
        crosses_above(level, lambda item: item[1], lambda item: item[0], rearm=rearm)
    ).subscribe(above.append)
    reactivex.from_iterable(numbered).pipe(
        crosses_below(-level, lambda item: -item[1], lambda item: item[0], rearm=rearm)
    ).subscribe(below.append)

    assert above == below
    for key in "AB":
        places = [place for own, _, place in above if own == key]
        own_values = [(value, place) for own, value, place in numbered if own == key]
        for earlier, later in pairwise(places):
            assert any(value <= level - rearm for value, place in own_values if earlier < place < later)
        assert all(value > level for own, value, _ in above if own == key)
        armed, crossings = None, list[int]()
        for value, place in own_values:
            if value > level:
                crossings += [place] * (armed is True)
                armed = False
            elif armed is None or value <= level - rearm:
                armed = True
        assert places == crossings
