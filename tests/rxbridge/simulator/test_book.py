"""The book, whatever happens to it: never crossed, and what is told of it makes it."""

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from operators.order_book import OrderBook
from rxbridge.simulator.book import Book, Level, Watch

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

prices = st.integers(min_value=1, max_value=10**8)
quotes = st.tuples(prices, st.integers(min_value=1, max_value=1000)).map(lambda pair: (pair[0], sum(pair)))
sweeps = st.lists(
    st.tuples(st.integers(min_value=0, max_value=5), st.integers(min_value=1, max_value=10**9)), min_size=1
)
happenings = st.lists(
    st.one_of(
        st.tuples(st.just("stir"), st.integers(min_value=0, max_value=40)),
        st.tuples(st.just("quote"), quotes),
        st.tuples(st.sampled_from(["buy", "sell"]), sweeps),
    ),
    max_size=25,
)
seeds = st.integers(min_value=0, max_value=2**32)
depths = st.integers(min_value=1, max_value=60)


def book_of(seed: int, quote: tuple[int, int], depth: int = 20) -> Book:
    random = Random(seed)
    return Book(random, bid=quote[0], ask=quote[1], size_at=lambda _: random.randint(1, 10**9), depth=depth)


def let_happen(book: Book, happening: tuple[str, Any]) -> None:
    kind, what = happening
    if kind == "stir":
        book.stir(what)
    elif kind == "quote":
        book.quote(*what)
        assert (book.best_bid.price, book.best_ask.price) == what
    else:
        side = "buy" if kind == "buy" else "sell"
        away = -1 if side == "buy" else 1
        price = (book.best_bid if side == "buy" else book.best_ask).price
        matches: list[tuple[int, int]] = []
        for step, size in what:
            price = max(1, price + away * step) if matches else price
            matches.append((price, size))
        book.expect(side, matches)
        for matched, size in matches:
            # It refuses whatever is not the best price, or not there.
            book.take(side, matched, size)


def check(book: Book) -> None:
    bids, asks = book.levels("buy"), book.levels("sell")
    assert bids[0] == book.best_bid
    assert asks[0] == book.best_ask
    assert book.best_bid.price < book.best_ask.price
    assert [level.price for level in bids] == sorted({level.price for level in bids}, reverse=True)
    assert [level.price for level in asks] == sorted({level.price for level in asks})
    assert all(level.price >= 1 and level.size >= 1 for level in (*bids, *asks))
    assert all(book.size("buy", level.price) == level.size for level in bids)


@unhurried
@given(seed=seeds, quote=quotes, depth=depths, happenings=happenings)
def test_it_never_crosses_and_no_side_is_ever_empty(
    seed: int, quote: tuple[int, int], depth: int, happenings: list[tuple[str, Any]]
) -> None:
    book = book_of(seed, quote, depth)
    check(book)
    for happening in happenings:
        let_happen(book, happening)
        check(book)
    book.quote(*quote)
    assert len(book.levels("sell")) == depth
    assert 1 <= len(book.levels("buy")) <= depth


def as_text(levels: list[Level]) -> list[tuple[str, str]]:
    return [(str(price), str(size)) for price, size in levels]


def follow(follower: OrderBook, watch: Watch) -> None:
    follower.apply_update([(side, str(price), str(size)) for side, price, size in watch.take()])
    assert not follower.is_crossed


@unhurried
@given(seed=seeds, quote=quotes, happenings=happenings, every=st.integers(min_value=1, max_value=5))
def test_snapshot_and_changes_make_the_book(
    seed: int, quote: tuple[int, int], happenings: list[tuple[str, Any]], every: int
) -> None:
    book = book_of(seed, quote)
    watch, follower = book.watch(), OrderBook()
    follower.apply_snapshot(as_text(book.levels("buy")), as_text(book.levels("sell")))
    for number, happening in enumerate(happenings):
        let_happen(book, happening)
        if number % every == 0:
            follow(follower, watch)
    follow(follower, watch)
    expected = OrderBook()
    expected.apply_snapshot(as_text(book.levels("buy")), as_text(book.levels("sell")))
    assert follower.top(1000) == expected.top(1000)


def test_who_no_longer_watches_is_told_nothing() -> None:
    book = book_of(1, (1000, 1002))
    first, second = book.watch(), book.watch()
    book.unwatch(first)
    book.quote(990, 991)
    assert second.take()
    assert not first.take()
    assert not second.take()


def test_a_level_that_came_and_went_is_told_as_gone() -> None:
    book = book_of(1, (1000, 1010))
    watch = book.watch()
    book.quote(1005, 1010)
    book.quote(1000, 1010)
    assert ("buy", 1005, 0) in watch.take()


def test_what_cannot_be_had_is_not_taken() -> None:
    book = book_of(1, (1000, 1010))
    (price, size) = book.best_ask
    worse = book.levels("sell")[1]
    for wrong in ((worse.price, 1), (price, size + 1), (price - 1, 1)):
        with pytest.raises(ValueError, match="cannot be had"):
            book.take("sell", *wrong)
    book.take("sell", price, size)
    assert book.best_ask == worse
    with pytest.raises(ValueError, match="make no book"):
        book.quote(5, 5)
    lonely = book_of(1, (1, 2), depth=1)
    with pytest.raises(ValueError, match="last level"):
        lonely.take("buy", *lonely.best_bid)


@unhurried
@given(seed=seeds, quote=quotes)
def test_the_same_seed_makes_the_same_book(seed: int, quote: tuple[int, int]) -> None:
    first, second = book_of(seed, quote), book_of(seed, quote)
    first.stir(30)
    second.stir(30)
    assert first.levels("buy") == second.levels("buy")
    assert first.levels("sell") == second.levels("sell")


def test_as_many_levels_as_the_real_thing() -> None:
    book = book_of(1, (6_500_000, 6_500_001), depth=5000)
    assert len(book.levels("buy")) == len(book.levels("sell")) == 5000
    assert book.levels("sell", 3) == book.levels("sell")[:3]
