from __future__ import annotations

from datetime import timedelta

import pytest
import reactivex
from reactivex import operators as ops

from operators import attempt, conflate, retry_with_backoff
from operators.testing import Subscription, VirtualTime, assert_timeline, quotes, timeline, trade, trades, virtual_time


def test_a_cold_source_starts_anew_for_each_subscription() -> None:
    clock = VirtualTime()
    answers = iter([clock.cold("a-#", error=OSError("lost")), clock.cold("b-|")])
    source = reactivex.defer(lambda _: next(answers))

    run = clock.run(source.pipe(retry_with_backoff(lambda *_: 3, scheduler=clock)))

    assert_timeline(run.timeline, timeline("a----b-|"))
    assert run.source("source").subscriptions == (Subscription(0, 2), Subscription(5, 7))
    assert run.result.subscriptions == (Subscription(0, 7),)


def test_a_hot_source_goes_its_way() -> None:
    clock = VirtualTime()
    source = clock.hot("a-b-c-d-|")

    run = clock.run(source, subscribe=2, dispose=5)

    assert_timeline(run.timeline, timeline("--b-c"))
    assert_timeline(run.source("source").timeline, timeline("a-b-c-d-|"))
    assert run.source("source").subscriptions == (Subscription(2, 5),)
    assert run.source("source").hot


def test_a_place_in_a_chain_can_be_watched() -> None:
    clock = VirtualTime()

    run = clock.run(clock.cold("1-2-3|").pipe(clock.watch("before"), ops.map(str), ops.take(2)), until=9)

    assert run.items == ["1", "2"]
    assert_timeline(run.watched[0].timeline, timeline("1-2"))
    assert run.watched[0].subscriptions == (Subscription(0, 2),)


def test_the_groups_of_a_stream_can_be_watched() -> None:
    clock = VirtualTime()

    run = clock.run(clock.cold("a-b-(a,b)#").pipe(ops.group_by(lambda item: item), clock.watch_groups()))

    assert [lane.name for lane in run.groups] == ["a", "b"]
    assert_timeline(run.groups[1].timeline, timeline("--b-b----#"))


def test_what_a_callback_is_told_is_kept_with_its_time() -> None:
    clock = VirtualTime()
    source, failed = clock.cold("1-x-3|"), clock.told("failed")

    run = clock.run(source.pipe(attempt(lambda item: 10 // item, failed)))

    assert run.items == [10, 3]
    assert run.told_to("failed") == ["x"]
    assert run.told[0].timeline.moments[0].time == 2


def test_time_does_not_move_by_itself_however_much_happens_at_one_moment() -> None:
    clock = VirtualTime()

    run = clock.run(reactivex.from_iterable(range(500)).pipe(ops.observe_on(clock)))

    assert run.items == list(range(500))
    assert run.end == 0


def test_timers_of_the_library_run_on_it() -> None:
    run = VirtualTime().run(reactivex.interval(timedelta(hours=1)), until=3 * 3600)

    assert run.items == [0, 1, 2]
    assert run.end == 3 * 3600


def test_a_stream_without_end_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_time, "MOST_ACTIONS", 100)

    with pytest.raises(RuntimeError, match="say until when"):
        VirtualTime().run(reactivex.interval(1))


def test_the_same_run_is_the_same_every_time() -> None:
    def once() -> object:
        clock = VirtualTime()
        ticks = trades("a-b-c--d|", a=1, b={"price": 2, "product": "ETH-USD"}, c=3, d=4)
        return clock.run(clock.hot(ticks).pipe(conflate(3, lambda one: one.product_id, scheduler=clock)))

    assert once() == once()


def test_trades_are_numbered_and_have_the_time_of_their_marble() -> None:
    made = trades(
        "a-b-c-d|",
        a=100,
        b=(101, "0.5"),
        c={"price": 7, "product": "ETH-USD"},
        d=trade(99, trade_id=42, at=1),
        delay=0.25,
    ).items

    assert [(one.product_id, one.trade_id, one.price, one.size) for one in made] == [
        ("BTC-USD", 1, "100", "1"),
        ("BTC-USD", 2, "101", "0.5"),
        ("ETH-USD", 1, "7", "1"),
        ("BTC-USD", 42, "99", "1"),
    ]
    assert [one.time for one in made[1:]] == [f"1970-01-01T00:00:0{at}Z" for at in ("1.750000", "3.750000", "1.000000")]


def test_a_quote_of_too_many_numbers_is_refused() -> None:
    assert quotes("a|", a=(1, 2, 3)).items[0].best_bid_size == "3"
    with pytest.raises(ValueError, match="more than bid, ask, bid_size, ask_size"):
        quotes("a|", a=(1, 2, 3, 4, 5))
