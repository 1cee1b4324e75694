"""REST on the feed's port: paging through trades as a backfill does."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from rxbridge.recording import RecordedFrame
from rxbridge.simulator import Simulator

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]
WaitFor = Callable[..., None]


@pytest.fixture
def market(simulate: Simulate, wait_for: WaitFor) -> Simulator:
    """A market that made 2,500 trades and rests."""
    simulator = simulate(products=["BTC-USD"], rate=50_000, max_trades=2500)
    wait_for(lambda: len(simulator.trades("BTC-USD")) == 2501)
    return simulator


def get(simulator: Simulator, target: str) -> requests.Response:
    return requests.get(simulator.rest_url + target, timeout=20)


def test_a_backfill_walks_down_to_the_first_trade(market: Simulator) -> None:
    ids: list[int] = []
    target = "/products/BTC-USD/trades?limit=1000"
    while page := (answer := get(market, target)).json():
        found = [trade["trade_id"] for trade in page]
        assert answer.headers["CB-BEFORE"] == str(found[0])
        assert answer.headers["CB-AFTER"] == str(found[-1])
        ids.extend(found)
        target = f"/products/BTC-USD/trades?limit=1000&after={found[-1]}"
    assert ids == list(reversed(market.trades("BTC-USD")))
    assert "CB-AFTER" not in answer.headers


def test_a_hole_is_filled_from_its_upper_end(market: Simulator) -> None:
    first = market.trades("BTC-USD")[0]
    page = get(market, f"/products/BTC-USD/trades?after={first + 20}&limit=9").json()
    assert [trade["trade_id"] for trade in page] == list(range(first + 19, first + 10, -1))


def test_before_means_newer(market: Simulator) -> None:
    last = market.trades("BTC-USD")[-1]
    page = get(market, f"/products/BTC-USD/trades?before={last - 3}").json()
    assert [trade["trade_id"] for trade in page] == [last, last - 1, last - 2]


@pytest.mark.parametrize("query", ["", "?limit=5000", "?limit=1000"])
def test_a_page_has_a_thousand_trades_at_most(market: Simulator, query: str) -> None:
    assert len(get(market, f"/products/BTC-USD/trades{query}").json()) == 1000


def test_rest_and_feed_tell_the_same_trade(market: Simulator, connect: Connect) -> None:
    client = connect(market)
    client.subscribe("matches", products=["BTC-USD"])
    match = client.receive_type("last_match")
    (trade,) = get(market, "/products/BTC-USD/trades?limit=1").json()
    assert list(trade) == ["trade_id", "side", "size", "price", "time"]
    assert (trade["trade_id"], trade["side"], trade["time"]) == (match["trade_id"], match["side"], match["time"])
    assert float(trade["price"]) == float(match["price"])
    assert float(trade["size"]) == float(match["size"])
    assert len(trade["price"].partition(".")[2]) == len(trade["size"].partition(".")[2]) == 8


def test_only_the_newest_trades_are_kept(simulate: Simulate, wait_for: WaitFor) -> None:
    simulator = simulate(products=["BTC-USD"], rate=10_000, max_trades=50, trades_kept=7)
    wait_for(lambda: len(simulator.trades("BTC-USD")) == 51)
    page = get(simulator, "/products/BTC-USD/trades").json()
    assert [trade["trade_id"] for trade in page] == list(reversed(simulator.trades("BTC-USD")))[:7]


def test_products(simulate: Simulate) -> None:
    simulator = simulate(products=["ETH-BTC", "BTC-USD"], rate=0)
    listed = get(simulator, "/products").json()
    assert [product["id"] for product in listed] == ["BTC-USD", "ETH-BTC"]
    assert {(product["status"], product["trading_disabled"]) for product in listed} == {("online", False)}
    assert get(simulator, "/products/ETH-BTC").json() == listed[1]
    assert (listed[1]["base_currency"], listed[1]["quote_currency"], listed[1]["quote_increment"]) == (
        "ETH",
        "BTC",
        "0.00001",
    )


def test_the_time(simulate: Simulate) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    time = get(simulate(rate=0), "/time").json()
    assert before < datetime.fromisoformat(time["iso"]) < datetime.now(UTC) + timedelta(seconds=1)
    assert datetime.fromtimestamp(time["epoch"], UTC) - datetime.fromisoformat(time["iso"]) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    "target", ["/", "/favicon.ico", "/products/NO-SUCH", "/products/NO-SUCH/trades", "/products/BTC-USD/stats"]
)
def test_what_is_not_there(simulate: Simulate, target: str) -> None:
    answer = get(simulate(rate=0), target)
    assert (answer.status_code, answer.json()) == (404, {"message": "NotFound"})


@pytest.mark.parametrize("query", ["limit=x", "limit=0", "limit=-1", "after=1.5", "before=a", "limit=\u0661"])
def test_bad_parameters(simulate: Simulate, query: str) -> None:
    answer = get(simulate(rate=0), f"/products/BTC-USD/trades?{query}")
    assert answer.status_code == 400
    assert answer.json()["message"] == f"Invalid {query.partition('=')[0]}"


def test_only_get(simulate: Simulate) -> None:
    answer = requests.post(simulate(rate=0).rest_url + "/products", timeout=20)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")


def test_a_recording_lists_its_products_and_no_trades(simulate: Simulate) -> None:
    frames = [RecordedFrame(1, b'{"type":"match","product_id":"BTC-USD","trade_id":1}')]
    simulator = simulate(recording=lambda: frames, speed=math.inf)
    assert [product["id"] for product in get(simulator, "/products").json()] == ["BTC-USD"]
    assert get(simulator, "/products/BTC-USD/trades").status_code == 404
