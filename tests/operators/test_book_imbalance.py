from __future__ import annotations

from datetime import UTC, datetime
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any, assert_type

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from reactivex import Observable
from reactivex import operators as ops
from reactivex.subject import Subject
from reactivex.testing import TestScheduler

from operators import book_imbalance, order_books
from operators.book_view import BookMessage, BookReset, BookView
from operators.measured import Measured
from operators.order_book import Level
from operators.testing import Snapshot, Update, VirtualTime, assert_conserved
from rxbridge.messages import BookSnapshot
from tests.operators.support import Subscriber

sizes = st.lists(st.decimals(min_value="0.00000001", max_value=10_000, places=8), max_size=12)


def view(bids: list[Decimal], asks: list[Decimal]) -> BookView[Snapshot]:
    return BookView[Snapshot](
        "A",
        tuple(Level(Decimal(100 - place), size) for place, size in enumerate(bids)),
        tuple(Level(Decimal(101 + place), size) for place, size in enumerate(asks)),
        datetime(1970, 1, 1, tzinfo=UTC),
    )


def of_sizes(bids: str, asks: str) -> BookView[Snapshot]:
    return view([Decimal(size) for size in bids.split()], [Decimal(size) for size in asks.split()])


def values(views: list[BookView[Snapshot]], levels: int = 1) -> list[float]:
    got: list[float] = []
    reactivex.from_iterable(views).pipe(book_imbalance(levels), ops.map(lambda result: result.value)).subscribe(
        got.append
    )
    return got


def test_it_comes_with_its_view_when_the_view_does() -> None:
    clock = VirtualTime()
    views = clock.cold("a--b--c|", a=of_sizes("3 7", "1"), b=of_sizes("", ""), c=of_sizes("1", "3"))

    run = clock.run(views.pipe(book_imbalance(otherwise=clock.told("otherwise"))))

    got = [(moment.time, moment.value.value) for moment in run.timeline if isinstance(moment.value, Measured)]
    assert got == [(0, 0.5), (6, -0.5)]
    received = run.source("source").timeline.items
    assert_conserved(received, [result.item for result in run.items], otherwise=run.told_to("otherwise"))


def test_the_best_levels_count_as_far_as_there_are_any() -> None:
    book = of_sizes("1 2 3", "1 1")

    assert values([book], 1) == [0.0]
    assert values([book], 2) == [0.2]
    assert values([book], 3) == values([book], 99) == [0.5]
    assert values([of_sizes("1", ""), of_sizes("", "1")]) == [1.0, -1.0]


def test_books_as_they_come_fit(clock: TestScheduler) -> None:
    messages: Observable[Snapshot | Update | BookReset] = reactivex.of(
        Snapshot("A", [("9", "3"), ("8", "1")], [("11", "1")]),
        Update("A", [("sell", "10", "7")]),
        BookReset("A", "lost"),
    )
    told: list[BookView[Snapshot | Update | BookReset]] = []

    result = messages.pipe(order_books(scheduler=clock), book_imbalance(2, otherwise=told.append))

    assert_type(result, Observable[Measured[BookView[Snapshot | Update | BookReset], float]])
    got: list[float] = []
    result.subscribe(lambda measured: got.append(measured.value))
    assert got == [3 / 5, -4 / 12]
    assert [empty.reset for empty in told] == [True]


def test_the_books_of_the_application_fit(clock: TestScheduler) -> None:
    snapshot: Any = BookSnapshot(product_id="A", bids_data=Raw(b'[["9","3"]]'), asks_data=Raw(b'[["11","1"]]'))
    books: Observable[BookView[BookMessage]] = reactivex.of(snapshot).pipe(order_books(scheduler=clock))

    result = books.pipe(book_imbalance())

    assert_type(result, Observable[Measured[BookView[BookMessage], float]])
    got: list[float] = []
    result.subscribe(lambda measured: got.append(measured.value))
    assert got == [0.5]


def test_what_otherwise_raises_is_an_error() -> None:
    refused = OSError("refused")

    def refuse(_: object) -> None:
        raise refused

    source, got = Subject[BookView[Snapshot]](), Subscriber[object]()
    source.pipe(book_imbalance(otherwise=refuse)).subscribe(got)
    source.on_next(of_sizes("", ""))

    assert got.ends == [refused]
    assert source.observers == []


def test_an_error_of_the_source_passes_and_disposing_ends_the_subscription() -> None:
    source, got = Subject[BookView[Snapshot]](), Subscriber[object]()
    lost = OSError("lost")
    source.pipe(book_imbalance()).subscribe(got)
    disposed = source.pipe(book_imbalance()).subscribe(lambda _: None)
    disposed.dispose()
    assert len(source.observers) == 1

    source.on_error(lost)
    assert got.ends == [lost]


@pytest.mark.parametrize("levels", [0, -1])
def test_the_argument_is_checked(levels: int) -> None:
    with pytest.raises(ValueError, match="levels"):
        book_imbalance(levels)


@given(bids=sizes, asks=sizes, levels=st.integers(1, 12), scale=st.integers(1, 1000))
def test_it_is_what_the_formula_says(bids: list[Decimal], asks: list[Decimal], levels: int, scale: int) -> None:
    bid, asked = sum(map(Fraction, bids[:levels]), Fraction()), sum(map(Fraction, asks[:levels]), Fraction())
    expected = [float((bid - asked) / (bid + asked))] if bid + asked else []

    with localcontext(Context(prec=2)):
        got = values([view(bids, asks)], levels)

    assert got == pytest.approx(expected, rel=1e-15)
    assert all(-1 <= value <= 1 for value in got)
    assert values([view(asks, bids)], levels) == [-value for value in got]
    scaled = view([size * scale for size in bids], [size * scale for size in asks])
    assert values([scaled], levels) == got
