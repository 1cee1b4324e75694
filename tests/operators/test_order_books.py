from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops
from reactivex.scheduler import EventLoopScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler
from reactivex.testing.recorded import Recorded

from operators import OrderBook, order_books
from operators.book_view import BookReset, BookView
from operators.order_book import Level
from tests.operators.book_support import (
    Message,
    Snapshot,
    Trouble,
    Update,
    View,
    ask,
    bid,
    brief,
    brief_trouble,
    snapshot,
)
from tests.operators.support import CountingScheduler, Subscriber

on_next, on_error, on_completed, subscribe = (
    ReactiveTest.on_next,
    ReactiveTest.on_error,
    ReactiveTest.on_completed,
    ReactiveTest.subscribe,
)


def said(time: int, message: Message) -> Recorded[Message]:
    return on_next(time, message)


def briefly(source: Observable[Message], **parameters: Any) -> Observable[str]:
    return source.pipe(order_books(**parameters), ops.map(brief))


def views_of(*messages: Message, **parameters: Any) -> list[View]:
    views: list[View] = []
    errors: list[Exception] = []
    reactivex.from_iterable(messages).pipe(order_books(scheduler=TestScheduler(), **parameters)).subscribe(
        views.append, errors.append
    )
    if errors:
        raise errors[0]
    return views


def briefs_of(*messages: Message, **parameters: Any) -> list[str]:
    return [brief(view) for view in views_of(*messages, **parameters)]


def test_the_diagram_is_true() -> None:
    clock, ignored, troubles = CountingScheduler(), list[Message](), list[tuple[float, str]]()
    late = bid("9.9")
    source = clock.create_hot_observable(
        said(210, snapshot()),
        said(214, bid("9.5")),
        said(218, bid("8")),
        said(222, bid("9.6")),
        said(226, BookReset("A", "disconnected")),
        said(230, late),
        said(234, snapshot(bid="10")),
        on_completed(247),
    )

    result = clock.start(
        lambda: briefly(
            source,
            stale_after=9,
            scheduler=clock,
            ignored=ignored.append,
            troubled=lambda trouble: troubles.append((clock.clock, brief_trouble(trouble))),
        )
    )

    assert result.messages == [
        on_next(210, "A 9/11"),
        on_next(214, "A 9.5/11"),
        on_next(222, "A 9.6/11"),
        on_next(226, "A -/- reset"),
        on_next(234, "A 10/11"),
        on_next(243, "A 10/11 stale"),
        on_completed(247),
    ]
    assert ignored == [late]
    assert troubles == [(243, "A stale")]
    assert source.subscriptions == [subscribe(200, 247)]
    assert clock.most_pending == 1
    assert clock.last_ring <= 247


def test_a_view_has_the_book_at_its_moment_and_the_message_that_made_it(clock: TestScheduler) -> None:
    first = Snapshot("ETH-USD", [("9.4", "1"), ("9.5", "2.50"), ("9", "1")], [("10.1", "3"), ("11", "1"), ("12", "1")])
    second = Update("ETH-USD", [("buy", "9.5", "0.00"), ("sell", "77", "0"), ("offer", "10.0", "0.25")])
    source = clock.create_hot_observable(said(210, first), said(220, second))

    result = clock.start(lambda: source.pipe(order_books(top=2, scheduler=clock)))

    def level(price: str, size: str) -> Level:
        return Level(Decimal(price), Decimal(size))

    before = BookView[Message](
        product="ETH-USD",
        bids=(level("9.5", "2.5"), level("9.4", "1")),
        asks=(level("10.1", "3"), level("11", "1")),
        time=clock.to_datetime(210.0),
        message=first,
    )
    after = BookView[Message](
        product="ETH-USD",
        bids=(level("9.4", "1"), level("9", "1")),
        asks=(level("10", "0.25"), level("10.1", "3")),
        time=clock.to_datetime(220.0),
        message=second,
        unknown_deletes=1,
    )
    assert result.messages == [on_next(210, before), on_next(220, after)]
    assert (before.best_bid, before.best_ask) == (level("9.5", "2.5"), level("10.1", "3"))
    with pytest.raises(AttributeError):
        before.stale = True  # pyright: ignore[reportAttributeAccessIssue] that is the point


@pytest.mark.parametrize(
    ("message", "seen"),
    [
        (bid("9.5"), True),
        (ask("10.5"), True),
        (bid("9", "2"), True),
        (bid("9", "0"), True),
        (bid("9.0", "1.00"), False),
        (bid("8"), False),
        (ask("12"), False),
        (ask("77", "0"), False),
        (Update("A", []), False),
        (Update("A", [("buy", "9.5", "1"), ("buy", "9.5", "0")]), False),
        (snapshot(), False),
        (Snapshot("A", [("9", "1"), ("8", "1")], [("11", "1")]), False),
        (snapshot(ask="12"), True),
    ],
    ids=str,
)
def test_of_what_does_not_change_the_best_a_view_is_emitted_only_if_every_one_is(
    message: Message, *, seen: bool
) -> None:
    assert len(views_of(snapshot(), message)) == 1 + seen
    assert len(views_of(snapshot(), message, emit="every")) == 2


def test_a_change_beyond_the_best_is_seen_in_the_next_view() -> None:
    assert [level.price for level in views_of(snapshot(), bid("8"), ask("10.5"))[-1].bids] == [9, 8]


def test_books_of_products_are_apart() -> None:
    got = briefs_of(snapshot("A"), snapshot("B", "1", "2"), bid("9.5", product="A"), ask("1.5", product="B"))

    assert got == ["A 9/11", "B 1/2", "A 9.5/11", "B 1/1.5"]


def test_a_feed_may_have_words_of_its_own_for_the_sides() -> None:
    got = briefs_of(snapshot(), Update("A", [("B", "9.5", "1"), ("S", "10", "1")]), sides={"B": "bid", "S": "ask"})

    assert got == ["A 9/11", "A 9.5/10"]


# Updates without a book, and books that begin anew.


def test_an_update_before_the_snapshot_is_ignored() -> None:
    ignored: list[Message] = []

    assert briefs_of(bid("9.5"), snapshot(), bid("9.4", product="B"), ignored=ignored.append) == ["A 9/11"]
    assert ignored == [bid("9.5"), bid("9.4", product="B")]


def test_a_reset_is_seen_once_and_the_book_begins_with_the_next_snapshot() -> None:
    ignored: list[Message] = []
    reset = BookReset("A", "sequence 17 after 15")

    views = views_of(snapshot(), reset, reset, bid("9.5"), snapshot(ask="12"), ignored=ignored.append, emit="every")

    assert [brief(view) for view in views] == ["A 9/11", "A -/- reset", "A 9/12"]
    assert views[1] == replace(views[1], bids=(), asks=(), message=reset, unknown_deletes=0)
    assert ignored == [bid("9.5")]


def test_after_a_reset_the_same_book_is_seen_again() -> None:
    assert briefs_of(snapshot(), BookReset("A"), snapshot()) == ["A 9/11", "A -/- reset", "A 9/11"]


def test_a_reset_of_no_product_in_particular_is_one_of_all() -> None:
    got = briefs_of(snapshot("A"), snapshot("B"), BookReset("B"), BookReset(), snapshot("B"), bid("9.5", product="A"))

    assert got == ["A 9/11", "B 9/11", "B -/- reset", "A -/- reset", "B 9/11"]


def test_an_empty_book_is_not_one_that_waits() -> None:
    assert briefs_of(Snapshot("A", [], []), bid("9"), bid("9", "0")) == ["A -/-", "A 9/-", "A -/-"]


def test_a_message_of_no_known_shape_is_an_error_after_what_was_seen(clock: TestScheduler) -> None:
    wrong: Any = "heartbeat"
    source = clock.create_hot_observable(said(210, snapshot()), said(220, wrong), said(230, bid("9.5")))

    result = clock.start(lambda: briefly(source, scheduler=clock))

    failure = TypeError("neither a snapshot nor an update nor a reset of a book: str")
    assert result.messages == [on_next(210, "A 9/11"), on_error(220, failure)]
    assert source.subscriptions == [subscribe(200, 220)]


# Trouble.


def test_a_crossed_book_is_told_of_once_each_time() -> None:
    order: list[str] = []
    messages = [snapshot(), bid("11"), bid("12"), bid("8"), ask("12.5"), bid("12", "0"), bid("11", "0"), ask("8.5")]
    reactivex.from_iterable(messages).pipe(
        order_books(scheduler=TestScheduler(), troubled=lambda trouble: order.append(f"({brief_trouble(trouble)})"))
    ).subscribe(lambda view: order.append(brief(view)))

    assert order == [
        "A 9/11",
        "(A crossed)",
        "A 11/11 crossed",
        "A 12/11 crossed",
        "A 11/11 crossed",
        "A 9/11",
        "(A crossed)",
        "A 9/8.5 crossed",
    ]


def test_a_snapshot_may_be_crossed_and_the_next_may_not() -> None:
    troubles: list[Trouble] = []
    crossed = snapshot(bid="12")

    assert briefs_of(crossed, snapshot(), troubled=troubles.append) == ["A 12/11 crossed", "A 9/11"]
    assert [(trouble.kind, trouble.product, trouble.message, trouble.error) for trouble in troubles] == [
        ("crossed", "A", crossed, None)
    ]


def test_a_book_that_is_crossed_again_after_a_reset_is_told_of_again() -> None:
    troubles: list[Trouble] = []
    views_of(snapshot(bid="12"), BookReset(), snapshot(bid="12"), snapshot(bid="12"), troubled=troubles.append)

    assert [trouble.kind for trouble in troubles] == ["crossed", "crossed"]


@pytest.mark.parametrize(
    "malformed",
    [
        bid("abc"),
        Update("A", [("buy", "9.9", "1"), ("unknown", "9", "1")]),
        Snapshot("A", [("10", "1")], [("12", "-1")]),
        Update("A", None),  # pyright: ignore[reportArgumentType] wrong on purpose
    ],
    ids=str,
)
def test_a_book_whose_message_cannot_be_read_waits_for_a_snapshot(malformed: Message) -> None:
    troubles: list[Trouble] = []
    ignored: list[Message] = []
    messages = [snapshot(), malformed, bid("9.5"), snapshot()]

    views = views_of(*messages, snapshot("B"), troubled=troubles.append, ignored=ignored.append)

    assert [brief(view) for view in views] == ["A 9/11", "A -/- reset", "A 9/11", "B 9/11"]
    assert views[1].message is malformed
    assert [(trouble.kind, trouble.product, trouble.message) for trouble in troubles] == [("malformed", "A", malformed)]
    assert isinstance(troubles[0].error, ValueError | TypeError)
    assert ignored == [bid("9.5")]


def test_a_first_snapshot_that_cannot_be_read_is_told_of_and_makes_no_view() -> None:
    troubles: list[Trouble] = []

    assert briefs_of(snapshot(bid="abc"), snapshot(ask="12"), troubled=troubles.append) == ["A 9/12"]
    assert [brief_trouble(trouble) for trouble in troubles] == ["A malformed"]


def test_without_somebody_to_tell_a_message_that_cannot_be_read_is_an_error(clock: TestScheduler) -> None:
    source = clock.create_hot_observable(said(210, snapshot()), said(220, bid("abc")), said(230, bid("9.5")))

    result = clock.start(lambda: briefly(source, scheduler=clock))

    assert result.messages == [on_next(210, "A 9/11"), on_error(220, ValueError("no number: 'abc'"))]
    assert source.subscriptions == [subscribe(200, 220)]


def test_the_book_not_touched_for_the_longest_gives_way_and_is_told_of() -> None:
    troubles: list[Trouble] = []
    ignored: list[Message] = []
    messages = [snapshot("A"), snapshot("B"), bid("9.5"), snapshot("C"), bid("9.5", product="B"), ask("10")]

    views = views_of(*messages, most_products=2, troubled=troubles.append, ignored=ignored.append)

    assert [brief(view) for view in views] == ["A 9/11", "B 9/11", "A 9.5/11", "B -/- reset", "C 9/11", "A 9.5/10"]
    assert views[3].message is None
    assert [brief_trouble(trouble) for trouble in troubles] == ["B forgotten"]
    assert ignored == [bid("9.5", product="B")]


def test_only_a_snapshot_makes_a_book_give_way() -> None:
    troubles: list[Trouble] = []
    messages = [snapshot("A"), bid("9", product="B"), BookReset("C"), snapshot("D", bid="abc"), bid("9.5")]

    got = briefs_of(*messages, most_products=1, stale_after=50, troubled=troubles.append)

    assert got == ["A 9/11", "A 9.5/11"]
    assert [brief_trouble(trouble) for trouble in troubles] == ["D malformed"]


@pytest.mark.parametrize("callback", ["troubled", "ignored"])
def test_what_a_callback_raises_is_an_error_after_what_was_seen(clock: TestScheduler, callback: str) -> None:
    refused = OSError("refused")

    def refuse(_: object) -> None:
        raise refused

    wrong = ask("8") if callback == "troubled" else ask("8", product="B")
    source = clock.create_hot_observable(said(210, snapshot()), said(220, wrong), said(230, bid("9.5")))

    result = clock.start(lambda: briefly(source, scheduler=clock, **{callback: refuse}))

    assert result.messages == [on_next(210, "A 9/11"), on_error(220, refused)]
    assert source.subscriptions == [subscribe(200, 220)]


# The contract of every operator.


@pytest.mark.parametrize("end", [on_completed(230), on_error(230, OSError("lost"))], ids=["completion", "error"])
def test_an_end_passes_and_ends_the_timer(end: Recorded[Any]) -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(said(210, snapshot()), end)

    result = clock.start(lambda: briefly(source, stale_after=50, scheduler=clock))

    assert result.messages == [on_next(210, "A 9/11"), end]
    assert source.subscriptions == [subscribe(200, 230)]
    assert clock.last_ring == 0


def test_disposing_ends_the_subscription_and_the_timer() -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(said(210, snapshot()), said(250, bid("9.5")))

    result = clock.start(lambda: briefly(source, stale_after=50, scheduler=clock), disposed=240)

    assert result.messages == [on_next(210, "A 9/11")]
    assert source.subscriptions == [subscribe(200, 240)]
    assert clock.last_ring == 0


def test_without_stale_after_there_is_no_timer() -> None:
    clock = CountingScheduler()
    source = clock.create_hot_observable(said(210, snapshot()), said(900, bid("9.5")))

    result = clock.start(lambda: briefly(source, scheduler=clock))

    assert result.messages == [on_next(210, "A 9/11"), on_next(900, "A 9.5/11")]
    assert clock.timers == 0


def test_each_subscription_has_books_of_its_own(clock: TestScheduler) -> None:
    source = Subject[Message]()
    books = briefly(source, scheduler=clock)
    early, late = Subscriber[str](), Subscriber[str]()
    books.subscribe(early)
    source.on_next(snapshot())
    books.subscribe(late)
    source.on_next(bid("9.5"))
    source.on_next(snapshot(ask="12"))

    assert early.items == ["A 9/11", "A 9.5/11", "A 9/12"]
    assert late.items == ["A 9/12"]


def test_what_the_subscriber_raises_goes_to_its_own_on_error(clock: TestScheduler) -> None:
    failure = ValueError("no display")
    source, ends = Subject[Message](), list[Exception]()

    def on_view(_view: View) -> None:
        raise failure

    source.pipe(order_books(stale_after=50, scheduler=clock)).subscribe(on_view, ends.append)
    source.on_next(snapshot())
    source.on_next(bid("9.5"))
    clock.advance_to(500)

    assert ends == [failure]
    assert source.observers == []


def test_a_message_that_the_subscriber_itself_causes_is_emitted_after_its_call(clock: TestScheduler) -> None:
    source, got, inside = Subject[Message](), list[str](), list[str]()

    def on_view(view: View) -> None:
        assert inside == []
        inside.append(brief(view))
        if view.reset:
            source.on_next(snapshot(ask="12"))
        got.append(inside.pop())

    source.pipe(order_books(stale_after=50, scheduler=clock)).subscribe(on_view)
    source.on_next(snapshot())
    source.on_next(BookReset())
    source.on_next(bid("9.5"))

    assert got == ["A 9/11", "A -/- reset", "A 9/12", "A 9.5/12"]


def test_a_scheduler_that_takes_no_timer_is_an_error() -> None:
    stopped = EventLoopScheduler()
    stopped.dispose()
    source, got = Subject[Message](), Subscriber[str]()
    briefly(source, stale_after=50, scheduler=stopped).subscribe(got)

    source.on_next(snapshot())

    assert got.items == ["A 9/11"]
    assert [type(end).__name__ for end in got.ends] == ["DisposedException"]


@pytest.mark.parametrize("wrong", [{"top": 0}, {"most_products": 0}, {"stale_after": 0}, {"stale_after": -1}])
def test_limits_must_be_positive(clock: TestScheduler, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="positive"):
        order_books(scheduler=clock, **wrong)


def test_emit_must_be_one_of_two(clock: TestScheduler) -> None:
    wrong: Any = "all"
    with pytest.raises(ValueError, match="emit must be 'best-changes' or 'every': 'all'"):
        order_books(emit=wrong, scheduler=clock)


def test_the_book_of_a_view_is_what_an_order_book_makes_of_it() -> None:
    levels = [(f"{price}", "1") for price in range(1, 8)]
    changes = [("buy", "7.5", "1"), ("buy", "3", "0"), ("sell", "8", "2")]
    book = OrderBook()
    book.apply_snapshot(levels, [])
    book.apply_update(changes)

    view = views_of(Snapshot("A", levels, []), Update("A", changes), top=99)[-1]

    assert (view.bids, view.asks) == book.top(99)
