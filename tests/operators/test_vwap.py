from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, assert_type

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable

from operators import vwap
from operators.measured import Measured
from operators.testing import Trade, VirtualTime, assert_conserved, trade, trades

DAY = 86_400


def values(
    items: list[Any], operator: Callable[[Observable[Any]], Observable[Measured[Any, Decimal]]]
) -> list[Decimal]:
    got: list[Measured[Any, Decimal]] = []
    reactivex.from_iterable(items).pipe(operator).subscribe(got.append)
    return [one.value for one in got]


def test_the_average_comes_with_its_trade_when_the_trade_does() -> None:
    clock = VirtualTime()
    source = clock.cold(trades("a---b---c|", a=(10, 1), b=(20, 1), c=(30, 2)))

    run = clock.run(source.pipe(vwap()))

    got = [(moment.time, moment.value.value) for moment in run.timeline if isinstance(moment.value, Measured)]
    assert got == [(0, 10), (4, 15), (8, Decimal("22.5"))]
    assert_conserved(run.source("source").timeline.items, [one.item for one in run.items])


def test_what_has_left_the_window_counts_no_more_and_what_comes_late_does() -> None:
    late: list[Trade] = []
    items = [trade(10, 1, at=0), trade(20, 1, at=8), trade(30, 1, at=10), trade(40, 1, at=5), trade(1, 1, at=0)]

    assert values(items, vwap(10, late=late.append)) == [10, 15, 25, 30]
    assert late == [items[4]]


def test_each_session_begins_anew_and_takes_nothing_of_one_before() -> None:
    late: list[Trade] = []
    items = [trade(10, 1, at=DAY - 1), trade(20, 1, at=DAY), trade(30, 1, at=DAY + 5), trade(99, 1, at=DAY - 1)]

    assert values(items, vwap(session=DAY, late=late.append)) == [10, 20, 25]
    assert late == [items[3]]


def test_products_have_averages_of_their_own_and_few_are_known() -> None:
    items = [trade(10, product="A", at=1), trade(30, product="B", at=1), trade(20, product="A", at=2)]

    assert values(items, vwap()) == [10, 30, 15]
    assert values(items, vwap(most_products=1)) == [10, 30, 20]


def test_what_cannot_be_read_is_an_error_or_goes_to_failed() -> None:
    broken = [trade("n/a", at=1), trade(1, "-1", at=1), trade(1), trade(1, 0, at=1)]
    failed: list[Any] = []
    assert values([*broken, trade(2, at=2)], vwap(failed=lambda item, _: failed.append(item))) == [2]
    assert failed == broken

    errors: list[Exception] = []
    reactivex.of(trade("n/a", at=1)).pipe(vwap()).subscribe(on_error=errors.append)
    assert [type(error) for error in errors] == [ValueError]


@pytest.mark.parametrize(
    "wrong",
    [{"seconds": 0}, {"session": 0}, {"seconds": 1, "session": 1}, {"most_trades": 0}, {"most_products": 0}],
)
def test_arguments_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"positive|sessions"):
        vwap(**wrong)


def test_the_checker_knows_what_comes_out() -> None:
    assert_type(reactivex.of(trade(1, at=1)).pipe(vwap()), Observable[Measured[Trade, Decimal]])


_priced = st.tuples(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(0, 30))


@given(st.lists(_priced, min_size=1, max_size=30), st.one_of(st.none(), st.integers(1, 20)))
def test_it_is_the_quotient_of_the_sums_of_what_counts(drawn: list[tuple[int, int, int]], seconds: int | None) -> None:
    taken: list[tuple[int, int, int]] = []
    expected: list[Fraction] = []
    for price, size, at in drawn:
        newest = max([at, *(other for _, _, other in taken)])
        if seconds is not None and at <= newest - seconds:
            continue
        taken.append((price, size, at))
        counts = [(p, s) for p, s, t in taken if seconds is None or t > newest - seconds]
        expected.append(Fraction(sum(p * s for p, s in counts), sum(s for _, s in counts)))
    items = [trade(Decimal(price) / 100, Decimal(size) / 1000, at=at) for price, size, at in drawn]

    got = values(items, vwap(seconds))

    assert all(abs(Fraction(one) * 100 - exact) < Fraction(1, 10**15) for one, exact in zip(got, expected, strict=True))
