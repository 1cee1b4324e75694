"""`order_books` and silence, and its laws, on virtual time."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.recorded import Recorded

from operators import OrderBook, order_books
from operators.book_view import BookReset
from tests.operators.book_support import (
    Message,
    Snapshot,
    Trouble,
    Update,
    View,
    bid,
    brief,
    brief_trouble,
    snapshot,
)
from tests.operators.support import CountingScheduler

on_next, on_completed = ReactiveTest.on_next, ReactiveTest.on_completed

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Log:
    """What was told, of views and troubles, as (time, words)."""

    def __init__(self, clock: TestScheduler, source: Observable[Message], **parameters: Any) -> None:
        self.entries: list[tuple[float, str]] = []
        self.ends: list[object] = []
        self._clock = clock
        source.pipe(order_books(scheduler=clock, troubled=self._troubled, **parameters)).subscribe(
            self._viewed, self.ends.append, lambda: self.ends.append("completed")
        )

    def _troubled(self, trouble: Trouble) -> None:
        self.entries.append((self._clock.clock, f"({brief_trouble(trouble)})"))

    def _viewed(self, view: View) -> None:
        self.entries.append((self._clock.clock, brief(view)))


def log_of(clock: TestScheduler, *messages: Recorded[Message], until: float = 1000, **parameters: Any) -> Log:
    log = Log(clock, clock.create_hot_observable(*messages), **parameters)
    clock.advance_to(until)
    return log


def said(time: int, message: Message) -> Recorded[Message]:
    return on_next(time, message)


def test_a_silent_book_is_shown_stale_once_and_told_of_again_and_again(clock: TestScheduler) -> None:
    log = log_of(clock, said(10, snapshot()), said(40, bid("8")), said(260, bid("7")), until=330, stale_after=50)

    assert log.entries == [
        (10, "A 9/11"),
        (90, "(A stale)"),
        (90, "A 9/11 stale"),
        (140, "(A stale)"),
        (190, "(A stale)"),
        (240, "(A stale)"),
        (260, "A 9/11"),
        (310, "(A stale)"),
        (310, "A 9/11 stale"),
    ]


def test_books_are_stale_each_in_its_own_time_by_one_timer() -> None:
    clock = CountingScheduler()
    log = log_of(
        clock,
        said(10, snapshot("A")),
        said(20, snapshot("B")),
        said(30, snapshot("C")),
        said(50, bid("8", product="A")),
        until=120,
        stale_after=60,
    )

    assert log.entries[3:] == [
        (80, "(B stale)"),
        (80, "B 9/11 stale"),
        (90, "(C stale)"),
        (90, "C 9/11 stale"),
        (110, "(A stale)"),
        (110, "A 9/11 stale"),
    ]
    assert clock.most_pending == 1


def test_a_steady_book_costs_no_timer_a_message() -> None:
    clock = CountingScheduler()
    messages = [said(time, bid("8", str(time))) for time in range(11, 900)]

    log = log_of(clock, said(10, snapshot()), *messages, until=920, stale_after=50)

    assert log.entries == [(10, "A 9/11")]
    assert clock.timers <= 2 + 900 / 49


def test_a_snapshot_that_does_not_come_after_a_reset_is_told_of(clock: TestScheduler) -> None:
    log = log_of(
        clock,
        said(10, snapshot()),
        said(30, BookReset()),
        said(60, bid("9.5")),
        said(100, snapshot()),
        until=140,
        stale_after=50,
    )

    assert log.entries == [
        (10, "A 9/11"),
        (30, "A -/- reset"),
        (80, "(A stale)"),
        (80, "A -/- reset stale"),
        (100, "A 9/11"),
    ]


@pytest.mark.parametrize("first", [bid("9.5"), BookReset("A"), snapshot(bid="abc")], ids=str)
def test_a_first_snapshot_that_does_not_come_is_told_of(clock: TestScheduler, first: Message) -> None:
    log = log_of(clock, said(10, first), said(40, bid("9")), until=70, stale_after=50)

    assert [entry for entry in log.entries if "malformed" not in entry[1]] == [
        (60, "(A stale)"),
        (60, "A -/- reset stale"),
    ]


def test_a_reset_begins_the_wait_anew_and_shows_a_stale_book_fresh(clock: TestScheduler) -> None:
    resets = [said(time, BookReset()) for time in (70, 100, 170)]

    log = log_of(clock, said(10, snapshot()), *resets, until=219, stale_after=50)

    assert log.entries == [
        (10, "A 9/11"),
        (60, "(A stale)"),
        (60, "A 9/11 stale"),
        (70, "A -/- reset"),
        (150, "(A stale)"),
        (150, "A -/- reset stale"),
        (170, "A -/- reset"),
    ]


def test_a_stale_book_that_is_malformed_is_told_of_by_both(clock: TestScheduler) -> None:
    log = log_of(clock, said(10, snapshot()), said(70, bid("abc")), until=90, stale_after=50)

    assert log.entries[2:] == [(60, "A 9/11 stale"), (70, "(A malformed)"), (70, "A -/- reset")]


def test_a_forgotten_book_is_never_stale(clock: TestScheduler) -> None:
    log = log_of(clock, said(10, snapshot("A")), said(20, snapshot("B")), until=71, stale_after=50, most_products=1)

    assert log.entries == [
        (10, "A 9/11"),
        (20, "(A forgotten)"),
        (20, "A -/- reset"),
        (20, "B 9/11"),
        (70, "(B stale)"),
        (70, "B 9/11 stale"),
    ]


def test_time_that_the_subscriber_takes_is_no_silence(clock: TestScheduler) -> None:
    source, got = Subject[Message](), list[tuple[float, str]]()
    troubles: list[float] = []

    def on_view(view: View) -> None:
        got.append((clock.clock, brief(view)))
        if not view.stale:
            clock.advance_by(120)
            assert troubles == []

    source.pipe(
        order_books(stale_after=50, scheduler=clock, troubled=lambda _: troubles.append(clock.clock))
    ).subscribe(on_view)
    source.on_next(snapshot("A"))
    source.on_next(snapshot("B"))
    clock.advance_by(30)
    source.on_next(bid("9.5", product="B"))
    clock.advance_by(19)
    assert troubles == []
    clock.advance_by(1)
    assert troubles == [410]  # A said nothing for 30 + 20, while the source could have spoken
    clock.advance_by(30)

    assert got == [(0, "A 9/11"), (120, "B 9/11"), (270, "B 9.5/11"), (410, "A 9/11 stale"), (440, "B 9.5/11 stale")]


def test_time_that_the_telling_of_troubles_takes_is_no_silence_either(clock: TestScheduler) -> None:
    source, troubles = Subject[Message](), list[float]()

    def troubled(_trouble: Trouble) -> None:
        troubles.append(clock.clock)
        clock.advance_by(500)

    source.pipe(order_books(stale_after=50, scheduler=clock, troubled=troubled)).subscribe()
    source.on_next(snapshot(bid="12"))
    clock.advance_by(49)
    assert troubles == [0]
    clock.advance_by(1)

    assert troubles == [0, 550]


# Laws.

NUMBERS = st.sampled_from(["1", "2", "3", "4.0", "4", "5"])
SIZES = st.sampled_from(["0", "0.00", "1", "1.0", "2"])
PRODUCTS = st.sampled_from("ABC")
MESSAGES: st.SearchStrategy[Message] = st.one_of(
    st.builds(
        Snapshot,
        PRODUCTS,
        st.lists(st.tuples(NUMBERS, SIZES), max_size=3),
        st.lists(st.tuples(NUMBERS, SIZES), max_size=3),
    ),
    st.builds(Update, PRODUCTS, st.lists(st.tuples(st.sampled_from(["buy", "sell"]), NUMBERS, SIZES), max_size=3)),
    st.builds(Update, PRODUCTS, st.lists(st.tuples(st.sampled_from(["buy", "sell"]), NUMBERS, SIZES), max_size=3)),
    st.builds(BookReset, st.one_of(st.none(), PRODUCTS)),
)


def expected(messages: list[Message]) -> tuple[list[tuple[str, Message, Any]], list[Message]]:
    """Of each message, every (product, message, book), and the updates that are ignored; by the definition."""
    books: dict[str, OrderBook] = {}
    views: list[tuple[str, Message, Any]] = []
    ignored: list[Message] = []
    for message in messages:
        if isinstance(message, BookReset):
            gone = [name for name in books if message.product_id in {None, name}]
            for name in gone:
                del books[name]
                views.append((name, message, None))
            continue
        if isinstance(message, Snapshot):
            books.setdefault(message.product_id, OrderBook()).apply_snapshot(message.bids, message.asks)
        elif message.product_id in books:
            books[message.product_id].apply_update(message.changes)
        else:
            ignored.append(message)
            continue
        book = books[message.product_id]
        views.append((message.product_id, message, (book.top(2), book.is_crossed, book.unknown_deletes)))
    return views, ignored


def by_product(views: list[tuple[str, Message, Any]]) -> dict[str, list[tuple[Message, Any]]]:
    return {name: [view[1:] for view in views if view[0] == name] for name in {view[0] for view in views}}


def seen(view: View) -> tuple[str, Message, Any]:
    assert view.message is not None
    shown = (view.bids, view.asks), view.crossed, view.unknown_deletes
    return view.product, view.message, None if view.reset else shown


@given(st.lists(MESSAGES, max_size=30))
def test_every_message_makes_the_view_that_an_order_book_makes_of_it_or_is_ignored(messages: list[Message]) -> None:
    source, views, ignored = Subject[Message](), list[View](), list[Message]()
    source.pipe(order_books(top=2, emit="every", ignored=ignored.append, scheduler=TestScheduler())).subscribe(
        views.append
    )
    for message in messages:
        source.on_next(message)

    of_products, of_ignored = expected(messages)
    assert by_product([seen(view) for view in views]) == by_product(of_products)
    assert ignored == of_ignored
    # The views of one message may be of several products, in whatever order; but messages keep theirs.
    positions = [next(at for at, message in enumerate(messages) if message is view.message) for view in views]
    assert positions == sorted(positions)


@given(st.lists(MESSAGES, max_size=30))
def test_best_changes_are_all_views_but_those_that_repeat_the_best(messages: list[Message]) -> None:
    source, every, changes = Subject[Message](), list[View](), list[View]()
    source.pipe(order_books(emit="every", scheduler=TestScheduler())).subscribe(every.append)
    source.pipe(order_books(scheduler=TestScheduler())).subscribe(changes.append)
    for message in messages:
        source.on_next(message)

    last: dict[str, object] = {}
    different: list[View] = []
    for view in every:
        state = view.best_bid, view.best_ask, view.crossed, view.reset
        if last.get(view.product) != state:
            different.append(view)
        last[view.product] = state
    assert [(view.product, view.message, view.bids, view.asks) for view in changes] == [
        (view.product, view.message, view.bids, view.asks) for view in different
    ]


@unhurried
@given(
    gaps=st.lists(st.tuples(st.integers(1, 60), PRODUCTS), max_size=40),
    seconds=st.integers(1, 80),
    rest=st.integers(1, 200),
)
def test_a_book_is_told_stale_whenever_it_was_silent_for_so_long(
    gaps: list[tuple[int, str]], seconds: int, rest: int
) -> None:
    clock = CountingScheduler()
    messages: list[Recorded[Any]] = []
    times: dict[str, list[int]] = {}
    now = 0
    for gap, product in gaps:
        now += gap
        messages.append(said(now, snapshot(product)))
        times.setdefault(product, []).append(now)
    end = now + rest
    log = Log(clock, clock.create_hot_observable(*messages, on_completed(end)), stale_after=seconds)

    clock.advance_to(end + 1000)

    def silent(touched: list[int]) -> list[int]:
        spans = zip(touched, [*touched[1:], end], strict=True)
        return [ring for start, stop in spans for ring in range(start + seconds, stop + 1, seconds)]

    for product, touched in times.items():
        told = [at for at, words in log.entries if words == f"({product} stale)"]
        may = set(silent(touched))
        # What happens at the very moment at which a silence would be too long may be told of before or after it.
        must = may - {*touched, end}
        assert must <= set(told) <= may
        assert len(told) == len(set(told))
    assert log.ends == ["completed"]
    assert clock.most_pending <= 1
    assert clock.last_ring <= end
