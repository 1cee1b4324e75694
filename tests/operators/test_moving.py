"""`volatility` and `zscore`, which are the same but for what they compute of their windows."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from math import sin, sqrt
from statistics import fmean, stdev
from typing import Any, assert_type

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.subject import Subject

from operators import returns, volatility, zscore
from operators._moving import MovingMoments
from operators.measured import Measured
from operators.testing import VirtualTime, assert_conserved, trades
from rxbridge.messages import Ticker
from tests.operators.support import Subscriber

EACH = pytest.mark.parametrize("operator", [volatility, zscore], ids=["volatility", "zscore"])

SECOND = 1_000_000_000


def itself(item: Any) -> Any:
    return item


def of_a(_item: object) -> str:
    return "A"


def first(item: tuple[Any, Any]) -> Any:
    return item[0]


def second(item: tuple[Any, Any]) -> Any:
    return item[1]


def values(items: list[Any], operator: Callable[[Observable[Any]], Observable[Measured[Any, float]]]) -> list[float]:
    got: list[float] = []
    reactivex.from_iterable(items).pipe(operator).subscribe(lambda result: got.append(result.value))
    return got


def timed(operator: Callable[..., Any], items: list[tuple[int, float]], seconds: float, **options: Any) -> list[float]:
    return values(items, operator(second, of_a, seconds=seconds, time=lambda item: item[0] * SECOND, **options))


def test_a_result_comes_with_its_item_when_the_item_does() -> None:
    clock = VirtualTime()
    source = clock.cold(trades("1--3--5--5--5|"))

    run = clock.run(source.pipe(volatility(lambda trade: trade.price, of_a, count=3, otherwise=clock.told("none"))))

    got = [(moment.time, moment.value.value) for moment in run.timeline if isinstance(moment.value, Measured)]
    assert [time for time, _ in got] == [3, 6, 9, 12]
    assert [value for _, value in got] == pytest.approx([sqrt(2), 2, sqrt(4 / 3), 0])
    received = run.source("source").timeline.items
    assert_conserved(received, [result.item for result in run.items], none=run.told_to("none"))


def test_a_score_is_the_distance_from_the_mean_in_deviations() -> None:
    scores = values([1, 3, 5, 5, 5], zscore(itself, of_a, count=3))

    assert scores == pytest.approx([1 / sqrt(2), 1, 1 / sqrt(3), 0])


def test_volatility_of_a_year_is_that_of_a_period_times_the_root_of_their_number() -> None:
    assert values([1, 3], volatility(itself, of_a, count=2, periods_a_year=100)) == pytest.approx([10 * sqrt(2)])


def test_a_window_of_time_moves_with_the_items_time_and_late_ones_count_where_they_belong() -> None:
    told: list[Any] = []
    items = [(10, 1.0), (12, 3.0), (11, 8.0), (20, 5.0), (9, 99.0), (10, 99.0), (21, 6.0)]

    got = timed(volatility, items, 10, otherwise=told.append)

    windows = [[1.0, 3.0], [1.0, 3.0, 8.0], [3.0, 8.0, 5.0], [3.0, 5.0, 6.0]]
    assert got == pytest.approx([stdev(window) for window in windows])
    assert told == [(10, 1.0), (9, 99.0), (10, 99.0)]


def test_a_window_of_time_has_no_more_values_than_it_may() -> None:
    items = [(0, 7.0), (1, 1.0), (2, 2.0), (3, 4.0)]

    assert timed(volatility, items, 100, most_values=2) == pytest.approx(
        [stdev(pair) for pair in ((7, 1), (1, 2), (2, 4))]
    )


def test_times_are_read_as_messages_have_them() -> None:
    items = ["2026-01-01T00:00:00Z", "2026-01-01T00:00:01.000000001Z", "2026-01-01T00:00:01.5Z"]
    operator = volatility(len, of_a, seconds=1, time=itself)

    # The first has left the window of a second when the second comes, one nanosecond later than that.
    assert values(items, operator) == pytest.approx([stdev([len(items[1]), len(items[2])])])


@EACH
def test_there_are_no_results_of_less_than_the_least(operator: Callable[..., Any]) -> None:
    told: list[int] = []

    assert len(values([1, 2, 3, 4], operator(itself, of_a, count=9, least=3, otherwise=told.append))) == 2
    assert told == [1, 2]


@EACH
def test_keys_do_not_know_of_each_other_and_the_one_not_seen_for_the_longest_is_forgotten(
    operator: Callable[..., Any],
) -> None:
    items = [("A", 1), ("B", 9), ("A", 2), ("C", 5), ("B", 7), ("A", 2)]
    told: list[tuple[str, int]] = []

    got = values(items, operator(second, first, count=9, most_keys=2, otherwise=told.append))

    assert len(got) == 1
    assert told == [("A", 1), ("B", 9), ("C", 5), ("B", 7), ("A", 2)]


@EACH
def test_what_left_the_window_leaves_nothing_behind(operator: Callable[..., Any]) -> None:
    quiet = [1e-3, 2e-3, 4e-3]

    got = values([1e15, *quiet], operator(itself, of_a, count=3))

    assert got[-1] == values(quiet, operator(itself, of_a, count=3))[-1]


@EACH
def test_what_cannot_be_read_is_an_error_or_goes_to_failed(operator: Callable[..., Any]) -> None:
    source, lenient, strict = Subject[Any](), Subscriber[Any](), Subscriber[Any]()
    failed: list[Any] = []
    source.pipe(operator(itself, of_a, count=5, failed=lambda item, _: failed.append(item))).subscribe(lenient)
    source.pipe(operator(itself, of_a, count=5)).subscribe(strict)

    broken = ["n/a", None, "NaN", float("nan"), float("inf"), "1e999"]
    for item in ("1", *broken, Decimal(3), 2.5):
        source.on_next(item)

    assert [str(item) for item in failed] == [str(item) for item in broken]
    assert [result.item for result in lenient.items] == [3, 2.5]
    assert lenient.items[0].value == pytest.approx(sqrt(2) if operator is volatility else 1 / sqrt(2))
    assert strict.items == []
    assert [type(end) for end in strict.ends] == [ValueError]


@EACH
def test_what_a_function_raises_is_an_error(operator: Callable[..., Any]) -> None:
    refused = OSError("refused")

    def refuse(*_: object) -> Any:
        raise refused

    for value, key, options in (
        (refuse, of_a, {"count": 2}),
        (itself, refuse, {"count": 2}),
        (itself, of_a, {"seconds": 2, "time": refuse}),
        (itself, of_a, {"count": 2, "otherwise": refuse}),
        (refuse, of_a, {"count": 2, "failed": refuse}),
    ):
        source, got = Subject[int](), Subscriber[Any]()
        source.pipe(operator(value, key, **options)).subscribe(got)
        source.on_next(1)

        assert got.ends == [refused]
        assert source.observers == []


@EACH
def test_an_error_of_the_source_passes_and_disposing_ends_the_subscription(operator: Callable[..., Any]) -> None:
    clock, lost = VirtualTime(), OSError("lost")
    run = clock.run(clock.cold("1-2-#", error=lost).pipe(operator(itself, of_a, count=2)))
    assert len(run.items) == 1
    assert run.timeline.moments[-1].error is lost

    source = Subject[Any]()
    source.pipe(operator(itself, of_a, count=2)).subscribe(lambda _: None).dispose()
    assert source.observers == []


@EACH
def test_each_subscription_has_a_state_of_its_own(operator: Callable[..., Any]) -> None:
    result, got = reactivex.of(1, 2).pipe(operator(itself, of_a, count=2)), list[Any]()

    result.subscribe(got.append)
    result.subscribe(got.append)

    assert len(got) == 2


@EACH
@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"count": 3, "seconds": 3, "time": itself},
        {"seconds": 3},
        {"count": 3, "time": itself},
        {"count": 1},
        {"count": 3, "least": 1},
        {"count": 3, "least": 4},
        {"count": 3, "most_keys": 0},
        {"seconds": 0, "time": itself},
        {"seconds": 1e-10, "time": itself},
        {"seconds": float("inf"), "time": itself},
        {"seconds": 1, "time": itself, "most_values": 1},
    ],
)
def test_the_arguments_are_checked(operator: Callable[..., Any], wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        operator(itself, of_a, **wrong)


@pytest.mark.parametrize("periods", [0, -1, float("inf"), float("nan")])
def test_the_periods_are_checked(periods: float) -> None:
    with pytest.raises(ValueError, match="periods_a_year"):
        volatility(itself, of_a, count=3, periods_a_year=periods)


def test_a_chain_of_messages_is_inferred() -> None:
    tickers = reactivex.of(*[Ticker(product_id="A", price=price) for price in ("1", "2", "3", "5")])

    changes = tickers.pipe(returns(lambda ticker: ticker.price, lambda ticker: ticker.product_id))
    result = changes.pipe(
        volatility(lambda change: change.value, lambda change: change.item.product_id, count=5),
        zscore(lambda of_change: of_change.value, lambda of_change: of_change.item.item.product_id, count=5),
    )

    assert_type(changes, Observable[Measured[Ticker, float]])
    assert_type(result, Observable[Measured[Measured[Measured[Ticker, float], float], float]])
    assert len(values([], lambda _: result)) == 1


def test_memory_is_that_of_the_windows() -> None:
    window = MovingMoments(50, 1_000)
    tracemalloc.start()
    try:
        for time in range(1_000):
            window.add(time, time / 7)
        before = tracemalloc.get_traced_memory()[0]
        for time in range(1_000, 20_000):
            window.add(time, time / 7)
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()

    assert window.moments().number == 50
    assert after < 2 * before


def test_after_a_hundred_thousand_values_and_many_spikes_it_is_what_it_is_from_scratch() -> None:
    window, last = MovingMoments(200), list[float]()
    for place in range(100_000):
        value = 1e9 if place % 1_000 == 0 else sin(place) * 1e-4
        window.add(0, value)
        if place >= 99_800:
            last.append(value)

    number, mean, squares = window.moments()
    assert number == len(last)
    assert mean == pytest.approx(fmean(last), rel=1e-12)
    assert sqrt(squares / (number - 1)) == pytest.approx(stdev(last), rel=1e-12)


# Laws.

floats = st.floats(-1e6, 1e6).map(lambda value: round(value, 6))
rows = st.lists(floats, max_size=40)


def scratch(window: list[float], value: float) -> tuple[float, float]:
    """Deviation and score, by the statistics module."""
    deviation = stdev(window)
    return deviation, (value - fmean(window)) / deviation if deviation else 0.0


@given(row=rows, count=st.integers(2, 9))
def test_each_result_is_what_it_is_from_scratch(row: list[float], count: int) -> None:
    expected = [scratch(row[max(0, place + 1 - count) : place + 1], row[place]) for place in range(1, len(row))]

    assert values(row, volatility(itself, of_a, count=count)) == pytest.approx([one for one, _ in expected], abs=1e-7)
    assert values(row, zscore(itself, of_a, count=count)) == pytest.approx([one for _, one in expected], abs=1e-6)


@given(
    items=st.lists(st.tuples(st.integers(0, 30), floats), max_size=40),
    seconds=st.integers(1, 20),
)
def test_each_result_of_a_window_of_time_is_what_it_is_from_scratch(
    items: list[tuple[int, float]], seconds: int
) -> None:
    newest, known, expected, without = 0, list[tuple[int, float]](), list[float](), list[Any]()
    for item in items:
        if known and item[0] <= newest - seconds:
            without.append(item)
            continue
        newest = max(newest, item[0])
        known = [one for one in [*known, item] if one[0] > newest - seconds]
        if len(known) > 1:
            expected.append(stdev([one[1] for one in known]))
        else:
            without.append(item)
    told: list[Any] = []

    assert timed(volatility, items, seconds, otherwise=told.append) == pytest.approx(expected, abs=1e-7)
    assert told == without


@given(row=rows, shift=st.integers(-1000, 1000), scale=st.sampled_from([-3.0, -1.0, 0.5, 7.0]))
def test_shifting_and_scaling_do_what_they_should(row: list[float], shift: int, scale: float) -> None:
    moved = [value * scale + shift for value in row]

    deviations, scores = values(row, volatility(itself, of_a, count=7)), values(row, zscore(itself, of_a, count=7))
    assert values(moved, volatility(itself, of_a, count=7)) == pytest.approx(
        [abs(scale) * deviation for deviation in deviations], abs=1e-6
    )
    sign = 1 if scale > 0 else -1
    for score, deviation, other in zip(scores, deviations, values(moved, zscore(itself, of_a, count=7)), strict=True):
        if deviation > 1e-3:
            assert other == pytest.approx(sign * score, abs=1e-4)
    assert all(abs(score) <= 6 / sqrt(7) + 1e-9 for score in scores)


@given(
    items=st.lists(st.tuples(st.integers(0, 9), floats), min_size=2, max_size=20),
    order=st.randoms(use_true_random=False),
)
def test_the_order_within_the_window_does_not_matter(items: list[tuple[int, float]], order: Any) -> None:
    shuffled = list(items)
    order.shuffle(shuffled)

    assert timed(volatility, shuffled, 10)[-1] == pytest.approx(timed(volatility, items, 10)[-1], abs=1e-7)


@given(value=floats, number=st.integers(2, 20))
def test_of_equal_values_both_are_zero(value: float, number: int) -> None:
    for operator in (volatility, zscore):
        assert set(values([1e9, *[value] * number], operator(itself, of_a, count=2))[1:]) == {0.0}
