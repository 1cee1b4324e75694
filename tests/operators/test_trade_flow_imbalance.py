from __future__ import annotations

from collections.abc import Callable
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from typing import Any, assert_type

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.subject import Subject

from operators import trade_flow_imbalance
from operators.testing import Trade, VirtualTime, assert_conserved, trade, trades
from operators.trade_flow_imbalance import Flow
from rxbridge.messages import LastTrade
from rxbridge.messages import Trade as Match
from tests.operators.support import Subscriber


def flows(items: list[Any], operator: Callable[[Observable[Any]], Observable[Flow[Any]]]) -> list[Flow[Any]]:
    got: list[Flow[Any]] = []
    reactivex.from_iterable(items).pipe(operator).subscribe(got.append)
    return got


def bought(size: Any, at: float, product: str = "A") -> Trade:
    """The maker sold."""
    return trade(100, size, product=product, side="sell", at=at)


def sold(size: Any, at: float, product: str = "A") -> Trade:
    return trade(100, size, product=product, side="buy", at=at)


def test_a_flow_comes_with_its_trade_when_the_trade_does() -> None:
    clock = VirtualTime()
    buy, sell = {"price": 100, "side": "sell"}, {"price": 100, "side": "buy"}
    source = clock.cold(trades("a---b---c|", a={**buy, "size": 3}, b={**sell, "size": 1}, c={**buy, "size": 1}))

    run = clock.run(source.pipe(trade_flow_imbalance(8)))

    got = [(moment.time, moment.value.net) for moment in run.timeline if isinstance(moment.value, Flow)]
    assert got == [(0, 3), (4, 2), (8, 0)]
    assert [flow.imbalance for flow in run.items] == [1.0, 0.5, 0.0]
    assert [flow.trades for flow in run.items] == [1, 2, 2]
    assert_conserved(run.source("source").timeline.items, [flow.item for flow in run.items])


def test_late_trades_count_where_they_belong_and_those_older_than_the_window_are_told_of() -> None:
    told: list[Trade] = []
    items = [bought(1, 10), sold(2, 14), bought(4, 12), bought(8, 4), sold(16, 20), bought(32, 11)]

    got = flows(items, trade_flow_imbalance(10, late=told.append))

    assert [(flow.bought, flow.sold) for flow in got] == [(1, 0), (1, 2), (5, 2), (4, 18), (36, 18)]
    assert told == [items[3]]


def test_a_window_has_no_more_trades_than_it_may() -> None:
    got = flows([bought(1, 1), sold(2, 2), bought(4, 3)], trade_flow_imbalance(10, most_trades=2))

    assert [(flow.net, flow.trades) for flow in got] == [(1, 1), (-1, 2), (2, 2)]


def test_products_do_not_know_of_each_other_and_the_one_not_traded_for_the_longest_is_forgotten() -> None:
    items = [bought(1, 1, "A"), bought(2, 1, "B"), bought(4, 1, "A"), bought(8, 1, "C"), bought(16, 1, "B")]

    assert [flow.net for flow in flows(items, trade_flow_imbalance(10, most_products=2))] == [1, 2, 5, 8, 16]


def test_of_nothing_the_imbalance_is_zero() -> None:
    assert [flow.imbalance for flow in flows([bought(0, 1)], trade_flow_imbalance(1))] == [0.0]


def test_what_cannot_be_read_is_an_error_or_goes_to_failed() -> None:
    source, lenient, strict = Subject[Any](), Subscriber[Any](), Subscriber[Any]()
    failed: list[Any] = []
    source.pipe(trade_flow_imbalance(10, failed=lambda item, _: failed.append(item))).subscribe(lenient)
    source.pipe(trade_flow_imbalance(10)).subscribe(strict)

    broken = [
        bought("n/a", 1),
        bought("-1", 1),
        trade(1, at=1, side="neither"),
        trade(1),
        Match(product_id="A", size="1", side="buy", time="then"),
        Match(product_id="A", side="buy", time="2026-01-01T00:00:00Z"),
        object(),
    ]
    for item in [*broken, bought(1, 1)]:
        source.on_next(item)

    assert failed == broken
    assert [flow.net for flow in lenient.items] == [1]
    assert strict.items == []
    assert [type(end) for end in strict.ends] == [ValueError]


def test_what_a_callback_raises_is_an_error() -> None:
    refused = OSError("refused")

    def refuse(*_: object) -> None:
        raise refused

    for item in (bought(1, 1), trade(1)):
        source, got = Subject[Any](), Subscriber[Any]()
        source.pipe(trade_flow_imbalance(10, late=refuse, failed=refuse)).subscribe(got)
        source.on_next(bought(1, 99))
        source.on_next(item)

        assert got.ends == [refused]
        assert source.observers == []


def test_an_error_of_the_source_passes_and_disposing_ends_the_subscription() -> None:
    clock, lost = VirtualTime(), OSError("lost")
    run = clock.run(clock.cold(trades("1-#", error=lost)).pipe(trade_flow_imbalance(10)))
    assert len(run.items) == 1
    assert run.timeline.moments[-1].error is lost

    source = Subject[Trade]()
    source.pipe(trade_flow_imbalance(10)).subscribe(lambda _: None).dispose()
    assert source.observers == []


def test_each_subscription_has_a_state_of_its_own() -> None:
    result, got = reactivex.of(bought(1, 1)).pipe(trade_flow_imbalance(10)), list[Flow[Trade]]()

    result.subscribe(got.append)
    result.subscribe(got.append)

    assert [flow.net for flow in got] == [1, 1]


@pytest.mark.parametrize(
    ("seconds", "wrong"),
    [(0, {}), (-1, {}), (float("inf"), {}), (1e-12, {}), (1, {"most_trades": 0}), (1, {"most_products": 0})],
)
def test_the_arguments_are_checked(seconds: float, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        trade_flow_imbalance(seconds, **wrong)


def test_the_messages_of_the_application_fit_and_their_side_is_the_makers() -> None:
    source: Observable[Match | LastTrade] = reactivex.of(
        LastTrade(product_id="A", size="1.5", side="sell", time="2026-01-01T00:00:00Z"),
        Match(product_id="A", size="0.5", side="buy", time="2026-01-01T00:00:01.000000001Z"),
    )

    result = source.pipe(trade_flow_imbalance(60))

    assert_type(result, Observable[Flow[Match | LastTrade]])
    assert [flow.net for flow in flows([], lambda _: result)] == [Decimal("1.5"), Decimal("1.0")]


# Laws.

sizes = st.decimals(min_value=0, max_value=1000, places=8)
made = st.lists(st.tuples(st.integers(0, 30), sizes, st.booleans()), max_size=40)


@given(items=made, seconds=st.integers(1, 20))
def test_each_flow_is_what_it_is_from_scratch(items: list[tuple[int, Decimal, bool]], seconds: int) -> None:
    source = [(bought if buys else sold)(size, at) for at, size, buys in items]
    newest, known, expected, without = -1, list[tuple[int, Decimal, bool]](), list[Any](), list[Trade]()
    for item, one in zip(source, items, strict=True):
        if one[0] <= newest - seconds:
            without.append(item)
            continue
        newest = max(newest, one[0])
        known = [other for other in [*known, one] if other[0] > newest - seconds]
        sums = [sum((Fraction(size) for _, size, buys in known if buys is side), Fraction()) for side in (True, False)]
        expected.append((item, *sums, len(known)))
    told: list[Trade] = []

    with localcontext(Context(prec=3)):
        got = flows(source, trade_flow_imbalance(seconds, late=told.append))

    assert [(flow.item, Fraction(flow.bought), Fraction(flow.sold), flow.trades) for flow in got] == expected
    assert told == without
    for flow in got:
        both = Fraction(flow.bought) + Fraction(flow.sold)
        assert flow.imbalance == pytest.approx(float(Fraction(flow.net) / both) if both else 0.0, rel=1e-15)
        assert -1 <= flow.imbalance <= 1


@given(items=made, scale=st.integers(1, 1000))
def test_with_the_sides_exchanged_it_is_the_negative_and_the_unit_does_not_matter(
    items: list[tuple[int, Decimal, bool]], scale: int
) -> None:
    got = flows([(bought if buys else sold)(size, at) for at, size, buys in items], trade_flow_imbalance(9))
    other = flows([(sold if buys else bought)(size * scale, at) for at, size, buys in items], trade_flow_imbalance(9))

    assert [flow.net * scale for flow in got] == [-flow.net for flow in other]
    assert [flow.imbalance for flow in got] == [-flow.imbalance for flow in other]


@given(items=made.filter(bool), order=st.randoms(use_true_random=False))
def test_the_order_within_the_window_does_not_matter(items: list[tuple[int, Decimal, bool]], order: Any) -> None:
    source = [(bought if buys else sold)(size, at) for at, size, buys in items]
    shuffled = list(source)
    order.shuffle(shuffled)

    last, of_shuffled = flows(source, trade_flow_imbalance(31))[-1], flows(shuffled, trade_flow_imbalance(31))[-1]
    assert last[1:] == of_shuffled[1:]
