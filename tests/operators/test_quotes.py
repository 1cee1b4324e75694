from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any, TypeAlias, assert_type

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex import operators as ops
from reactivex.subject import Subject

from operators import micro_price, mid, order_books, spread
from operators.book_view import BookReset, BookView
from operators.measured import Measured
from operators.order_book import Level
from operators.testing import Quote, Snapshot, VirtualTime, assert_conserved, quote, quotes
from rxbridge.messages import Ticker
from tests.operators.support import Subscriber

Operator: TypeAlias = Callable[[Observable[Any]], Observable[Measured[Any, Decimal]]]

ALL: dict[str, Callable[..., Any]] = {"mid": mid, "spread": spread, "micro_price": micro_price}
EACH = pytest.mark.parametrize("operator", ALL.values(), ids=ALL)

numbers = st.decimals(min_value="0.00000001", max_value=1_000_000, places=8)


@dataclass(frozen=True)
class Anything:
    """What no feed should send."""

    best_bid: Any = "1"
    best_ask: Any = "2"
    best_bid_size: Any = "1"
    best_ask_size: Any = "1"


def values(items: Sequence[Any], operator: Operator) -> list[Decimal]:
    got: list[Decimal] = []
    reactivex.from_iterable(items).pipe(operator, ops.map(lambda result: result.value)).subscribe(got.append)
    return got


def view(bid: Decimal, ask: Decimal, bid_size: Decimal, ask_size: Decimal) -> BookView[Snapshot]:
    bids, asks = (Level(bid, bid_size),), (Level(ask, ask_size),)
    return BookView[Snapshot]("A", bids, asks, datetime(1970, 1, 1, tzinfo=UTC))


def test_the_middle_comes_with_its_quote_when_the_quote_does() -> None:
    clock = VirtualTime()
    source = clock.cold(quotes("a--b--c--d|", a=(99, 101), b=(99, 102), c=(0, 101), d=(100, 102)))
    otherwise = clock.told("otherwise")

    run = clock.run(source.pipe(mid(otherwise=otherwise)))

    got = [(moment.time, moment.value.value) for moment in run.timeline if isinstance(moment.value, Measured)]
    assert got == [(0, Decimal(100)), (3, Decimal("100.5")), (9, Decimal(101))]
    assert [moment.time for moment in run.timeline][-1] == 10
    received = run.source("source").timeline.items
    assert_conserved(received, [result.item for result in run.items], otherwise=run.told_to("otherwise"))


def test_the_spread_is_exact_or_in_ten_thousandths_of_the_middle() -> None:
    items = [quote("0.1", "0.3"), quote(99, 101), quote(102, 101)]

    assert values(items, spread()) == [Decimal("0.2"), 2, -1]
    assert values(items[:2], spread(basis_points=True)) == [10_000, 200]


def test_the_micro_price_leans_to_the_side_where_less_waits() -> None:
    items = [quote(99, 101, 1, 1), quote(99, 101, 3, 1), quote(99, 101, 1, 3)]

    assert values(items, micro_price()) == [100, Decimal("100.5"), Decimal("99.5")]


@EACH
@pytest.mark.parametrize("nothing", [None, "", "0", "0.00", 0])
def test_a_quote_of_which_a_side_is_empty_goes_to_otherwise(operator: Callable[..., Any], nothing: Any) -> None:
    told: list[Any] = []
    items = [Anything(best_bid=nothing), Anything(best_ask=nothing), Anything()]

    assert len(values(items, operator(otherwise=told.append))) == 1
    assert told == items[:2]
    assert len(values(items, operator())) == 1


def test_without_a_size_there_is_no_micro_price() -> None:
    items = [Anything(best_bid_size=None), Anything(best_ask_size="0")]
    told: list[Any] = []

    assert values(items, micro_price(otherwise=told.append)) == []
    assert told == items
    assert len(values(items, mid())) == 2


@EACH
def test_what_is_no_number_is_an_error_or_goes_to_failed(operator: Callable[..., Any]) -> None:
    source, lenient, strict = Subject[Any](), Subscriber[Any](), Subscriber[Any]()
    failed: list[Any] = []
    source.pipe(operator(failed=lambda item, _: failed.append(item))).subscribe(lenient)
    source.pipe(operator()).subscribe(strict)

    broken = [Anything(best_bid="n/a"), Anything(best_ask="NaN"), Anything(best_bid=[]), object()]
    for item in [*broken, Anything()]:
        source.on_next(item)

    assert failed == broken
    assert [result.item for result in lenient.items] == [Anything()]
    assert strict.items == []
    assert [type(end) for end in strict.ends] == [ValueError]


def test_a_negative_size_is_a_failure() -> None:
    got = Subscriber[Any]()
    reactivex.of(quote(1, 2, "-1", "1")).pipe(micro_price()).subscribe(got)

    assert [type(end) for end in got.ends] == [ValueError]


@EACH
def test_what_a_callback_raises_is_an_error(operator: Callable[..., Any]) -> None:
    refused = OSError("refused")

    def refuse(*_: object) -> None:
        raise refused

    for item in (Anything(best_bid=None), Anything(best_bid="n/a")):
        source, got = Subject[Any](), Subscriber[Any]()
        source.pipe(operator(otherwise=refuse, failed=refuse)).subscribe(got)
        source.on_next(item)

        assert got.ends == [refused]
        assert source.observers == []


@EACH
def test_an_error_of_the_source_passes_and_disposing_ends_the_subscription(operator: Callable[..., Any]) -> None:
    clock, lost = VirtualTime(), OSError("lost")
    run = clock.run(clock.cold(quotes("a-#", a=(1, 2), error=lost)).pipe(operator()))
    assert len(run.items) == 1
    assert run.timeline.moments[-1].error is lost

    source, got = Subject[Any](), Subscriber[Any]()
    source.pipe(operator()).subscribe(got).dispose()
    assert source.observers == []


@EACH
def test_what_the_subscriber_raises_is_no_failure_of_the_item(operator: Callable[..., Any]) -> None:
    failed: list[Any] = []
    source = Subject[Any]()

    def raises(_item: object) -> None:
        raise OSError("of the subscriber")

    source.pipe(operator(failed=lambda item, _: failed.append(item))).subscribe(raises)
    with pytest.raises(OSError, match="of the subscriber"):
        source.on_next(quote(1, 2))
    assert failed == []


def test_the_context_of_the_thread_does_not_matter() -> None:
    items = [quote("12345.67", "12345.68", "1.23456", "7.65432")]
    expected = [values(items, operator) for operator in (mid(), spread(), spread(basis_points=True), micro_price())]

    with localcontext(Context(prec=2)):
        got = [values(items, operator) for operator in (mid(), spread(), spread(basis_points=True), micro_price())]

    assert got == expected
    assert expected[:2] == [[Decimal("12345.675")], [Decimal("0.01")]]


# The messages of the application, and the views of the books, fit as they are.


def test_tickers_and_books_fit_as_they_are(clock: Any) -> None:
    tickers = reactivex.of(Ticker(product_id="A", best_bid="9", best_bid_size="3", best_ask="11", best_ask_size="1"))
    messages: Observable[Snapshot | BookReset] = reactivex.of(
        Snapshot("A", [("9", "3"), ("8", "9")], [("11", "1")]), BookReset("A", "lost")
    )
    books = messages.pipe(order_books(scheduler=clock))
    told: list[BookView[Snapshot | BookReset]] = []

    middles = tickers.pipe(mid())
    weighted = books.pipe(micro_price(otherwise=told.append))
    apart = books.pipe(spread(), ops.map(lambda result: result.item.product))
    assert_type(middles, Observable[Measured[Ticker, Decimal]])
    assert_type(weighted, Observable[Measured[BookView[Snapshot | BookReset], Decimal]])
    assert_type(tickers.pipe(micro_price()), Observable[Measured[Ticker, Decimal]])
    assert_type(books.pipe(mid()), Observable[Measured[BookView[Snapshot | BookReset], Decimal]])
    assert_type(apart, Observable[str])

    got: list[Measured[Any, Decimal]] = []
    for results in (middles, weighted):
        results.subscribe(got.append)
    assert [result.value for result in got] == [10, Decimal("10.5")]
    assert [empty.reset for empty in told] == [True]


# Laws.


@given(bid=numbers, ask=numbers, bid_size=numbers, ask_size=numbers, scale=st.integers(1, 1000))
def test_of_a_quote_and_of_a_book_they_are_what_the_formulas_say(
    bid: Decimal, ask: Decimal, bid_size: Decimal, ask_size: Decimal, scale: int
) -> None:
    items: list[Quote | BookView[Snapshot]] = [quote(bid, ask, bid_size, ask_size), view(bid, ask, bid_size, ask_size)]
    (middle, same_middle), (apart, same_apart) = values(items, mid()), values(items, spread())
    weighted, same_weighted = values(items, micro_price())

    assert (middle, apart, weighted) == (same_middle, same_apart, same_weighted)
    assert Fraction(middle) == (Fraction(bid) + Fraction(ask)) / 2
    assert Fraction(apart) == Fraction(ask) - Fraction(bid)
    assert Fraction(middle) + Fraction(apart) / 2 == Fraction(ask)
    sum_of_both = Fraction(bid) * Fraction(ask_size) + Fraction(ask) * Fraction(bid_size)
    exactly = sum_of_both / (Fraction(bid_size) + Fraction(ask_size))
    assert abs(Fraction(weighted) - exactly) <= exactly / 10**27
    assert min(bid, ask) <= weighted <= max(bid, ask)

    equal, in_another_unit = quote(bid, ask, ask_size, ask_size), quote(bid, ask, bid_size * scale, ask_size * scale)
    assert values([equal], micro_price())[0] == pytest.approx(middle, rel=Decimal("1e-26"))
    assert values([in_another_unit], micro_price()) == [weighted]
    points, of_another_unit = values([quote(bid, ask), quote(bid * scale, ask * scale)], spread(basis_points=True))
    assert points == of_another_unit
