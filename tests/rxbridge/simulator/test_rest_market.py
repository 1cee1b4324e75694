"""Books and candles over REST."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.simulator import Simulator
from rxbridge.simulator.candles import candles
from rxbridge.simulator.market import Trade

Simulate = Callable[..., Simulator]


def get(simulator: Simulator, target: str) -> requests.Response:
    return requests.get(f"{simulator.rest_url}/products/BTC-USD/{target}", timeout=20)


@pytest.fixture
def market(simulate: Simulate) -> Simulator:
    """A market that made 600 trades, 10 seconds apart."""
    return simulate(products=["BTC-USD"], rate=0, history=600, history_seconds=10.0, rest_requests_per_second=0)


def test_a_book(market: Simulator) -> None:
    best, whole = get(market, "book").json(), get(market, "book?level=2").json()
    assert get(market, "book?level=1").json()["bids"] == best["bids"]
    assert (len(best["bids"]), len(best["asks"])) == (1, 1)
    # A sweep may have added levels of its own.
    assert 50 <= len(whole["bids"]) <= 62
    assert 50 <= len(whole["asks"]) <= 62
    assert (whole["bids"][0], whole["asks"][0]) == (best["bids"][0], best["asks"][0])
    bids, asks = ([Decimal(level[0]) for level in whole[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    price, size, orders = whole["bids"][0]
    assert (type(price), type(size), type(orders)) == (str, str, int)
    assert {"sequence", "time", "auction_mode", "auction"} <= whole.keys()


@pytest.mark.parametrize(("query", "status"), [("level=3", 401), ("level=4", 400), ("level=x", 400)])
def test_other_levels(market: Simulator, query: str, status: int) -> None:
    assert get(market, f"book?{query}").status_code == status


def of_trades(trades: list[dict[str, Any]], seconds: int) -> list[list[Any]]:
    """The same, by another way: all trades of an interval together."""
    intervals: dict[int, list[tuple[float, float]]] = {}
    for trade in reversed(trades):
        second = int(datetime.fromisoformat(trade["time"]).timestamp())
        intervals.setdefault(second - second % seconds, []).append((float(trade["price"]), float(trade["size"])))
    made: list[list[Any]] = []
    for start in sorted(intervals, reverse=True):
        prices = [price for price, _ in intervals[start]]
        volume = sum(size for _, size in intervals[start])
        made.append([start, min(prices), max(prices), prices[0], prices[-1], pytest.approx(volume)])
    return made


@pytest.mark.parametrize("granularity", [60, 300, 3600])
def test_candles_are_those_of_the_trades(market: Simulator, granularity: int) -> None:
    trades = get(market, "trades?limit=1000").json()
    assert get(market, f"candles?granularity={granularity}").json() == of_trades(trades, granularity)


def test_candles_of_a_time(market: Simulator) -> None:
    every = get(market, "candles?granularity=60").json()
    start, end = every[50][0], every[40][0]
    assert get(market, f"candles?granularity=60&start={start}&end={end}").json() == every[40:51]
    iso = [datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S") for second in (start, end)]
    assert get(market, f"candles?granularity=60&start={iso[0]}&end={iso[1]}Z").json() == every[40:51]


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("granularity=61", "Unsupported granularity"),
        ("granularity=x", "Unsupported granularity"),
        ("start=yesterday", "Invalid start or end"),
        ("start=1&end=" + "9" * 5000, "granularity too small"),
        ("granularity=60&start=0", "granularity too small"),
    ],
)
def test_candles_that_cannot_be_had(market: Simulator, query: str, message: str) -> None:
    answer = get(market, f"candles?{query}")
    assert answer.status_code == 400
    assert message in answer.json()["message"]


def test_no_more_than_three_hundred_candles(simulate: Simulate) -> None:
    simulator = simulate(products=["BTC-USD"], rate=0, history=400, history_seconds=60.0)
    now = int(time.time())
    made = get(simulator, f"candles?granularity=60&start={now - 300 * 60}&end={now}").json()
    # A sweep has one time for all its trades.
    assert 150 < len(made) <= 300
    assert made[0][0] > now - 300


def trade(number: int, second: int, price: int, size: int) -> Trade:
    return Trade(number, number, second * 10**9 + 5000, price, size, "buy", "", "")


@given(
    steps=st.lists(st.tuples(st.integers(0, 200), st.integers(1, 100), st.integers(1, 100)), max_size=60),
    seconds=st.sampled_from([60, 300]),
    first=st.integers(0, 20),
    last=st.integers(0, 40),
)
def test_candles_of_any_trades(steps: list[tuple[int, int, int]], seconds: int, first: int, last: int) -> None:
    second, trades = 0, list[Trade]()
    for number, (step, price, size) in enumerate(steps):
        second += step
        trades.append(trade(number, second, price, size))
    made = candles(reversed(trades), seconds, first=first * seconds, last=last * seconds)
    wanted = [one for one in trades if first <= one.time_ns // 10**9 // seconds <= last]
    assert sum(candle.volume for candle in made) == sum(one.size for one in wanted)
    assert [candle.start for candle in made] == sorted(
        {one.time_ns // 10**9 // seconds * seconds for one in wanted}, reverse=True
    )
    for candle in made:
        prices = [one.price for one in wanted if one.time_ns // 10**9 // seconds * seconds == candle.start]
        assert (candle.open, candle.close) == (prices[0], prices[-1])
        assert (candle.low, candle.high) == (min(prices), max(prices))
