"""What a tracker says is missing, against a plain set of ids."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.backfill import tracker as module
from rxbridge.backfill.state import State, at_rest, awake, decode, encode
from rxbridge.backfill.tracker import LEAP, MOST_HOLES, Tracker

IDS = st.integers(1, 60)
DEEDS = st.lists(
    st.one_of(
        st.tuples(st.just("see"), IDS, IDS),
        st.tuples(st.just("expect"), IDS, IDS),
        st.tuples(st.just("give_up"), IDS, IDS),
        st.tuples(st.just("postpone"), IDS, IDS),
    ),
    max_size=60,
)


class Model:
    """The same with a set: slow, unbounded, and plain to see."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.head = 0
        self.hint: int | None = None
        self.missing: set[int] = set()

    def see(self, one: int, _: int) -> None:
        if self.first is None:
            self._begin(one if self.hint is None else min(one, self.hint))
        self._advance(one)
        self.missing.discard(one)

    def expect(self, one: int, _: int) -> None:
        if self.first is None:
            if self.hint is None or one <= self.hint:
                self.hint = self.hint or one
                return
            self._begin(self.hint)
        self._advance(one)

    def give_up(self, one: int, other: int) -> None:
        self.missing -= set(range(one, other + 1))

    def postpone(self, one: int, other: int) -> None:
        """Changes nothing about what is missing."""

    def _begin(self, first: int) -> None:
        self.first, self.head = first, first - 1

    def _advance(self, one: int) -> None:
        self.missing |= set(range(self.head + 1, one + 1))
        self.head = max(self.head, one)


def carry_out(deeds: Sequence[tuple[str, int, int]]) -> tuple[Tracker, Model]:
    tracker, model = Tracker(), Model()
    for name, one, other in deeds:
        low, high = min(one, other), max(one, other)
        match name:
            case "see":
                tracker.see(one)
                model.see(one, other)
            case "expect":
                tracker.expect(one)
                model.expect(one, other)
            case "give_up":
                tracker.give_up(low, high)
                model.give_up(low, high)
            case _:
                tracker.postpone(low, high, float)
    return tracker, model


@given(DEEDS)
def test_missing_and_there_make_the_whole(deeds: list[tuple[str, int, int]]) -> None:
    tracker, model = carry_out(deeds)

    assert tracker.first == model.first
    assert tracker.missing == len(model.missing)
    assert [one for one in range(1, 62) if tracker.misses(one)] == sorted(model.missing)
    if model.first is not None:
        assert tracker.head == model.head
        assert tracker.floor == min(model.missing, default=model.head + 1) - 1
    there = {one for one in range(model.first or 1, model.head + 1) if not tracker.misses(one)}
    assert len(there) + tracker.missing == max(model.head + 1 - (model.first or model.head + 1), 0)


@given(DEEDS)
def test_holes_are_in_order_apart_and_not_empty(deeds: list[tuple[str, int, int]]) -> None:
    tracker, _ = carry_out(deeds)

    edges = [edge for hole in tracker.holes for edge in (hole.first, hole.last + 1)]
    assert edges == sorted(edges)
    assert all(hole.first <= hole.last for hole in tracker.holes)


@given(DEEDS, IDS, IDS)
def test_pieces_are_what_is_missing(deeds: list[tuple[str, int, int]], one: int, other: int) -> None:
    tracker, model = carry_out(deeds)
    low, high = min(one, other), max(one, other)
    expected = [one for one in range(low, high + 1) if one in model.missing]

    pieces = tracker.missing_in(low, high)
    assert [one for first, last in pieces for one in range(first, last + 1)] == expected
    assert all(end + 1 < begin for (_, end), (begin, _) in pairwise(pieces))
    assert list(tracker.due_ids(low, high, now=float("inf"))) == expected


@given(st.permutations(range(1, 30)), st.sets(IDS), st.lists(st.integers(1, 29), max_size=20))
def test_any_order_with_repeats_and_losses(order: list[int], lost: set[int], repeats: list[int]) -> None:
    tracker = Tracker.after(0)
    for one in [one for one in order + repeats if one not in lost]:
        tracker.see(one)
    head = max((one for one in range(1, 30) if one not in lost), default=0)

    assert tracker.head == head
    assert [one for one in range(1, 30) if tracker.misses(one)] == sorted(lost & set(range(1, head + 1)))

    for one in range(1, head + 1):
        tracker.see(one)
    assert (tracker.missing, tracker.floor) == (0, head)


@given(DEEDS)
def test_a_restart_knows_the_same(deeds: list[tuple[str, int, int]]) -> None:
    tracker, _ = carry_out(deeds)

    state = decode(encode(State(products=at_rest({"BTC-USD": tracker}))))
    assert state is not None
    again = awake(state.products)["BTC-USD"]
    assert (again.first, again.head, again.hint) == (tracker.first, tracker.head, tracker.hint)
    assert again.missing_in(1, 60) == tracker.missing_in(1, 60)


@given(st.lists(IDS, max_size=60))
def test_too_many_holes_become_fewer_and_lose_nothing(ids: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_HOLES", 3)
        tracker, model = Tracker(), Model()
        for one in ids:
            tracker.see(one)
            model.see(one, one)

    # A hole that is cut in two may make one more, for the moment.
    assert len(tracker.holes) <= 3
    assert all(tracker.misses(one) for one in model.missing)
    # What is joined takes in ids that are there: some are fetched again, and the floor may lie below the true one.
    assert (tracker.floor or 0) <= (min(model.missing) - 1 if model.missing else tracker.head or 0)


def test_as_many_holes_as_may_be_are_kept_apart() -> None:
    tracker = Tracker()
    for one in range(0, 2 * MOST_HOLES + 1, 2):
        tracker.see(one + 1)

    assert (len(tracker.holes), tracker.missing) == (MOST_HOLES, MOST_HOLES)


def test_a_first_hint_may_be_older_than_the_subscription() -> None:
    tracker = Tracker()
    tracker.expect(7)
    assert (tracker.first, tracker.missing) == (None, 0)

    tracker.see(7)
    assert (tracker.first, tracker.head, tracker.missing) == (7, 7, 0)


def test_what_comes_after_a_hint_is_not_lost_with_the_first_trades() -> None:
    tracker = Tracker()
    tracker.expect(7)
    tracker.see(10)

    assert tracker.missing_in(1, 20) == [(7, 9)]


def test_a_second_higher_hint_is_proof_enough() -> None:
    tracker = Tracker()
    for hint in (7, 7, 9):
        tracker.expect(hint)

    assert tracker.missing_in(1, 20) == [(7, 9)]


def test_a_single_impossible_id_changes_nothing() -> None:
    tracker = Tracker()
    tracker.see(100)
    tracker.see(101 + LEAP)
    tracker.expect(2**62)
    tracker.see(101)
    tracker.see(103)

    assert tracker.missing_in(1, 2**63) == [(102, 102)]


@pytest.mark.parametrize("learn", [Tracker.see, Tracker.expect])
def test_a_leap_that_the_next_id_agrees_with_is_real(learn: Callable[[Tracker, int], None]) -> None:
    tracker = Tracker()
    tracker.see(1)
    far = 2 * LEAP
    learn(tracker, far)
    assert tracker.head == 1
    tracker.see(far + 1)

    assert tracker.missing_in(1, 2**63) == [(2, far)]


def test_reaching_back_before_and_after_the_first_trade() -> None:
    early, late = Tracker(), Tracker()
    early.reach_back(5, 2 * LEAP)
    early.see(2 * LEAP + 1)
    late.see(10)
    late.reach_back(5, 12)

    assert early.missing_in(1, 2**63) == [(5, 2 * LEAP)]
    assert (late.first, late.head, late.missing_in(1, 20)) == (5, 10, [(5, 9)])


def test_what_is_not_due_is_left_alone() -> None:
    tracker = Tracker()
    tracker.see(1)
    tracker.see(4, due_at=10.0)
    tracker.see(8, due_at=5.0)

    assert tracker.due(4.0, 1000) is None
    assert tracker.due(5.0, 1000) == (5, 7)
    assert tracker.due(10.0, 1000) == (2, 7)
    assert tracker.due(10.0, 5) == (2, 6)
    assert tracker.due(10.0, 2) == (2, 3)


def test_a_hole_is_news_once_in_all_its_parts() -> None:
    tracker = Tracker()
    tracker.see(1)
    tracker.see(10, due_at=1.0)
    assert tracker.news(0.0) == []
    assert tracker.news(1.0) == [(2, 9)]
    tracker.see(5)
    tracker.postpone(7, 8, lambda _: 0.0)

    assert tracker.news(99.0) == []


def test_attempts_count_by_id_and_say_when_to_try_again() -> None:
    tracker = Tracker()
    tracker.see(1)
    tracker.see(10)
    counts: list[int] = []

    def due_at(attempts: int) -> float:
        counts.append(attempts)
        return 10.0 * attempts

    assert tracker.postpone(2, 4, due_at) == 1
    assert tracker.postpone(4, 5, due_at) == 2
    assert counts == [1, 2]
    assert [(hole.first, hole.last, hole.attempts, hole.due_at) for hole in tracker.holes] == [
        (2, 3, 1, 10.0),
        (4, 4, 2, 20.0),
        (5, 5, 1, 20.0),
        (6, 9, 0, 0.0),
    ]
