from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, assert_type

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.subject import Subject

from operators import candles
from operators.candle import Candle, Tick
from operators.testing import Trade, VirtualTime, trade, trades
from rxbridge.messages import Frame, Heartbeat
from rxbridge.messages import Trade as Match

SECOND = 10**9


def made(items: list[Any], operator: Callable[[Observable[Any]], Observable[Candle]]) -> list[Candle]:
    got: list[Candle] = []
    reactivex.from_iterable(items).pipe(operator).subscribe(got.append)
    return got


def numbers(candle: Candle) -> tuple[int, ...]:
    prices = (candle.open, candle.high, candle.low, candle.close, candle.volume)
    return (candle.start // SECOND, *map(int, prices))


def test_a_candle_is_closed_by_the_first_trade_behind_it() -> None:
    clock = VirtualTime()
    source = clock.cold(trades("1---3---2------4---|", tick=1.0))

    run = clock.run(source.pipe(candles(10)))

    moments = [(moment.time, numbers(moment.value)) for moment in run.timeline if isinstance(moment.value, Candle)]
    assert moments == [(15, (0, 1, 3, 1, 2, 3)), (19, (10, 4, 4, 4, 4, 1))]
    assert [candle.is_closed for candle in run.items] == [True, False]


def test_numbers_are_exact_and_the_average_is_weighted() -> None:
    (candle,) = made([trade("0.1", "0.1", at=1), trade("0.3", "0.2", at=2)], candles(60))

    assert (candle.volume, candle.turnover) == (Decimal("0.3"), Decimal("0.07"))
    assert candle.vwap == Decimal("0.2333333333333333333333333333")
    assert candle.start_time.isoformat() == "1970-01-01T00:00:00+00:00"
    assert (candle.end, candle.trades) == (60 * SECOND, 2)


def test_intervals_are_counted_from_the_epoch() -> None:
    items = [
        Match(product_id="A", trade_id=one, price="1", size="1", time=time)
        for one, time in enumerate(["2026-01-31T08:04:59.999999999Z", "2026-01-31T08:05:00Z"], 1)
    ]

    assert [candle.start_time.strftime("%H:%M") for candle in made(items, candles(300))] == ["08:00", "08:05"]


def test_a_late_trade_is_a_revision_and_one_that_is_too_late_is_told_of() -> None:
    late: list[Trade] = []
    items = [trade(1, at=5), trade(2, at=15), trade(3, at=25), trade(9, at=14), trade(8, at=4), trade(7, at=11)]

    got = made(items, candles(10, late=late.append))

    assert [(numbers(candle), candle.revision, candle.is_closed) for candle in got] == [
        ((0, 1, 1, 1, 1, 1), 0, True),
        ((10, 2, 2, 2, 2, 1), 0, True),
        ((10, 9, 9, 2, 2, 2), 1, True),
        ((10, 7, 9, 2, 2, 3), 2, True),
        ((20, 3, 3, 3, 3, 1), 0, False),
    ]
    assert late == [items[4]]


def test_a_late_trade_of_an_interval_without_a_candle_makes_one() -> None:
    got = made([trade(1, at=5), trade(3, at=25), trade(2, at=15)], candles(10))

    assert [(numbers(candle)[0], candle.revision) for candle in got] == [(0, 0), (10, 0), (20, 0)]
    assert [candle.is_closed for candle in got] == [True, True, False]


def test_a_candle_stays_open_for_as_long_as_a_trade_may_be_late() -> None:
    got = made([trade(1, at=5), trade(3, at=14), trade(2, at=9), trade(4, at=15)], candles(10, lateness=5))

    assert [(numbers(candle), candle.is_closed) for candle in got] == [
        ((0, 1, 2, 1, 2, 2), True),
        ((10, 3, 4, 3, 4, 2), False),
    ]


@pytest.mark.parametrize(
    "tick", [Tick(10 * SECOND), Tick("1970-01-01T00:00:10Z", "BTC-USD"), Heartbeat(time="1970-01-01T00:00:10Z")]
)
def test_what_only_tells_the_time_closes_a_candle(tick: Any) -> None:
    got = made([trade(1, at=5), Tick(9 * SECOND), tick, trade(2, at=11)], candles(10))

    assert [(numbers(candle)[0], candle.is_closed) for candle in got] == [(0, True), (10, False)]


def test_a_tick_of_another_product_closes_nothing() -> None:
    got = made([trade(1, at=5), Tick(100 * SECOND, "ETH-USD"), trade(2, at=6)], candles(10))

    assert [numbers(candle) for candle in got] == [(0, 1, 2, 1, 2, 2)]


def test_intervals_without_trades_are_made_up_if_asked_for_and_not_for_ever() -> None:
    got = made([trade(5, at=5), Tick(25 * SECOND), trade(7, at=31), Tick(1000 * SECOND)], candles(10, empty=2))

    assert [(numbers(candle), candle.trades) for candle in got] == [
        ((0, 5, 5, 5, 5, 1), 1),
        ((10, 5, 5, 5, 5, 0), 0),
        ((20, 5, 5, 5, 5, 0), 0),
        ((30, 7, 7, 7, 7, 1), 1),
        ((40, 7, 7, 7, 7, 0), 0),
        ((50, 7, 7, 7, 7, 0), 0),
    ]
    assert got[1].vwap is None


def test_a_late_trade_revises_an_empty_candle() -> None:
    got = made([trade(5, at=5), Tick(20 * SECOND), trade(6, at=12)], candles(10, empty=5))

    assert [(numbers(candle), candle.revision) for candle in got[1:]] == [
        ((10, 5, 5, 5, 5, 0), 0),
        ((10, 6, 6, 6, 6, 1), 1),
    ]


def test_an_open_candle_is_told_after_each_trade_if_asked_for() -> None:
    got = made([trade(1, at=1), trade(2, at=2), trade(3, at=11)], candles(10, unfinished=True))

    assert [(numbers(candle), candle.is_closed) for candle in got[:-1]] == [
        ((0, 1, 1, 1, 1, 1), False),
        ((0, 1, 2, 1, 2, 2), False),
        ((0, 1, 2, 1, 2, 2), True),
        ((10, 3, 3, 3, 3, 1), False),
    ]


def test_products_have_candles_of_their_own_and_the_one_that_came_the_longest_ago_makes_room() -> None:
    items = [trade(1, product="A", at=1), trade(2, product="B", at=2), trade(3, product="C", at=3)]

    got = made(items, candles(10, most_products=2))

    assert [(candle.product_id, candle.is_closed) for candle in got] == [("A", False), ("B", False), ("C", False)]


def test_trades_of_one_time_are_in_the_order_of_their_ids() -> None:
    time = "1970-01-01T00:00:01Z"
    items = [Match(product_id="A", trade_id=one, price=str(one), size="1", time=time) for one in (10, 9, 11)]

    (candle,) = made(items, candles(10))

    assert numbers(candle) == (0, 9, 11, 9, 11, 3)


def at_offset(seconds: float, offset: int, product: str = "A") -> Match:
    frame = Frame(b"", 0, 0, 0, offset)
    time = f"1970-01-01T00:00:{seconds:02}Z"
    return Match(product_id=product, trade_id=offset, price="1", size="1", time=time, frame=frame)


def test_a_candle_says_from_where_on_everything_is_still_needed() -> None:
    items = [at_offset(1, 11), at_offset(2, 12, "B"), at_offset(11, 13), at_offset(12, 14, "B"), at_offset(21, 15)]

    got = made(items, candles(10, revisions=0))

    assert [(candle.product_id, candle.start // SECOND, candle.holds) for candle in got if candle.is_closed] == [
        ("A", 0, 12),  # of B's first candle
        ("B", 0, 13),  # of A's second
        ("A", 10, 14),  # of B's second
    ]


def test_what_may_still_be_revised_is_needed_too() -> None:
    items = [at_offset(1, 11), at_offset(11, 12), at_offset(21, 13)]

    assert [candle.holds for candle in made(items, candles(10)) if candle.is_closed] == [11, 12]


def test_of_several_candles_at_once_none_lets_go_of_the_trades_of_those_behind_it() -> None:
    items = [at_offset(1, 11, "A"), at_offset(2, 12, "B"), Tick(10 * SECOND)]

    got = made(items, candles(10, revisions=0))

    assert [(candle.product_id, candle.holds) for candle in got] == [("A", 12), ("B", None)]


def test_what_cannot_be_read_is_an_error_or_goes_to_failed() -> None:
    broken = [
        trade("n/a", at=1),
        trade(1, "-1", at=1),
        trade(1),
        Match(product_id="A", price=None, size="1", time="1970-01-01T00:00:01Z"),
    ]
    failed: list[Any] = []

    got = made([trade(1, at=1), *broken, trade(2, at=2)], candles(10, failed=lambda item, _: failed.append(item)))

    assert failed == broken
    assert [numbers(candle) for candle in got] == [(0, 1, 2, 1, 2, 2)]


def test_an_error_comes_behind_what_is_held() -> None:
    source, got, errors = Subject[Any](), list[Candle](), list[Exception]()
    source.pipe(candles(10)).subscribe(got.append, errors.append)
    source.on_next(trade(1, at=1))
    source.on_next(trade("n/a", at=2))

    assert [numbers(candle) for candle in got] == [(0, 1, 1, 1, 1, 1)]
    assert [type(error) for error in errors] == [ValueError]


def test_a_disposed_one_emits_nothing() -> None:
    source, got = Subject[Any](), list[Candle]()
    source.pipe(candles(10)).subscribe(got.append).dispose()
    source.on_next(trade(1, at=1))
    source.on_completed()

    assert got == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": 0},
        {"seconds": float("inf")},
        {"lateness": -1},
        {"revisions": -1},
        {"empty": -1},
        {"most_products": 0},
    ],
)
def test_arguments_out_of_range(wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"seconds": 60, **wrong}
    with pytest.raises(ValueError, match=r"positive|out of range"):
        candles(**arguments)


def test_the_checker_knows_what_comes_out() -> None:
    assert_type(reactivex.of(trade(1, at=1)).pipe(candles(60)), Observable[Candle])
    assert_type(reactivex.of(Match(), Heartbeat()).pipe(candles(60)), Observable[Candle])


_trades = st.lists(
    st.tuples(st.sampled_from("AB"), st.integers(0, 59), st.integers(1, 9), st.integers(1, 9)), max_size=30
)


def _as_trades(drawn: list[tuple[str, int, int, int]]) -> list[Trade]:
    return [trade(price, size, product=product, at=at) for product, at, price, size in drawn]


def _from_scratch(drawn: list[tuple[str, int, int, int]], seconds: int) -> dict[tuple[str, int], tuple[int, ...]]:
    """Candles of trades in the order of their times, as one would write them."""
    expected: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for product, at, price, size in sorted(drawn, key=lambda one: one[1]):
        expected.setdefault((product, at // seconds * seconds), []).append((price, size))
    return {
        (product, start): (
            start,
            inside[0][0],
            max(price for price, _ in inside),
            min(price for price, _ in inside),
            inside[-1][0],
            sum(size for _, size in inside),
        )
        for (product, start), inside in expected.items()
    }


def _latest(got: list[Candle]) -> dict[tuple[str, int], tuple[int, ...]]:
    return {(candle.product_id or "", candle.start // SECOND): numbers(candle) for candle in got}


@given(_trades, st.integers(1, 20))
def test_whatever_the_order_the_last_revisions_are_the_candles_of_all_trades(
    drawn: list[tuple[str, int, int, int]], seconds: int
) -> None:
    got = made(_as_trades(drawn), candles(seconds, revisions=100))

    assert {key: (*one[:1], *one[2:4], one[5]) for key, one in _latest(got).items()} == {
        key: (*one[:1], *one[2:4], one[5]) for key, one in _from_scratch(drawn, seconds).items()
    }
    # Of trades of one moment without an id the order is that of their coming.
    times = [(product, at) for product, at, _, _ in drawn]
    if len(set(times)) == len(times):
        assert _latest(got) == _from_scratch(drawn, seconds)


@given(_trades, st.integers(1, 20), st.integers(0, 3), st.integers(0, 15))
def test_every_trade_is_in_one_candle_or_was_told_of(
    drawn: list[tuple[str, int, int, int]], seconds: int, revisions: int, lateness: int
) -> None:
    late: list[Trade] = []
    got = made(_as_trades(drawn), candles(seconds, revisions=revisions, lateness=lateness, late=late.append))

    counted = sum(one[5] for one in _latest(got).values()) + sum(int(one.size) for one in late)
    assert counted == sum(size for _, _, _, size in drawn)
    for product in "AB":
        fresh = [one.start for one in got if one.product_id == product and one.is_closed and one.revision == 0]
        if not revisions:
            assert fresh == sorted(fresh)


def test_the_first_trade_closes_nothing_that_may_still_come() -> None:
    late: list[Trade] = []
    got = made(
        [trade(1, at=140), trade(2, at=138), trade(3, at=160)], candles(10, lateness=5, late=late.append, empty=9)
    )

    assert late == []
    assert [numbers(candle)[:2] for candle in got] == [(130, 2), (140, 1), (160, 3)]


@given(_trades, st.integers(1, 20), st.integers(0, 2), st.integers(0, 30), st.integers(0, 15))
def test_whoever_begins_again_where_the_last_candle_says_makes_the_same_ones(
    drawn: list[tuple[str, int, int, int]], seconds: int, revisions: int, stop: int, lateness: int
) -> None:
    operator: Any = candles(seconds, revisions=revisions, lateness=lateness)
    items = [
        Match(
            product_id=product,
            trade_id=number,
            price=str(price),
            size=str(size),
            time=f"1970-01-01T00:00:{at:02}Z",
            frame=Frame(b"", 0, 0, 0, number),
        )
        for number, (product, at, price, size) in enumerate(drawn, 1)
    ]
    whole = [one for one in made(items, operator) if one.is_closed]
    stop = min(stop, len(whole))
    if not stop or whole[stop - 1].holds is None:
        return
    begin = whole[stop - 1].holds or 0

    again = [one for one in made(items[begin - 1 :], operator) if one.is_closed]

    # What was made before the stop may come once more, some of it of fewer trades; behind it all is the same.
    behind = whole[stop:]
    assert again[len(again) - len(behind) :] == behind
