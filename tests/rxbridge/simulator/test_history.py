"""Markets that have traded before."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from rxbridge.simulator import Simulator
from rxbridge.simulator.market import Market
from rxbridge.simulator.products import products_named

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]

START_NS = 1_700_000_000_000_000_000
(BITCOIN,) = products_named(["BTC-USD"])


def test_a_night_is_there_to_be_fetched(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD"], rate=0, history=20_000, rest_requests_per_second=0)
    trades: list[dict[str, Any]] = []
    target = f"{simulator.rest_url}/products/BTC-USD/trades?limit=1000"
    while page := requests.get(f"{target}&after={trades[-1]['trade_id']}" if trades else target, timeout=20).json():
        trades.extend(page)
    assert [trade["trade_id"] for trade in reversed(trades)] == list(simulator.trades("BTC-USD"))
    assert len(trades) == 20_001
    times = [datetime.fromisoformat(trade["time"]) for trade in reversed(trades)]
    assert times == sorted(times)
    assert timedelta(seconds=19_900) < times[-1] - times[0] < timedelta(seconds=20_001)
    assert timedelta() < datetime.now(UTC) - times[-1] < timedelta(minutes=5)
    client = connect(simulator)
    client.subscribe("heartbeat", products=["BTC-USD"])
    assert client.receive_type("heartbeat")["last_trade_id"] == trades[0]["trade_id"]


def test_the_feed_goes_on_where_the_history_ends(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD"], rate=500, history=100, history_seconds=0.5)
    client = connect(simulator)
    client.subscribe("matches", products=["BTC-USD"])
    first = client.receive_type("match")
    assert first["trade_id"] > simulator.trades("BTC-USD")[100]
    assert client.receive_type("match")["trade_id"] == first["trade_id"] + 1


@settings(deadline=None, max_examples=25)
@given(history=st.integers(0, 300), spacing=st.floats(0.001, 60), seed=st.integers(0, 1000))
def test_it_is_the_market_that_was_there_before(history: int, spacing: float, seed: int) -> None:
    market = Market(BITCOIN, seed=seed, start_ns=START_NS, history=history, history_seconds=spacing)
    before = Market(BITCOIN, seed=seed, start_ns=START_NS - 10**15)
    while len(before.trade_ids) <= history:
        before.order(START_NS)
    assert len(market.trade_ids) == history + 1
    then = before.page(limit=10**6)[-history - 1 :]
    now = market.page(limit=10**6)
    # The numbers of the messages depend on the time as well, as orders come and go.
    assert [msgspec.structs.replace(trade, time_ns=0, sequence=0) for trade in then] == [
        msgspec.structs.replace(trade, time_ns=0, sequence=0) for trade in now
    ]
    assert all(newer.time_ns >= older.time_ns for newer, older in pairwise(now))
    assert now[0].time_ns <= START_NS


def test_rest_looks_back_no_further_than_is_kept(simulate: Simulate) -> None:
    simulator = simulate(products=["BTC-USD"], rate=0, history=50, trades_kept=7)
    page = requests.get(f"{simulator.rest_url}/products/BTC-USD/trades", timeout=20).json()
    assert [trade["trade_id"] for trade in page] == list(reversed(simulator.trades("BTC-USD")))[:7]
