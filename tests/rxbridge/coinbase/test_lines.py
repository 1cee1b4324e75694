"""Several connections at the same time: what is spread over them, and what a change, a refusal or a dispose does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, Subject
from reactivex.testing import TestScheduler

from rxbridge import coinbase
from rxbridge.coinbase import ProductsInForce
from rxbridge.coinbase.allocation import Allocation
from rxbridge.coinbase.lines import OPENING_SECONDS, Pace, Spread, lines
from rxbridge.errors import ConfigError, SubscriptionRejected
from rxbridge.messages import Frame, line_of
from rxbridge.simulator import Simulator
from rxbridge.telemetry.statistics import FeedStatistics
from tests.rxbridge.backfill.support import eventually
from tests.rxbridge.coinbase.servers import feed_threads

_names = st.lists(st.sampled_from([f"P{number}" for number in range(12)]), unique=True, max_size=12)


@given(st.lists(_names, min_size=1, max_size=6), st.integers(1, 4))
def test_every_product_is_in_one_group_and_stays_there(lists: list[list[str]], largest: int) -> None:
    allocation = Allocation(largest)
    for products in lists:
        before = {product: number for number, group in allocation.groups.items() for product in group}
        allocation.allot(products)
        placed = [(product, number) for number, group in allocation.groups.items() for product in group]
        assert sorted(product for product, _ in placed) == sorted(products)
        assert all(before[product] == number for product, number in placed if product in before)
        assert all(0 < len(group) <= largest for group in allocation.groups.values())


@given(st.lists(_names, min_size=1, max_size=6), st.integers(1, 3), st.integers(1, 4))
def test_beyond_the_most_groups_products_are_left_out(lists: list[list[str]], largest: int, most: int) -> None:
    allocation = Allocation(largest, most)
    for products in lists:
        allocation.allot(products)
        placed = [product for group in allocation.groups.values() for product in group]
        assert sorted([*placed, *allocation.left_out]) == sorted(products)
        assert all(0 <= number < most for number in allocation.groups)
        assert not allocation.left_out or len(placed) == largest * most


@given(st.lists(_names, min_size=1, max_size=6))
def test_without_a_limit_there_is_one_group(lists: list[list[str]]) -> None:
    allocation = Allocation(None)
    for products in lists:
        allocation.allot(products)
        assert len(allocation.groups) == bool(products)


@given(st.lists(st.floats(0, 40), min_size=1, max_size=30))
def test_no_two_connections_are_opened_at_once(wishes: list[float]) -> None:
    pace = Pace(clock=lambda: 0.0)
    taken = [pace.after(wish) for wish in wishes]

    assert all(given >= wish for given, wish in zip(taken, wishes, strict=True))
    ordered = sorted(taken)
    assert all(later - earlier >= OPENING_SECONDS - 1e-6 for earlier, later in pairwise(ordered))


class Taken:
    """What a subscriber was given."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.error: Exception | None = None
        self.calls = 0
        self.together = False

    def on_next(self, frame: Frame) -> None:
        self.calls += 1
        self.together = self.together or self.calls > 1
        self.frames.append(frame)
        self.calls -= 1

    def on_error(self, error: Exception) -> None:
        self.error = error

    def products_by_line(self) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for frame in list(self.frames):
            if product := json.loads(frame.data).get("product_id"):
                found.setdefault(line_of(frame.connection), set()).add(product)
        return found


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(products=("A-USD", "B-USD", "C-USD", "D-USD"), rate=200.0, heartbeat_seconds=0.1) as simulator:
        yield simulator


@pytest.fixture
def taken() -> Taken:
    return Taken()


def test_products_are_spread_and_frames_come_one_at_a_time(simulator: Simulator, taken: Taken) -> None:
    statistics = FeedStatistics()
    subscription = coinbase.frames(
        ["A-USD", "B-USD", "C-USD"], url=simulator.url, products_per_connection=2, statistics=statistics
    ).subscribe(taken.on_next, taken.on_error)
    try:
        eventually(lambda: sum(map(len, taken.products_by_line().values())) == 3)
    finally:
        subscription.dispose()

    assert taken.products_by_line() == {0: {"A-USD", "C-USD"}, 1: {"B-USD"}} or taken.products_by_line() == {
        0: {"A-USD", "B-USD"},
        1: {"C-USD"},
    }
    assert not taken.together
    assert statistics.whole().connections == 2
    assert statistics.whole().frames >= len(taken.frames)


def test_every_product_by_two_connections(simulator: Simulator, taken: Taken) -> None:
    subscription = coinbase.frames(["A-USD"], url=simulator.url, connections=2).subscribe(taken.on_next)
    try:
        eventually(lambda: taken.products_by_line() == {0: {"A-USD"}, 1: {"A-USD"}})
    finally:
        subscription.dispose()


def test_a_change_opens_and_ends_connections_and_leaves_the_others_alone(simulator: Simulator, taken: Taken) -> None:
    products, statistics = ProductsInForce(["A-USD", "B-USD"]), FeedStatistics()
    subscription = coinbase.frames(
        products, url=simulator.url, products_per_connection=1, statistics=statistics
    ).subscribe(taken.on_next)
    try:
        eventually(lambda: taken.products_by_line() == {0: {"A-USD"}, 1: {"B-USD"}})
        products.set(["A-USD", "B-USD", "C-USD"])
        eventually(lambda: taken.products_by_line().get(2) == {"C-USD"})
        products.set(["A-USD", "C-USD"])
        eventually(lambda: len(feed_threads()) == 2)
        ended = len(taken.frames)
        products.set(["A-USD", "C-USD", "D-USD"])
        eventually(lambda: "D-USD" in taken.products_by_line().get(1, ()))
    finally:
        subscription.dispose()

    assert statistics.of_line(0).connections == statistics.of_line(2).connections == 1
    assert statistics.whole().disconnections == 0
    assert all("B-USD" not in frame.data.decode() for frame in taken.frames[ended + 100 :])


def test_a_connection_of_which_nothing_is_taken_is_no_end(simulator: Simulator, taken: Taken, log: list[str]) -> None:
    statistics = FeedStatistics()
    subscription = coinbase.frames(
        ["A-USD", "NO-SUCH"], url=simulator.url, products_per_connection=1, statistics=statistics
    ).subscribe(taken.on_next, taken.on_error)
    try:
        eventually(lambda: any("Connection 2 brings nothing" in line for line in list(log)))
        so_far = len(taken.frames)
        eventually(lambda: len(taken.frames) > so_far + 20)
    finally:
        subscription.dispose()

    assert taken.error is None
    assert "NO-SUCH" in statistics.whole().rejected_products


def test_where_nothing_at_all_is_taken_that_is_the_error(simulator: Simulator, taken: Taken) -> None:
    frames = coinbase.frames(["NO-SUCH", "NOR-THIS"], url=simulator.url, products_per_connection=1)
    subscription = frames.subscribe(taken.on_next, taken.on_error)
    try:
        eventually(lambda: taken.error is not None)
    finally:
        subscription.dispose()

    assert isinstance(taken.error, SubscriptionRejected)


@pytest.mark.parametrize(
    ("products", "connections", "setting", "says"),
    [
        (1001, 1, "products_per_connection", "set it to 2 or more"),
        (501, 2, "products_per_connection", "each by 2, take 1,002 connections, and 1,000 are the most"),
        (1, 1001, "connections", "1000 are the most"),
    ],
)
def test_more_connections_than_have_a_number_of_their_own_are_refused(
    products: int, connections: int, setting: str, says: str
) -> None:
    names = [f"P{number}-USD" for number in range(products)]
    with pytest.raises(ConfigError, match=says) as refused:
        coinbase.frames(names, products_per_connection=1, connections=connections)
    assert refused.value.setting == setting


def test_a_list_that_grows_beyond_all_connections_is_told_of_and_none_takes_the_number_of_another(
    log: list[str],
) -> None:
    products = ProductsInForce([f"P{number}-USD" for number in range(499)])
    made: dict[int, ProductsInForce] = {}
    scheduler = TestScheduler()

    def make(number: int, these: ProductsInForce, _statistics: FeedStatistics) -> Observable[Frame]:
        made[number] = these
        return source

    source = Subject[Frame]()
    spread = Spread(1, 2, rejected_seconds=60.0, pace=Pace(0.0))
    frames = lines(products, make, spread, FeedStatistics(), scheduler)
    subscription = frames.subscribe(lambda _frame: None)
    scheduler.advance_to(1000)
    products.set([*products.current, "NEW-1", "NEW-2", "NEW-3"])
    source.on_next(Frame(b"", 1, 1, 0))
    source.on_next(Frame(b"", 2, 1, 1))
    scheduler.advance_to(2000)
    subscription.dispose()

    assert sorted(made) == list(range(1000))
    assert made[998].current == made[999].current == ("NEW-1",)
    told = [line for line in log if "are not fed" in line]
    assert len(told) == 1
    assert "2 products are not fed, as there would be more than 1000 connections: NEW-2, NEW-3" in told[0]


def test_a_line_that_was_refused_once_and_works_by_now_is_not_taken_for_refused(taken: Taken) -> None:
    products, timers, made = ProductsInForce(["A-USD", "B-USD"]), TestScheduler(), dict[int, list[Subject[Frame]]]()

    def make(number: int, _products: ProductsInForce, _statistics: FeedStatistics) -> Observable[Frame]:
        return made.setdefault(number, []).append(line := Subject[Frame]()) or line

    spread = Spread(1, 1, 3600.0, Pace(clock=lambda: timers.clock))
    lines(products, make, spread, FeedStatistics(), timers).subscribe(taken.on_next, taken.on_error)
    timers.advance_to(10.0)
    made[0][0].on_error(SubscriptionRejected("ws:", {"A-USD": "is unknown"}))
    timers.advance_to(4000.0)
    made[0][1].on_next(Frame(b"{}", 1, 1000, 0))  # it is known by now
    made[1][0].on_error(SubscriptionRejected("ws:", {"B-USD": "is delisted"}))

    assert taken.error is None
    products.set(["A-USD"])
    made[0][1].on_next(Frame(b"{}", 2, 1000, 1))
    timers.advance_to(4100.0)
    assert {number: len(lines) for number, lines in made.items()} == {0: 2, 1: 1}
    assert len(taken.frames) == 2


def test_a_dispose_frees_all_connections_while_a_subscriber_blocks(simulator: Simulator) -> None:
    blocked, go_on = threading.Event(), threading.Event()

    def block(_: Frame) -> None:
        blocked.set()
        go_on.wait(30.0)

    subscription = coinbase.frames(["A-USD", "B-USD"], url=simulator.url, products_per_connection=1).subscribe(block)
    assert blocked.wait(10.0)
    eventually(lambda: len(feed_threads()) == 2)
    subscription.dispose()
    go_on.set()

    eventually(lambda: not feed_threads())
