"""Who hears of all orders has the simulator's own book, level by level, at any moment."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.simulator import Simulator
from rxbridge.simulator.market import Market
from rxbridge.simulator.order_flow import Step
from rxbridge.simulator.orders import order_frame
from rxbridge.simulator.products import products_named
from tests.rxbridge.simulator.test_keyed_channels import KEY, subscribe

Levels = dict[tuple[str, Decimal], Decimal]
START_NS = 1_700_000_000_000_000_000
(BITCOIN,) = products_named(["BTC-USD"])


class BuiltBook:
    """A book of levels, and what the messages of `full` after it make of it."""

    def __init__(self, levels: Levels) -> None:
        self.levels: Levels = dict(levels)
        self._received: set[str] = set()
        self._open: set[str] = set()

    def apply(self, told: dict[str, Any]) -> None:
        level = (told["side"], Decimal(told["price"]))
        match told["type"]:
            case "received":
                self._received.add(told["order_id"])
            case "open":
                self._open.add(told["order_id"])
                self._add(level, Decimal(told["remaining_size"]))
            case "change":
                self._add(level, Decimal(told["new_size"]) - Decimal(told["old_size"]))
            case "match":
                self._add(level, -Decimal(told["size"]))
            case "done" if told["order_id"] in self._open or told["order_id"] not in self._received:
                self._add(level, -Decimal(told["remaining_size"]))
            case kind:
                assert kind == "done"

    def _add(self, level: tuple[str, Decimal], size: Decimal) -> None:
        self.levels[level] = self.levels.get(level, Decimal(0)) + size
        assert self.levels[level] >= 0, "more was taken than there was"
        if not self.levels[level]:
            del self.levels[level]


def levels_of(book: dict[str, Any]) -> Levels:
    """What REST says."""
    sides = {"buy": book["bids"], "sell": book["asks"]}
    return {(side, Decimal(level[0])): Decimal(level[1]) for side, levels in sides.items() for level in levels}


def levels_in(market: Market) -> Levels:
    price_step, size_step = Decimal(1).scaleb(-market.product.price_decimals), Decimal("0.00000001")
    return {
        (side, level.price * price_step): level.size * size_step
        for side in ("buy", "sell")
        for level in market.book.levels(side)
    }


moves = st.lists(st.tuples(st.booleans(), st.integers(0, 3 * 10**9)), max_size=40)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), moves=moves, depth=st.integers(1, 60))
def test_the_messages_build_the_book_whatever_happens(seed: int, moves: Sequence[tuple[bool, int]], depth: int) -> None:
    market = Market(BITCOIN, seed=seed, start_ns=START_NS, depth=depth)
    steps: list[Step] = []
    market.flow.tell, market.flow.is_heard = steps.append, lambda: True
    built, before, now_ns = BuiltBook(levels_in(market)), market.sequence, START_NS
    for is_order, gap in moves:
        now_ns += gap
        ticks = market.order(now_ns) if is_order else []
        if not is_order:
            market.settle(now_ns)
        told = [json.loads(order_frame(BITCOIN, step)) for step in steps]
        steps.clear()
        assert [one["sequence"] for one in told] == list(range(before + 1, market.sequence + 1))
        assert [one["trade_id"] for one in told if one["type"] == "match"] == [tick.trade.trade_id for tick in ticks]
        for one in told:
            built.apply(one)
        before = market.sequence
        assert built.levels == levels_in(market)


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), heard=st.lists(st.booleans(), min_size=2, max_size=30))
def test_whether_anybody_listens_changes_nothing(seed: int, heard: Sequence[bool]) -> None:
    one, other = (Market(BITCOIN, seed=seed, start_ns=START_NS) for _ in range(2))
    all_steps: list[Step] = []
    some_steps: list[Step] = []
    one.flow.tell, one.flow.is_heard = all_steps.append, lambda: True
    other.flow.tell = some_steps.append
    for second, is_heard in enumerate(heard):
        other.flow.is_heard = lambda is_heard=is_heard: is_heard
        trades = [[tick.trade for tick in market.order(START_NS + second * 10**9)] for market in (one, other)]
        assert trades[0] == trades[1]

    by_number = {step.sequence: step for step in all_steps}
    assert some_steps == [by_number[step.sequence] for step in some_steps]
    assert bool(some_steps) == any(heard)


def test_over_sockets_they_build_the_book_that_rest_tells(
    simulate: Callable[..., Simulator], connect: Callable[..., Any]
) -> None:
    simulator = simulate(products=["BTC-USD"], rate=100, book_changes_per_second=100, credentials=KEY)

    def book() -> dict[str, Any]:
        return requests.get(f"{simulator.rest_url}/products/BTC-USD/book?level=2", timeout=20).json()

    client = connect(simulator)
    subscribe(client, "full")
    client.receive_type("subscriptions")
    books = [book()]
    while len(books) < 10:
        client.receive_until(lambda frame: frame.get("sequence", 0) > books[-1]["sequence"] + 50)
        books.append(book())
    simulator.pause()
    books.append(book())
    last = books[-1]["sequence"]
    if not any(frame.get("sequence") == last for frame in client.frames):
        client.receive_until(lambda frame: frame.get("sequence") == last)

    told = [frame for frame in client.frames if "sequence" in frame]
    assert all(later["sequence"] == earlier["sequence"] + 1 for earlier, later in pairwise(told))
    built = BuiltBook(levels_of(books[0]))
    expected = {one["sequence"]: levels_of(one) for one in books}
    assert len(expected) > 5
    for one in told:
        if one["sequence"] > books[0]["sequence"]:
            built.apply(one)
            assert built.levels == expected.get(one["sequence"], built.levels)
    assert built.levels == expected[last]
