"""What the type checker infers of a chain. The tests run it too, so that the types are not a fiction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.testing import TestScheduler

from operators import attempt, batch, conflate, dedupe, only, order_books, parse, retry_with_backoff, stall_after
from operators.book_view import BookReset, BookView


@dataclass(frozen=True)
class Quote:
    product: str
    price: float


@dataclass(frozen=True)
class Trade:
    product: str
    number: int


def decode(line: str) -> list[Quote | Trade | int]:
    product, value = line.split()
    return [Trade(product, int(value)) if value.isdigit() else Quote(product, float(value)), 0]


def failed(_line: str, _error: Exception) -> None:
    pass


def lines() -> Observable[str]:
    return reactivex.of("BTC-USD 1", "BTC-USD 0.5", "malformed", "BTC-USD 1", "BTC-USD 2")


def all_of(source: Observable[object]) -> list[object]:
    items: list[object] = []
    source.subscribe(items.append)
    return items


def test_a_chain_is_inferred_from_end_to_end(clock: TestScheduler) -> None:
    chain = lines().pipe(
        stall_after(30, lambda seconds: TimeoutError(f"silent for {seconds} s"), scheduler=clock),
        retry_with_backoff(lambda attempt, _: attempt, good=lambda line: not line.isspace(), scheduler=clock),
        parse(decode, failed),
        only(Quote, Trade),
        dedupe(lambda message: message.number if isinstance(message, Trade) else None),
        batch(count=2, seconds=1, scheduler=clock),
    )

    assert_type(chain, Observable[list[Quote | Trade]])
    assert all_of(chain) == [[Trade("BTC-USD", 1), Quote("BTC-USD", 0.5)], [Trade("BTC-USD", 2)]]


def test_functions_without_annotations_get_the_types_of_their_items(clock: TestScheduler) -> None:
    words = lines().pipe(attempt(lambda line: line.split(), lambda line, _: failed(line.upper(), _)))
    assert_type(words, Observable[list[str]])
    newest = lines().pipe(
        conflate(1, lambda line: line[0], conflated=lambda line: failed(line.upper(), OSError()), scheduler=clock)
    )
    assert_type(newest, Observable[str])
    sized = lines().pipe(batch(count=9, seconds=1, bytes=40, size=lambda line: 2 * len(line), scheduler=clock))
    assert_type(sized, Observable[list[str]])
    counted = sized.pipe(ops.map(len))
    assert_type(counted, Observable[int])

    assert len(all_of(words)) == 5
    assert all_of(newest) == ["BTC-USD 1", "malformed", "BTC-USD 2"]
    assert all_of(counted) == [2, 2, 1]


def test_only_narrows_up_to_six_types() -> None:
    items: Observable[object] = reactivex.of(1, "a", b"b", 2.5, 3j, None, [4])

    assert_type(items.pipe(only(int)), Observable[int])
    assert_type(items.pipe(only(int, str)), Observable[int | str])
    assert_type(items.pipe(only(int, str, bytes)), Observable[int | str | bytes])
    assert_type(items.pipe(only(int, str, bytes, float)), Observable[int | str | bytes | float])
    six = items.pipe(only(int, str, bytes, float, complex, type(None)))
    assert_type(six, Observable[int | str | bytes | float | complex | None])

    assert all_of(six) == [1, "a", b"b", 2.5, 3j, None]


def test_an_operator_by_itself_is_generic(clock: TestScheduler) -> None:
    pairs = batch(count=2, seconds=1, scheduler=clock)
    forever = retry_with_backoff(lambda attempt, _: attempt, scheduler=clock)

    assert_type(pairs(lines()), Observable[list[str]])
    assert_type(pairs(reactivex.of(1)), Observable[list[int]])
    assert_type(forever(lines()), Observable[str])
    assert all_of(forever(pairs(lines())))[-1] == ["BTC-USD 2"]


@dataclass(frozen=True)
class Snapshot:
    product_id: str
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]


@dataclass
class Update:
    product_id: str
    changes: list[list[str]]


def book_messages() -> Observable[Snapshot | Update | BookReset]:
    return reactivex.of(Snapshot("A", (), ()), Update("A", [["buy", "1", "x"]]), Update("B", []), BookReset())


def test_a_view_knows_the_type_of_its_message(clock: TestScheduler) -> None:
    told: list[str] = []
    plain = order_books(scheduler=clock)
    watched = book_messages().pipe(
        order_books(troubled=lambda trouble: told.append(trouble.product), scheduler=clock),
        ops.map(lambda view: view.message),
    )
    counted = book_messages().pipe(
        order_books(
            troubled=lambda trouble: told.append(trouble.kind),
            ignored=lambda message: told.append(message.product_id or "all"),
            scheduler=clock,
        )
    )

    assert_type(plain(book_messages()), Observable[BookView[Snapshot | Update | BookReset]])
    assert_type(watched, Observable[Snapshot | Update | BookReset | None])
    assert_type(counted, Observable[BookView[Snapshot | Update | BookReset]])
    assert len(all_of(watched)) == len(all_of(counted)) == 2
    assert told == ["A", "malformed", "B"]
    assert BookView[Update]("A", (), (), clock.now).best_bid is None
