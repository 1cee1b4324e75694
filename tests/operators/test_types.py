"""What the type checker infers of a chain. The tests run it too, so that the types are not a fiction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_type

import reactivex
from reactivex import GroupedObservable, Observable
from reactivex import operators as ops
from reactivex.testing import TestScheduler

from operators import (
    attempt,
    batch,
    changes_by,
    conflate,
    crosses_above,
    crosses_below,
    dedupe,
    detect_gaps,
    group_by_product,
    join_by_time,
    only,
    order_books,
    parse,
    rate_limit,
    retry_with_backoff,
    sample_latest,
    stall_after,
    throttle,
    with_latency,
)
from operators.book_view import BookReset, BookView
from operators.detect_gaps import Gap
from operators.join_by_time import Joined
from operators.with_latency import Aged


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


def ignored(_line: str) -> None:
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


def test_what_thins_out_in_time_keeps_the_type(clock: TestScheduler) -> None:
    throttled = lines().pipe(
        throttle(1, lambda line: line[0], dropped=lambda line: ignored(line.upper()), scheduler=clock)
    )
    sampled = lines().pipe(sample_latest(1, lambda line: line[0], scheduler=clock))
    limited = lines().pipe(rate_limit(9, burst=9, hold=0, dropped=lambda line: ignored(line.upper()), scheduler=clock))

    assert_type(throttled, Observable[str])
    assert_type(sampled, Observable[str])
    assert_type(limited, Observable[str])
    assert all_of(throttled) == ["BTC-USD 1", "malformed"]
    assert all_of(sampled) == ["BTC-USD 2", "malformed"]
    assert len(all_of(limited)) == 5


def test_what_watches_values_keeps_the_type() -> None:
    quotes = reactivex.of(Quote("A", 1.0), Quote("A", 3.0), Quote("A", 1.5))
    above = quotes.pipe(crosses_above(2, lambda quote: quote.price, lambda quote: quote.product))
    below = quotes.pipe(
        crosses_below(lambda quote: quote.price + 1, lambda quote: quote.price, lambda quote: quote.product)
    )
    changed = quotes.pipe(changes_by(lambda quote: quote.price, lambda quote: quote.product, percent=60))
    gaps: list[Gap] = []
    numbered = reactivex.of(Trade("A", 1), Trade("A", 3)).pipe(
        detect_gaps(lambda trade: trade.number, lambda trade: trade.product, found=gaps.append)
    )

    assert_type(above, Observable[Quote])
    assert_type(below, Observable[Quote])
    assert_type(changed, Observable[Quote])
    assert_type(numbered, Observable[Trade])
    assert all_of(above) == [Quote("A", 3.0)]
    assert all_of(below) == []
    assert len(all_of(changed)) == 2
    assert len(all_of(numbered)) == 2
    assert gaps == [Gap("A", 2, 2)]


def test_pairs_and_groups_know_what_they_are_of(clock: TestScheduler) -> None:
    trades, quotes = reactivex.of(Trade("A", 7)), reactivex.of(Quote("A", 1.0))
    joined = trades.pipe(join_by_time(quotes, time=lambda _: 0, key=lambda message: message.product))
    grouped = trades.pipe(group_by_product(lambda trade: trade.product))
    aged = trades.pipe(with_latency(lambda trade: trade.number, scheduler=clock))

    assert_type(joined, Observable[Joined[Trade, Quote]])
    assert_type(grouped, Observable[GroupedObservable[str, Trade]])
    assert_type(aged, Observable[Aged[Trade]])
    assert all_of(joined) == [(Trade("A", 7), Quote("A", 1.0))]
    assert len(all_of(grouped)) == 1
    assert all_of(aged) == [(Trade("A", 7), -7e-9)]


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
