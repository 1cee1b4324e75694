from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from math import expm1, fsum, log
from typing import Any, Literal, assert_type

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.subject import Subject

from operators import mid, returns
from operators.measured import Measured
from operators.testing import VirtualTime, assert_conserved, trades
from rxbridge.messages import Ticker, Trade
from tests.operators.support import Subscriber

Kind = Literal["simple", "log"]
KINDS = pytest.mark.parametrize("kind", ["simple", "log"])

prices = st.lists(st.decimals(min_value="0.00000001", max_value=1_000_000, places=8), max_size=30)


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


def test_a_return_comes_with_its_item_when_the_item_does() -> None:
    clock = VirtualTime()
    source = clock.cold(trades("100--110--99|"))

    run = clock.run(source.pipe(returns(lambda trade: trade.price, of_a, otherwise=clock.told("otherwise"))))

    got = [(moment.time, moment.value.value) for moment in run.timeline if isinstance(moment.value, Measured)]
    assert got == [(5, 0.1), (10, -0.1)]
    received = run.source("source").timeline.items
    assert_conserved(received, [result.item for result in run.items], otherwise=run.told_to("otherwise"))


def test_log_returns_are_logarithms_of_the_quotient() -> None:
    assert values([100, 110, 11], returns(itself, of_a, kind="log")) == pytest.approx([log(1.1), log(0.1)])


def test_prices_that_differ_in_the_last_digit_have_a_return_with_all_its_digits() -> None:
    before, after = "64123.4567890123456789", "64123.4567890123456790"

    assert values([before, after], returns(itself, of_a)) == [float(Fraction(after) / Fraction(before) - 1)]
    assert values([before, after], returns(itself, of_a, kind="log")) == pytest.approx([1.559491367e-21], rel=1e-6)


def test_a_log_return_is_finite_however_large() -> None:
    assert values(["1e-300", "1e300", "1e-300"], returns(itself, of_a, kind="log")) == pytest.approx(
        [600 * log(10), -600 * log(10)]
    )


def test_a_simple_return_that_no_float_can_hold_is_a_failure() -> None:
    got = Subscriber[Any]()
    reactivex.of("1e-300", "1e300").pipe(returns(itself, of_a)).subscribe(got)

    assert [type(end) for end in got.ends] == [ValueError]


def test_keys_do_not_know_of_each_other_and_the_one_not_seen_for_the_longest_is_forgotten() -> None:
    items = [("A", 1), ("B", 8), ("A", 2), ("C", 5), ("A", 3), ("B", 9)]
    told: list[tuple[str, int]] = []

    assert values(items, returns(second, first, most_keys=2, otherwise=told.append)) == [1.0, 0.5]
    assert told == [("A", 1), ("B", 8), ("C", 5), ("B", 9)]


@KINDS
def test_what_is_no_price_is_an_error_or_goes_to_failed_and_the_next_return_is_since_the_one_before(kind: Kind) -> None:
    source, lenient, strict = Subject[Any](), Subscriber[Any](), Subscriber[Any]()
    failed: list[Any] = []
    source.pipe(returns(itself, of_a, kind=kind, failed=lambda item, _: failed.append(item))).subscribe(lenient)
    source.pipe(returns(itself, of_a, kind=kind)).subscribe(strict)

    broken = ["0", "-1", "n/a", None, "NaN"]
    for item in ("1", *broken, "2"):
        source.on_next(item)

    assert failed == broken
    assert [result.value for result in lenient.items] == [1.0 if kind == "simple" else pytest.approx(log(2))]
    assert strict.items == []
    assert [type(end) for end in strict.ends] == [ValueError]


def test_what_a_function_raises_is_an_error() -> None:
    refused = OSError("refused")

    def refuse(*_: object) -> Any:
        raise refused

    cases: list[tuple[Any, Any, dict[str, Any]]] = [
        (refuse, of_a, {}),
        (itself, refuse, {}),
        (itself, of_a, {"otherwise": refuse}),
        (refuse, of_a, {"failed": refuse}),
    ]
    for value, key, options in cases:
        source, got = Subject[int](), Subscriber[Any]()
        source.pipe(returns(value, key, **options)).subscribe(got)
        source.on_next(1)

        assert got.ends == [refused]
        assert source.observers == []


def test_an_error_of_the_source_passes_and_disposing_ends_the_subscription() -> None:
    clock, lost = VirtualTime(), OSError("lost")
    run = clock.run(clock.cold("1-2-#", error=lost).pipe(returns(itself, of_a)))
    assert len(run.items) == 1
    assert run.timeline.moments[-1].error is lost

    source = Subject[Any]()
    source.pipe(returns(itself, of_a)).subscribe(lambda _: None).dispose()
    assert source.observers == []


def test_each_subscription_has_a_state_of_its_own() -> None:
    result, got = reactivex.of(1, 2).pipe(returns(itself, of_a)), list[Any]()

    result.subscribe(got.append)
    result.subscribe(got.append)

    assert [one.value for one in got] == [1.0, 1.0]


def test_the_context_of_the_thread_does_not_matter() -> None:
    with localcontext(Context(prec=2)):
        assert values(["1.2345", "1.2346"], returns(itself, of_a)) == [float(Fraction(1, 12345))]


@pytest.mark.parametrize("wrong", [{"kind": "other"}, {"most_keys": 0}])
def test_the_arguments_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        returns(itself, of_a, **wrong)


def test_the_messages_of_the_application_fit_as_they_are() -> None:
    of_trades = reactivex.of(Trade(product_id="A", price="1"), Trade(product_id="A", price="2")).pipe(
        returns(lambda trade: trade.price, lambda trade: trade.product_id)
    )
    tickers = reactivex.of(
        Ticker(product_id="A", best_bid="1", best_ask="3"), Ticker(product_id="A", best_bid="3", best_ask="5")
    )
    of_middles = tickers.pipe(mid(), returns(lambda one: one.value, lambda one: one.item.product_id, kind="log"))

    assert_type(of_trades, Observable[Measured[Trade, float]])
    assert_type(of_middles, Observable[Measured[Measured[Ticker, Decimal], float]])
    assert values([], lambda _: of_trades) == [1.0]
    assert values([], lambda _: of_middles) == pytest.approx([log(2)])


# Laws.


@given(row=prices)
def test_returns_are_the_exact_quotients_rounded_once(row: list[Decimal]) -> None:
    exactly = [Fraction(row[place]) / Fraction(row[place - 1]) - 1 for place in range(1, len(row))]

    simple, logs = values(row, returns(itself, of_a)), values(row, returns(itself, of_a, kind="log"))

    assert simple == pytest.approx([float(one) for one in exactly], rel=1e-15, abs=0)
    precise = Context(prec=60)
    quotients = [precise.divide(row[place], row[place - 1]) for place in range(1, len(row))]
    assert logs == pytest.approx([float(precise.ln(one)) for one in quotients], rel=1e-15, abs=0)
    assert [expm1(one) for one in logs] == pytest.approx(simple, rel=1e-9, abs=1e-12)
    if row:
        assert fsum(logs) == pytest.approx(float((row[-1] / row[0]).ln()), abs=1e-9)


@given(row=prices, scale=st.integers(1, 1000))
def test_prices_in_another_unit_have_the_same_returns(row: list[Decimal], scale: int) -> None:
    scaled = [price * scale for price in row]

    assert values(scaled, returns(itself, of_a)) == values(row, returns(itself, of_a))
