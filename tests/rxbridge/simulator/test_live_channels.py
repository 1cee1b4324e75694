"""The channels that send at intervals, and products that are not like the others, over real sockets."""

import json
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
import requests

from operators.order_book import OrderBook
from rxbridge.simulator import Simulator

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]
Frame = dict[str, Any]


def has(kind: str) -> Callable[[Frame], bool]:
    return lambda frame: frame["type"] == kind


def follow(book: OrderBook, frames: list[Frame]) -> None:
    for frame in frames:
        if frame["type"] == "snapshot":
            book.apply_snapshot(frame["bids"], frame["asks"])
        elif frame["type"] == "l2update":
            book.apply_update(frame["changes"])
            assert not book.is_crossed


def rest_book(simulator: Simulator, product: str, level: int = 2) -> Frame:
    return requests.get(f"{simulator.rest_url}/products/{product}/book?level={level}", timeout=20).json()


def as_numbers(levels: list[list[Any]]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(level[0]), Decimal(level[1])) for level in levels]


def test_a_book_is_followed_from_its_snapshot_on(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD"], rate=200, book_changes_per_second=0)
    client = connect(simulator)
    client.subscribe("level2_batch", "matches", products=["BTC-USD"])
    client.receive_type("match")
    enough = client.frames[-1]["trade_id"] + 300
    client.receive_until(lambda frame: frame.get("trade_id") == enough)
    simulator.pause()
    last = simulator.trades("BTC-USD")[-1]
    if last != enough:
        client.receive_until(lambda frame: frame.get("trade_id") == last)
    book = OrderBook()
    follow(book, client.frames)

    def agrees() -> bool:
        rest = rest_book(simulator, "BTC-USD")
        return book.top(10**6) == (tuple(as_numbers(rest["bids"])), tuple(as_numbers(rest["asks"])))

    # The last trade is on its way in both forms; what changed with it comes 50 ms later.
    while not agrees():
        follow(book, client.receive_until(has("l2update")))
    updates = [frame for frame in client.frames if frame["type"] == "l2update"]
    changes = [change for frame in updates for change in frame["changes"]]
    gone = {size for _, _, size in changes if not Decimal(size)}
    assert {"0.00", "0.00000000"} <= gone
    assert {side for side, _, _ in changes} == {"buy", "sell"}
    assert list(updates[0]) == ["type", "product_id", "changes", "time"]


def test_orders_come_and_go_without_any_trade(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD", "ETH-USD"], rate=0, book_depth=7, book_changes_per_second=300)
    client = connect(simulator)
    client.subscribe("level2_batch", products=["BTC-USD"])
    snapshot = client.receive_type("snapshot")
    assert (len(snapshot["bids"]), len(snapshot["asks"])) == (7, 7)
    book = OrderBook()
    follow(book, [snapshot])
    for _ in range(10):
        update = client.receive_type("l2update")
        assert update["product_id"] == "BTC-USD"
        follow(book, [update])
    assert (len(book.bids()), len(book.asks())) == (7, 7)


def test_who_comes_later_follows_the_same_book(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD"], rate=100, book_changes_per_second=500)
    first, second = connect(simulator), connect(simulator)
    first.subscribe("level2_batch", products=["BTC-USD"])
    first.receive_type("l2update")
    second.subscribe("level2_batch", products=["BTC-USD"])
    one, other = OrderBook(), OrderBook()
    updates = [second.receive_type("l2update") for _ in range(5)]
    follow(other, second.frames)
    first.receive_until(lambda frame: frame == updates[-1])
    follow(one, first.frames)
    assert one.top(10**6) == other.top(10**6)


def test_the_book_is_acknowledged_by_another_name(simulate: Simulate, connect: Connect) -> None:
    client = connect(simulate(products=["BTC-USD"], rate=0))
    client.subscribe("level2_batch", products=["BTC-USD"])
    acknowledgement = client.receive_type("subscriptions")
    assert acknowledgement["channels"] == [{"name": "level2_50", "product_ids": ["BTC-USD"], "account_ids": None}]


def test_nobody_hears_of_a_book_that_is_no_longer_subscribed(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD", "ETH-USD"], rate=0, book_changes_per_second=1000)
    client = connect(simulator)
    client.subscribe("level2_batch", products=["BTC-USD", "ETH-USD"])
    client.receive_type("l2update")
    client.say({"type": "unsubscribe", "product_ids": ["BTC-USD"], "channels": ["level2_batch"]})
    client.receive_until(
        lambda frame: frame["type"] == "subscriptions" and frame["channels"][0]["product_ids"] == ["ETH-USD"]
    )
    assert {client.receive_type("l2update")["product_id"] for _ in range(5)} == {"ETH-USD"}
    # Whoever comes back is given the whole book again.
    client.subscribe("level2_batch", products=["BTC-USD"])
    assert client.receive_type("snapshot")["product_id"] == "BTC-USD"
    client.receive_until(lambda frame: frame["type"] == "l2update" and frame["product_id"] == "BTC-USD")


def test_tickers_agree_with_the_book(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD"], rate=200, max_trades=50, book_changes_per_second=0)
    client = connect(simulator)
    client.subscribe("ticker", products=["BTC-USD"])
    last = simulator.trades("BTC-USD")[0] + 50
    ticker = client.receive_until(lambda frame: frame.get("trade_id") == last)[-1]
    rest = rest_book(simulator, "BTC-USD", level=1)
    assert rest["bids"][0][:2] == [ticker["best_bid"], ticker["best_bid_size"]]
    assert rest["asks"][0][:2] == [ticker["best_ask"], ticker["best_ask_size"]]


def test_tickers_in_batches_come_when_there_is_something_new(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD"], rate=500, ticker_batch_seconds=0.05, max_trades=200)
    client = connect(simulator)
    client.subscribe("ticker_batch", products=["BTC-USD"])
    last = simulator.trades("BTC-USD")[0] + 200
    client.receive_until(lambda frame: frame.get("trade_id") == last)
    ids = [frame["trade_id"] for frame in client.frames if frame["type"] == "ticker"]
    assert all(earlier < later for earlier, later in pairwise(ids))
    assert len(ids) < 150
    # The market rests: there is nothing to tell any more.
    client.expect_silence(0.3)


def test_both_names_of_the_batches_are_one_channel(simulate: Simulate, connect: Connect) -> None:
    client = connect(simulate(products=["BTC-USD"], rate=0))
    client.subscribe("ticker_1000", "auctionfeed", products=["BTC-USD"])
    acknowledgement = client.receive_type("subscriptions")
    assert {channel["name"] for channel in acknowledgement["channels"]} == {"ticker_batch", "auctionfeed"}


def test_the_status_lists_products_and_currencies(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD", "OLD-EUR:delisted"], rate=0, status_seconds=0.1)
    client = connect(simulator)
    client.subscribe("status")
    first = client.receive_type("status")
    assert client.receive_type("status") == first
    assert [(product["id"], product["status"]) for product in first["products"]] == [
        ("BTC-USD", "online"),
        ("OLD-EUR", "delisted"),
    ]
    assert first["products"][0]["status_message"] is None
    assert [currency["id"] for currency in first["currencies"]] == ["BTC", "EUR", "OLD", "USD"]
    (network,) = first["currencies"][0]["supported_networks"]
    assert isinstance(network["min_withdrawal_amount"], float)
    assert isinstance(first["currencies"][0]["min_size"], str)
    client.say({"type": "unsubscribe", "product_ids": ["BTC-USD"], "channels": ["status"]})
    client.receive_until(lambda frame: frame["type"] == "subscriptions" and not frame["channels"])
    client.expect_silence(0.3)


@pytest.mark.parametrize("channel", ["level2", "level3", "full"])
def test_what_needs_a_key_is_refused(simulate: Simulate, connect: Connect, channel: str) -> None:
    client = connect(simulate(rate=0))
    client.subscribe(channel, products=["BTC-USD"])
    assert "require authentication" in client.receive_type("error")["reason"]


def test_a_product_that_was_never_traded(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["NEW-USD:untraded"], rate=1000, heartbeat_seconds=0.05)
    client = connect(simulator)
    client.subscribe("ticker", "ticker_batch", "matches", "heartbeat", products=["NEW-USD"])
    client.receive_until(has("heartbeat"))
    assert sorted(frame["type"] for frame in client.frames) == ["heartbeat", "subscriptions", "ticker", "ticker"]
    for ticker in (frame for frame in client.frames if frame["type"] == "ticker"):
        assert ticker["price"] == "0"
        assert not {"sequence", "time", "trade_id", "side", "last_size"} & ticker.keys()
        assert Decimal(ticker["best_bid"]) < Decimal(ticker["best_ask"])
    assert client.frames[-1]["last_trade_id"] == 0
    assert len(simulator.trades("NEW-USD")) == 0
    for what in ("trades", "candles"):
        assert requests.get(f"{simulator.rest_url}/products/NEW-USD/{what}", timeout=20).json() == []


def test_a_delisted_product_voids_the_whole_subscribe(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD", "OLD-USD:delisted"], rate=0)
    client = connect(simulator)
    client.subscribe("ticker", products=["BTC-USD", "OLD-USD"])
    assert client.receive() == {
        "type": "error",
        "message": "Failed to subscribe",
        "reason": "OLD-USD is not a valid product",
    }
    client.expect_silence(0.2)
    listed = requests.get(f"{simulator.rest_url}/products", timeout=20).json()
    assert [(product["id"], product["status"], product["trading_disabled"]) for product in listed] == [
        ("BTC-USD", "online", False),
        ("OLD-USD", "delisted", True),
    ]
    assert requests.get(f"{simulator.rest_url}/products/OLD-USD", timeout=20).json() == listed[1]
    assert requests.get(f"{simulator.rest_url}/products/OLD-USD/trades", timeout=20).json() == []
    assert rest_book(simulator, "OLD-USD")["bids"] == []


def test_quiet_products_are_traded_seldom(simulate: Simulate, connect: Connect, wait_for: Callable[..., None]) -> None:
    simulator = simulate(products=["BTC-USD", "SLOW-USD:quiet"], rate=20_000, max_trades=3000)
    wait_for(lambda: sum(len(simulator.trades(product)) for product in ("BTC-USD", "SLOW-USD")) == 3002)
    # One in 101 on average: 30, of which sweeps make somewhat more uneven.
    assert 0 < len(simulator.trades("SLOW-USD")) - 1 < 150


def test_four_hundred_products_are_served_at_once(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["399", "OLD-USD:delisted"], rate=50)
    listed = requests.get(f"{simulator.rest_url}/products", timeout=20).json()
    assert len(listed) == 400
    client = connect(simulator)
    live = [product["id"] for product in listed if not product["trading_disabled"]]
    client.subscribe("level2_batch", "matches", "ticker", products=live)
    snapshots: set[str] = set()
    while len(snapshots) < 399:
        frame = json.loads(client.socket.recv())
        if frame["type"] == "snapshot":
            snapshots.add(frame["product_id"])
    assert snapshots == set(live)
    client.receive_until(has("match"))


def test_a_product_that_was_never_traded_collects_the_orders_of_an_auction(
    simulate: Simulate, connect: Connect
) -> None:
    simulator = simulate(products=["NEW-USD:untraded", "BTC-USD"], rate=0)
    client = connect(simulator)
    client.subscribe("auctionfeed", products=["NEW-USD", "BTC-USD"])

    auctions = [client.receive_type("auction") for _ in range(2)]

    (bid, *_), (ask, *_) = rest_book(simulator, "NEW-USD", level=1)["bids"], rest_book(simulator, "NEW-USD", 1)["asks"]
    for auction in auctions:
        assert (auction["product_id"], auction["auction_state"], auction["can_open"]) == ("NEW-USD", "collection", "no")
        assert (Decimal(auction["best_bid_price"]), Decimal(auction["best_ask_price"])) == (
            Decimal(bid[0]),
            Decimal(ask[0]),
        )
        assert Decimal(bid[0]) <= Decimal(auction["open_price"]) <= Decimal(ask[0])
    assert auctions[0]["timestamp"] < auctions[1]["timestamp"]
