from __future__ import annotations

import decimal
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operators import OrderBook
from operators.order_book import Level


def level(price: str, size: str) -> Level:
    return Level(Decimal(price), Decimal(size))


def book_of(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> OrderBook:
    book = OrderBook()
    book.apply_snapshot(bids, asks)
    return book


@pytest.fixture
def book() -> OrderBook:
    return book_of([("9.5", "2"), ("9.4", "1"), ("9.1", "3")], [("10.1", "3"), ("10.5", "4")])


def state(book: OrderBook) -> tuple[tuple[Level, ...], tuple[Level, ...], int]:
    return book.bids(), book.asks(), book.unknown_deletes


def test_a_new_book_is_empty() -> None:
    book = OrderBook()

    assert state(book) == ((), (), 0)
    assert (book.best_bid, book.best_ask, book.top(3)) == (None, None, ((), ()))
    assert not book.is_crossed


def test_a_snapshot_in_any_order_is_ordered_from_the_best_outwards() -> None:
    book = book_of([("9.1", "3"), ("9.5", "2"), ("9.4", "1")], [("10.5", "4"), ("9.9", "1"), ("100", "5")])

    assert book.bids() == (level("9.5", "2"), level("9.4", "1"), level("9.1", "3"))
    assert book.asks() == (level("9.9", "1"), level("10.5", "4"), level("100", "5"))
    assert book.best_bid == level("9.5", "2")
    assert book.best_ask == level("9.9", "1")


def test_a_snapshot_replaces_everything(book: OrderBook) -> None:
    book.apply_update([("buy", "1", "0")])
    book.apply_snapshot([("8", "1")], [])

    assert state(book) == ((level("8", "1"),), (), 0)


def test_of_one_price_in_a_snapshot_the_last_counts_and_zero_is_no_level() -> None:
    book = book_of([("9.5", "2"), ("9", "1"), ("9.50", "4"), ("8", "0.0")], [("10", "1"), ("10.0", "0")])

    assert state(book) == ((level("9.5", "4"), level("9", "1")), (), 0)


def test_an_update_sets_adds_and_removes(book: OrderBook) -> None:
    book.apply_update([("buy", "9.5", "7"), ("sell", "10.2", "0.5"), ("buy", "9.4", "0"), ("sell", "10.1", "0")])

    assert book.bids() == (level("9.5", "7"), level("9.1", "3"))
    assert book.asks() == (level("10.2", "0.5"), level("10.5", "4"))


def test_changes_are_applied_one_after_the_other(book: OrderBook) -> None:
    book.apply_update([("buy", "9.7", "1"), ("buy", "9.7", "0"), ("buy", "9.6", "0"), ("buy", "9.6", "2")])

    assert book.best_bid == level("9.6", "2")
    assert book.unknown_deletes == 1


@pytest.mark.parametrize("zero", ["0", "0.0", "0.00000000", "0e-8", "0E+5", "-0", "+0.0", ".0"])
def test_zero_in_any_writing_removes(book: OrderBook, zero: str) -> None:
    book.apply_update([("buy", "9.5", zero), ("sell", "10.1", zero)])

    assert (book.best_bid, book.best_ask) == (level("9.4", "1"), level("10.5", "4"))
    assert book.unknown_deletes == 0


@pytest.mark.parametrize("price", ["9.5", "9.50000000", "09.5", "95e-1", "+9.5"])
def test_a_price_is_the_same_in_any_writing(book: OrderBook, price: str) -> None:
    book.apply_update([("bid", price, "8")])

    assert book.bids(2) == (level("9.5", "8"), level("9.4", "1"))


def test_removing_what_is_not_there_is_counted_on_the_side_where_it_is_not(book: OrderBook) -> None:
    book.apply_update([("sell", "9.5", "0"), ("buy", "10.1", "0.00"), ("buy", "9.45", "0")])

    assert book.unknown_deletes == 3
    assert book.bids() == (level("9.5", "2"), level("9.4", "1"), level("9.1", "3"))
    assert book.asks() == (level("10.1", "3"), level("10.5", "4"))


@pytest.mark.parametrize(("bid", "ask"), [("buy", "sell"), ("bid", "offer"), ("BUY", "SELL"), ("bid", "ask")])
def test_both_feeds_words_for_the_sides_are_understood(bid: str, ask: str) -> None:
    book = OrderBook()
    book.apply_update([(bid, "1", "2"), (ask, "3", "4")])

    assert (book.best_bid, book.best_ask) == (level("1", "2"), level("3", "4"))


def test_a_feed_may_have_words_of_its_own() -> None:
    book = OrderBook({"B": "bid", "S": "ask"})
    book.apply_update([("B", "1", "2"), ("S", "3", "4")])

    assert (book.best_bid, book.best_ask) == (level("1", "2"), level("3", "4"))
    with pytest.raises(ValueError, match="no side of a book: 'buy'"):
        book.apply_update([("buy", "1", "2")])


def test_numbers_are_exact_whatever_the_thread_s_context() -> None:
    long = "0.1234567890123456789012345678901234567890"
    with decimal.localcontext(prec=3):
        book = book_of([(long, long)], [(long + "1", long)])

        assert [str(number) for number in (*book.bids()[0], *book.asks()[0])] == [long, long, long + "1", long]
        assert not book.is_crossed


def test_prices_of_any_size_stand_side_by_side() -> None:
    book = book_of([("1e-300", "1"), ("138991023.41", "2")], [("1e300", "1"), ("138991023.42", "2")])

    assert book.best_bid == level("138991023.41", "2")
    assert book.best_ask == level("138991023.42", "2")


@pytest.mark.parametrize(
    ("bid", "ask", "crossed"),
    [("1", "2", False), ("1.99999999", "2", False), ("2.0", "2", True), ("2.1", "2", True)],
)
def test_a_bid_as_high_as_an_ask_is_a_crossed_book(bid: str, ask: str, *, crossed: bool) -> None:
    assert book_of([(bid, "1")], [(ask, "1")]).is_crossed is crossed


def test_one_side_alone_is_not_crossed() -> None:
    assert not book_of([("1", "1")], []).is_crossed
    assert not book_of([], [("1", "1")]).is_crossed


def test_top_is_as_many_levels_as_there_are(book: OrderBook) -> None:
    assert book.top(2) == ((level("9.5", "2"), level("9.4", "1")), (level("10.1", "3"), level("10.5", "4")))
    assert book.top(99) == (book.bids(), book.asks())
    assert book.top(0) == ((), ())


def test_clear_removes_everything(book: OrderBook) -> None:
    book.apply_update([("buy", "1", "0")])
    book.clear()

    assert state(book) == ((), (), 0)


NO_LEVELS: list[Any] = [
    ("", "1"),
    ("abc", "1"),
    ("NaN", "1"),
    ("sNaN", "1"),
    ("Infinity", "1"),
    ("1", "-Infinity"),
    ("1", "NaN"),
    ("1", "-0.1"),
    ("1", ""),
    ("1",),
    ("1", "2", "3"),
    (1.5, "1"),
    ("1", 0.5),
    (None, "1"),
    None,
]


@pytest.mark.parametrize("wrong", NO_LEVELS, ids=repr)
def test_what_is_no_level_is_refused_and_nothing_is_applied(book: OrderBook, wrong: Any) -> None:
    levels: list[Any] = [("1", "1"), wrong]
    before = state(book)
    change: Any = None if wrong is None else ("sell", *wrong)

    with pytest.raises((ValueError, TypeError)):
        book.apply_snapshot([("1", "1")], levels)
    with pytest.raises((ValueError, TypeError)):
        book.apply_snapshot(levels, [("2", "1")])
    with pytest.raises((ValueError, TypeError)):
        book.apply_update([("buy", "9.5", "0"), change])

    assert state(book) == before


@pytest.mark.parametrize("side", ["", "unknown", "Buy", None])
def test_an_unknown_side_is_refused_and_nothing_is_applied(book: OrderBook, side: Any) -> None:
    before = state(book)

    with pytest.raises(ValueError, match="no side of a book"):
        book.apply_update([("buy", "9.5", "0"), (side, "1", "1")])

    assert state(book) == before


def test_what_is_wrong_is_said_even_where_the_thread_ignores_invalid_operations() -> None:
    with decimal.localcontext() as context:
        context.traps[decimal.InvalidOperation] = False
        with pytest.raises(ValueError, match="no number: 'abc'"):
            book_of([("abc", "1")], [])


# Laws.

PRICES = st.decimals(min_value="0.01", max_value="0.20", places=2)
SIZES = st.one_of(st.just(Decimal(0)), st.decimals(min_value=0, max_value=3, places=1))


@st.composite
def written(draw: st.DrawFn, numbers: st.SearchStrategy[Decimal]) -> str:
    """A number in one of the writings of it."""
    number = draw(numbers)
    return draw(st.sampled_from([str(number), f"{number:.8f}", f"{number:e}", f"{number.normalize():f}"]))


LEVELS = st.lists(st.tuples(written(PRICES), written(SIZES)), max_size=12)
CHANGES = st.lists(st.tuples(st.sampled_from(["buy", "sell"]), written(PRICES), written(SIZES)), max_size=12)
STEPS = st.lists(st.one_of(st.tuples(LEVELS, LEVELS), CHANGES), max_size=20)


class Model:
    """The definition of a book: a dict for each side."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, Decimal]] = {"buy": {}, "sell": {}}
        self.unknown_deletes = 0

    def write(self, side: str, price: str, size: str) -> None:
        levels = self.sides[side]
        if Decimal(size) != 0:
            levels[Decimal(price)] = Decimal(size)
        elif levels.pop(Decimal(price), None) is None:
            self.unknown_deletes += 1

    def replace(self, bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> None:
        self.sides = {"buy": {}, "sell": {}}
        for side, levels in (("buy", bids), ("sell", asks)):
            for price, size in levels:
                self.write(side, price, size)
        self.unknown_deletes = 0


def follow(steps: list[Any]) -> tuple[OrderBook, Model]:
    book, model = OrderBook(), Model()
    for step in steps:
        if isinstance(step, tuple):
            book.apply_snapshot(*step)
            model.replace(*step)
        else:
            book.apply_update(step)
            for change in step:
                model.write(*change)
    return book, model


@given(STEPS, st.integers(0, 25))
def test_a_book_is_two_dicts_in_order(steps: list[Any], most: int) -> None:
    book, model = follow(steps)
    bids, asks = (sorted(model.sides[side].items()) for side in ("buy", "sell"))
    bids.reverse()

    assert book.bids() == tuple(bids)
    assert book.asks() == tuple(asks)
    assert book.top(most) == (tuple(bids[:most]), tuple(asks[:most]))
    assert book.unknown_deletes == model.unknown_deletes


@given(STEPS)
def test_the_best_are_the_highest_bid_and_the_lowest_ask(steps: list[Any]) -> None:
    book, model = follow(steps)
    highest, lowest = max(model.sides["buy"], default=None), min(model.sides["sell"], default=None)

    assert (book.best_bid and book.best_bid.price) == highest
    assert (book.best_ask and book.best_ask.price) == lowest
    assert book.is_crossed == (highest is not None and lowest is not None and highest >= lowest)


@given(STEPS, LEVELS, LEVELS)
def test_a_snapshot_is_an_update_of_all_its_levels_to_an_empty_book(
    steps: list[Any], bids: list[tuple[str, str]], asks: list[tuple[str, str]]
) -> None:
    book, _ = follow(steps)
    book.apply_snapshot(bids, asks)
    updated = OrderBook()
    updated.apply_update([("buy", *level) for level in bids] + [("sell", *level) for level in asks])

    assert (book.bids(), book.asks()) == (updated.bids(), updated.asks())


@given(STEPS)
def test_a_repeated_snapshot_changes_nothing_and_neither_does_one_of_the_book_itself(steps: list[Any]) -> None:
    book, _ = follow(steps)
    before = book.bids(), book.asks()
    own = [[(str(price), str(size)) for price, size in levels] for levels in before]

    book.apply_snapshot(*own)
    once = state(book)
    book.apply_snapshot(*own)

    assert once == state(book) == (*before, 0)


@given(STEPS, CHANGES)
def test_a_repeated_update_changes_nothing(steps: list[Any], changes: list[tuple[str, str, str]]) -> None:
    book, _ = follow(steps)
    book.apply_update(changes)
    once = book.bids(), book.asks()
    book.apply_update(changes)

    assert once == (book.bids(), book.asks())
