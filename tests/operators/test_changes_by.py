from __future__ import annotations

from decimal import Context, Decimal, localcontext
from typing import Any

import pytest
import reactivex
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from operators import changes_by
from tests.operators.support import Subscriber

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def itself(item: Any) -> Any:
    return item


def of_a(_item: object) -> str:
    return "A"


def first(item: tuple[str, int]) -> str:
    return item[0]


def second(item: tuple[str, int]) -> int:
    return item[1]


def passed(values: list[Any], **options: Any) -> list[Any]:
    got: list[Any] = []
    reactivex.from_iterable(values).pipe(changes_by(itself, of_a, **options)).subscribe(got.append)
    return got


def test_an_item_passes_when_its_value_has_changed_by_the_amount(clock: TestScheduler) -> None:
    values = [10, 11, 12, 11, 13, 14, 15, 13, 12, 11]
    source = clock.create_hot_observable(
        *[on_next(210 + 10 * place, value) for place, value in enumerate(values)], on_completed(400)
    )

    result = clock.start(lambda: source.pipe(changes_by(itself, of_a, amount=2)))

    assert result.messages == [
        on_next(210, 10),
        on_next(230, 12),
        on_next(260, 14),
        on_next(290, 12),
        on_completed(400),
    ]
    assert source.subscriptions == [subscribe(200, 400)]


def test_with_rearm_a_move_is_told_once_and_then_its_turn_is_waited_for() -> None:
    assert passed([10, 11, 12, 11, 13, 14, 15, 13, 12, 11], amount=2, rearm=2) == [10, 12, 11]
    assert passed([10, 12, 20, 30, 29, 31], amount=2, rearm=1) == [10, 12, 31]
    assert passed([10, 8, 2, 1, 2, 4], amount=2, rearm=1) == [10, 8, 4]


def test_percent_are_those_of_what_the_change_is_counted_from() -> None:
    assert passed(["100", "100.99", "101", "102", "102.01", "101"], percent=1) == ["100", "101", "102.01"]
    assert passed([-100, -101, -100], percent=1) == [-100, -101]
    assert passed([200, 202, 204, 202.98, 205.01], percent=1, rearm="0.5") == [200, 202, 205.01]
    assert passed([200, 202, 204, 202.99, 205.01], percent=1, rearm="0.5") == [200, 202]


def test_from_zero_any_change_counts() -> None:
    assert passed([0, 0, "0.00", "0.001", 0], percent=50) == [0, "0.001", 0]


def test_values_are_exact_whatever_the_threads_context_is() -> None:
    with localcontext(Context(prec=2)):
        assert passed(["100.00001", "100.00002", "100.000021"], amount="0.00001") == ["100.00001", "100.00002"]
        assert passed([0.1, 0.3, Decimal("0.4")], amount=0.2) == [0.1, 0.3]


def test_keys_do_not_know_of_each_other_and_the_one_not_seen_for_the_longest_is_forgotten() -> None:
    items = [("A", 1), ("B", 9), ("A", 2), ("C", 5), ("A", 2), ("B", 9)]
    got: list[tuple[str, int]] = []
    operator = changes_by(second, first, amount=5, most_keys=2)
    reactivex.from_iterable(items).pipe(operator).subscribe(got.append)

    assert got == [("A", 1), ("B", 9), ("C", 5), ("B", 9)]


def test_what_cannot_be_read_is_an_error_or_goes_to_failed() -> None:
    failed, lenient, strict, source = list[Any](), Subscriber[Any](), Subscriber[Any](), Subject[Any]()
    source.pipe(changes_by(itself, of_a, amount=1, failed=lambda item, _: failed.append(item))).subscribe(lenient)
    source.pipe(changes_by(itself, of_a, amount=1)).subscribe(strict)

    for value in ("1", "n/a", None, "NaN", "3"):
        source.on_next(value)

    assert (lenient.items, failed) == (["1", "3"], ["n/a", None, "NaN"])
    assert strict.items == ["1"]
    assert [type(end) for end in strict.ends] == [ValueError]


def test_what_a_function_raises_is_an_error() -> None:
    refused = OSError("refused")

    def refuse(*_: object) -> Any:
        raise refused

    for value, key, failed in ((refuse, of_a, None), (itself, refuse, None), (refuse, of_a, refuse)):
        source, got = Subject[int](), Subscriber[int]()
        source.pipe(changes_by(value, key, amount=1, failed=failed)).subscribe(got)
        source.on_next(1)

        assert got.ends == [refused]
        assert source.observers == []


def test_an_error_of_the_source_passes_and_disposing_ends_the_subscription(clock: TestScheduler) -> None:
    lost = on_error(230, OSError("lost"))
    failing = clock.create_hot_observable(on_next(210, 5), lost)
    assert clock.start(lambda: failing.pipe(changes_by(itself, of_a, amount=1))).messages == [on_next(210, 5), lost]

    other = TestScheduler()
    quiet = other.create_hot_observable(on_next(210, 5), on_next(240, 9))
    result = other.start(lambda: quiet.pipe(changes_by(itself, of_a, amount=1)), disposed=230)
    assert result.messages == [on_next(210, 5)]
    assert quiet.subscriptions == [subscribe(200, 230)]


def test_each_subscription_has_a_state_of_its_own() -> None:
    changes, got = reactivex.of(1, 1, 2).pipe(changes_by(itself, of_a, amount=1)), list[int]()

    changes.subscribe(got.append)
    changes.subscribe(got.append)

    assert got == [1, 2, 1, 2]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"amount": 1, "percent": 1},
        {"amount": 0},
        {"percent": -1},
        {"amount": 1, "rearm": -1},
        {"amount": 1, "most_keys": 0},
        {"amount": "much"},
    ],
)
def test_the_arguments_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        changes_by(itself, of_a, **wrong)


# Laws.

values = st.lists(st.integers(-20, 20), max_size=60)


@unhurried
@given(values=values, limit=st.integers(1, 9), percent=st.booleans())
def test_two_that_pass_differ_by_so_much_and_those_between_by_less(
    *, values: list[int], limit: int, percent: bool
) -> None:
    options: dict[str, Any] = {"percent": 10 * limit} if percent else {"amount": limit}
    start: int | None = None
    expected: list[int] = []
    for value in values:
        needed = 0 if start is None else max(abs(start) * limit / 10, 1e-9) if percent else limit
        if start is None or abs(value - start) >= needed:
            expected.append(value)
            start = value

    once = passed(values, **options)

    assert once == expected
    assert passed(once, **options) == once


@unhurried
@given(values=values, amount=st.integers(1, 6), rearm=st.integers(1, 6))
def test_with_rearm_each_that_passes_comes_after_the_turn_of_the_move_before(
    values: list[int], amount: int, rearm: int
) -> None:
    got: list[tuple[int, int]] = []
    reactivex.from_iterable(enumerate(values)).pipe(
        changes_by(lambda item: item[1], of_a, amount=amount, rearm=rearm)
    ).subscribe(got.append)

    assert [value for _, value in got[:1]] == values[:1]
    moves = got[1:]
    starts = [got[0], *moves] if got else []
    for (earlier, _), (later, value) in zip(starts, moves, strict=False):
        between = values[earlier:later]
        # The move is by the amount from something between, and behind the first move that has come back by `rearm`.
        assert any(abs(value - other) >= amount for other in between)
        if earlier > 0:
            assert max(between) - min(between) >= rearm
    assert len(passed(values, amount=amount, rearm=rearm)) <= max(1, len(passed(values, amount=1)))
