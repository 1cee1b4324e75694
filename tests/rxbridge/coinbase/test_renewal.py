"""When which order book is begun anew: the plan, in a time of its own."""

from __future__ import annotations

from itertools import pairwise
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase.renewal import (
    AT_ONCE,
    LONGEST_WAIT_SECONDS,
    PAUSE_SECONDS,
    BooksInDoubt,
    RenewalPlan,
)

LINE, OTHER = 1_700_000_000, 1_700_000_001
WAIT = 30.0
BTC, ETH, SOL = "BTC-USD", "ETH-USD", "SOL-USD"


def following(*products: str, every_seconds: float = 0.0) -> RenewalPlan:
    plan = RenewalPlan(LINE, every_seconds, WAIT)
    plan.follow(products, 0.0, 10)
    return plan


def test_turns_are_spread_over_the_interval() -> None:
    plan = following(BTC, ETH, SOL, every_seconds=300.0)
    turns: list[tuple[float, str]] = []
    for _ in range(6):
        now = plan.deadline
        (product,), in_doubt = plan.due(now, 50)
        assert not in_doubt
        turns.append((now, product))
    assert turns == [(100.0, BTC), (200.0, ETH), (300.0, SOL), (400.0, BTC), (500.0, ETH), (600.0, SOL)]


def test_without_an_interval_there_are_no_turns() -> None:
    assert following(BTC).deadline == inf


def test_hundreds_of_books_are_no_burst() -> None:
    plan = following(*map(str, range(400)), every_seconds=10.0)
    times = [plan.deadline]
    for _ in range(5):
        plan.due(times[-1], 50)
        times.append(plan.deadline)
    assert {later - earlier for earlier, later in pairwise(times)} == {PAUSE_SECONDS}


def test_before_a_turn_nothing_is_due() -> None:
    plan = following(BTC, every_seconds=300.0)
    assert plan.due(299.0, 50) == ([], False)
    assert plan.deadline == 300.0


def test_a_book_in_doubt_does_not_wait_for_its_turn() -> None:
    plan = following(BTC, ETH, every_seconds=1000.0)
    plan.hear({(LINE, ETH): 20}, 100.0)
    assert plan.deadline == 100.0
    assert plan.due(100.0, 50) == ([ETH], True)
    assert plan.due(500.0, 60) == ([BTC], False)


def test_a_doubt_from_before_the_beginning_is_settled() -> None:
    plan = following(BTC)
    plan.hear({(LINE, BTC): 20}, 100.0)
    plan.due(100.0, 50)
    assert plan.deadline == inf
    plan.hear({(LINE, BTC): 49}, 200.0)
    assert plan.deadline == inf
    plan.hear({(LINE, BTC): 50}, 200.0)
    assert plan.due(200.0, 70) == ([BTC], True)


def test_a_doubt_of_another_connection_is_none() -> None:
    plan = following(BTC)
    plan.hear({(OTHER, BTC): 20, (OTHER, ""): 20}, 100.0)
    assert plan.deadline == inf


def test_a_book_that_nobody_follows_is_not_begun() -> None:
    plan = following(BTC)
    plan.hear({(LINE, ETH): 20}, 100.0)
    assert plan.deadline == inf
    plan.follow((BTC, ETH), 110.0, 20)
    assert plan.due(plan.deadline, 21) == ([ETH], True)


def test_a_book_that_was_just_begun_is_left_in_peace_and_then_heard() -> None:
    plan = following(BTC)
    plan.hear({(LINE, BTC): 20}, 1.0)
    assert plan.deadline == WAIT
    assert plan.due(1.0, 21) == ([], False)
    assert plan.due(WAIT, 21) == ([BTC], True)


def test_all_books_in_doubt_are_begun_a_few_at_a_time() -> None:
    products = [f"{number}-USD" for number in range(12)]
    plan = following(*products)
    plan.hear({(LINE, ""): 20}, 100.0)
    begun: list[str] = []
    while plan.deadline < inf:
        some, in_doubt = plan.due(plan.deadline, 50)
        assert in_doubt
        assert 1 <= len(some) <= AT_ONCE
        begun += some
    assert begun == products


def test_a_book_that_stays_in_doubt_is_begun_less_and_less_often() -> None:
    plan = following(BTC)
    times: list[float] = []
    for index in range(20, 30):
        plan.hear({(LINE, BTC): index}, times[-1] if times else 0.0)
        times.append(plan.deadline)
        assert plan.due(times[-1], index + 1) == ([BTC], True)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits == [min(WAIT * 2**n, LONGEST_WAIT_SECONDS) for n in range(1, 10)]


def test_a_book_that_has_stood_long_enough_is_heard_soon_again() -> None:
    plan = following(BTC)
    for index, at in ((20, 30.0), (30, 90.0)):
        plan.hear({(LINE, BTC): index}, at)
        plan.due(at, index + 1)
    plan.hear({(LINE, BTC): 40}, 5000.0)
    plan.due(5000.0, 41)
    plan.hear({(LINE, BTC): 50}, 5001.0)
    assert plan.deadline == 5000.0 + WAIT


@given(
    st.lists(st.sampled_from([BTC, ETH, SOL]), min_size=1, unique=True),
    st.lists(st.tuples(st.sampled_from(["", BTC, ETH, SOL]), st.floats(0.1, 100.0)), max_size=20),
)
def test_every_doubt_is_settled_in_the_end(products: list[str], doubts: list[tuple[str, float]]) -> None:
    plan, known, now, index = following(*products), dict[tuple[int, str], int](), 0.0, 10
    begun: dict[str, int] = dict.fromkeys(products, 10)
    last = -inf

    def take() -> None:
        nonlocal last
        some, _ = plan.due(now, index)
        if some:
            assert now >= last + PAUSE_SECONDS
            last = now
        begun.update(dict.fromkeys(some, index))

    for product, seconds in doubts:
        while plan.deadline <= now + seconds:
            now = plan.deadline
            take()
        now, index = now + seconds, index + 1
        known[LINE, product] = index - 1
        plan.hear(known, now)
    while plan.deadline < inf:
        now = plan.deadline
        take()
    for (_, product), doubted_at in known.items():
        for one in products if not product else {product} & set(products):
            assert begun[one] > doubted_at


@pytest.mark.parametrize("doubts", [{}, {(LINE, BTC): 7}])
def test_the_same_books_in_doubt_are_no_news(doubts: dict[tuple[int, str], int]) -> None:
    books = BooksInDoubt(doubts)
    before = books.current
    books.set(dict(doubts))
    assert books.current is before
    books.set({(LINE, ETH): 8})
    assert books.current == {(LINE, ETH): 8}
