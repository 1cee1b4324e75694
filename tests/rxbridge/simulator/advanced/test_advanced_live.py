"""Live markets told in the words of Advanced Trade: the trades are those of the Exchange side, each told once."""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.errors import ConfigError
from rxbridge.simulator import Simulator
from rxbridge.simulator.advanced.channels import Candles
from tests.rxbridge.simulator.advanced.conftest import trades_of

Simulate = Callable[..., Simulator]
Converse = Callable[..., Any]
WaitFor = Callable[..., None]

PRODUCTS = ("BTC-USD", "ETH-USD")

QUOTES = {"best_bid", "best_ask", "best_bid_quantity", "best_ask_quantity"}


def advanced(simulate: Simulate, **options: Any) -> Simulator:
    return simulate(feed="advanced", **{"products": PRODUCTS, **options})


def rest_trades(simulator: Simulator, product: str, limit: int = 1000) -> list[dict[str, Any]]:
    url = f"{simulator.rest_url}/products/{product}/trades?limit={limit}"
    return requests.get(url, timeout=10).json()


def receive_up_to(client: Any, simulator: Simulator, product: str) -> None:
    """Read on to the last trade of a product, of which no more are made."""
    newest = simulator.trades(product)[-1]
    while newest not in trades_of(client.frames, product):
        client.receive()


def test_the_snapshot_is_the_last_100_trades_and_the_updates_those_that_follow(
    simulate: Simulate, converse: Converse
) -> None:
    simulator = advanced(simulate, rate=400, history=150)
    client = converse(simulator)

    client.subscribe("market_trades", *PRODUCTS)
    assert client.receive_acknowledgement() == {"market_trades": list(PRODUCTS)}
    greeting = client.frames[:-1]
    for _ in range(60):
        client.receive()
    simulator.pause()
    for product in PRODUCTS:
        receive_up_to(client, simulator, product)

    assert [frame["events"][0]["type"] for frame in greeting] == ["snapshot", "snapshot"]
    assert [len(trades_of(greeting, product)) for product in PRODUCTS] == [100, 100]
    for frame in client.frames[3:]:
        (event,) = frame["events"]
        ids = [int(trade["trade_id"]) for trade in event["trades"]]
        assert event["type"] == "update"
        assert 1 <= len(ids) <= 6
        assert ids == sorted(ids, reverse=True)
    for product in PRODUCTS:
        told = trades_of(client.frames, product)
        assert told == list(range(told[0], simulator.trades(product).stop))
        assert len(told) > 100


def test_the_trades_are_those_of_rest(simulate: Simulate, converse: Converse) -> None:
    simulator = advanced(simulate, rate=0, history=80)
    client = converse(simulator)

    client.subscribe("market_trades", "BTC-USD")
    told = client.receive()["events"][0]["trades"]

    kept = rest_trades(simulator, "BTC-USD")
    assert len(told) == len(kept) == 81
    for trade, record in zip(told, kept, strict=True):
        assert list(trade) == ["product_id", "trade_id", "price", "size", "time", "side"]
        assert trade["product_id"] == "BTC-USD"
        assert trade["trade_id"] == str(record["trade_id"])
        assert trade["side"] == record["side"].upper()
        assert trade["time"] == record["time"]
        for field in ("price", "size"):
            assert Decimal(trade[field]) == Decimal(record[field])
            assert not ("." in trade[field] and trade[field].endswith("0"))


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["subscribe", "unsubscribe"]),
        # Those of the trades are looked at: they are not asked for twice.
        st.sampled_from(["ticker", "ticker_batch", "candles", "level2", "heartbeats", "no such"]),
        st.lists(st.sampled_from(["BTC-USD", "BTC-USDC", "ETH-USD", "NO-SUCH"]), min_size=1, max_size=3),
    ),
    max_size=12,
)


def is_answer(frame: dict[str, Any]) -> bool:
    return frame.get("channel", "error") in {"subscriptions", "error"}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(actions=ACTIONS)
def test_whatever_is_asked_for_the_numbers_have_no_hole_and_trades_come_once(
    converse: Converse, actions: list[tuple[str, str, list[str]]]
) -> None:
    with Simulator(feed="advanced", products=PRODUCTS, rate=500, heartbeat_seconds=0.02) as simulator:
        client = converse(simulator)
        client.subscribe("market_trades", *PRODUCTS)
        for action, channel, products in actions:
            client.subscribe(channel, *products, action=action)
        # Each message is answered. Whether the numbers have a hole, the client looks at each frame.
        while sum(map(is_answer, client.frames)) < 1 + len(actions):
            client.receive()
        simulator.pause()
        for product in PRODUCTS:
            receive_up_to(client, simulator, product)
            told = trades_of(client.frames, product)
            assert told == list(range(told[0], simulator.trades(product).stop))
        client.client.socket.shutdown()


def test_a_client_that_comes_later_misses_nothing_and_the_first_gets_nothing_twice(
    simulate: Simulate, converse: Converse
) -> None:
    simulator = advanced(simulate, rate=500)
    clients = []
    for _ in range(5):
        client = converse(simulator)
        client.subscribe("market_trades", "BTC-USD")
        client.receive_acknowledgement()
        clients.append(client)
    simulator.pause()

    for client in clients:
        receive_up_to(client, simulator, "BTC-USD")
        told = trades_of(client.frames, "BTC-USD")
        assert told == list(range(told[0], simulator.trades("BTC-USD").stop))


def test_a_ticker_has_quotes_but_neither_trade_nor_time(simulate: Simulate, converse: Converse) -> None:
    simulator = advanced(simulate, rate=50)
    client = converse(simulator)

    client.subscribe("ticker", "BTC-USD")
    client.receive_acknowledgement()
    client.receive()

    kinds = [frame["events"][0]["type"] for frame in client.frames if frame["channel"] == "ticker"]
    assert kinds == ["snapshot", "update"]
    (ticker,) = client.frames[-1]["events"][0]["tickers"]
    assert list(ticker) == [
        "type",
        "product_id",
        "price",
        "volume_24_h",
        "low_24_h",
        "high_24_h",
        "low_52_w",
        "high_52_w",
        "price_percent_chg_24_h",
        "best_bid",
        "best_ask",
        "best_bid_quantity",
        "best_ask_quantity",
    ]
    assert Decimal(ticker["low_52_w"]) <= Decimal(ticker["low_24_h"]) <= Decimal(ticker["price"])
    assert Decimal(ticker["price"]) <= Decimal(ticker["high_24_h"]) <= Decimal(ticker["high_52_w"])
    assert Decimal(ticker["best_bid"]) < Decimal(ticker["best_ask"])


def test_a_batched_ticker_has_no_quotes_and_comes_when_there_was_a_trade(
    simulate: Simulate, converse: Converse
) -> None:
    simulator = advanced(simulate, rate=200, ticker_batch_seconds=0.05)
    client = converse(simulator)

    client.subscribe("ticker_batch", "BTC-USD")
    client.receive_acknowledgement()
    client.receive()

    assert [one["channel"] for one in client.frames] == ["ticker_batch", "subscriptions", "ticker_batch"]
    (ticker,) = client.frames[-1]["events"][0]["tickers"]
    assert not QUOTES & set(ticker)


def test_a_batched_ticker_that_says_nothing_new_does_not_come(simulate: Simulate, converse: Converse) -> None:
    client = converse(advanced(simulate, rate=0, ticker_batch_seconds=0.02))

    client.subscribe("ticker_batch", "BTC-USD")

    client.receive_acknowledgement()
    client.expect_silence(0.3)


def candles_of(trades: list[dict[str, Any]]) -> dict[int, tuple[Decimal, ...]]:
    """Open, high, low, close and volume by start, of trades as REST lists them: newest first."""
    candles: dict[int, tuple[Decimal, ...]] = {}
    for trade in reversed(trades):
        start = int(datetime.fromisoformat(trade["time"]).timestamp()) // 300 * 300
        price, size = Decimal(trade["price"]), Decimal(trade["size"])
        first, high, low, _, volume = candles.get(start, (price, price, price, price, Decimal(0)))
        candles[start] = (first, max(high, price), min(low, price), price, volume + size)
    return candles


def test_candles_are_those_of_the_trades_and_updates_replace_them(
    simulate: Simulate, converse: Converse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Candles, "every_seconds", 0.05)
    simulator = advanced(simulate, rate=200, history=300, history_seconds=10.0)
    client = converse(simulator)
    held: dict[int, tuple[Decimal, ...]] = {}
    starts: list[int] = []

    def hold(frame: dict[str, Any]) -> None:
        for candle in frame["events"][0]["candles"] if frame["channel"] == "candles" else ():
            starts.append(int(candle["start"]))
            held[starts[-1]] = tuple(Decimal(candle[name]) for name in ("open", "high", "low", "close", "volume"))

    client.subscribe("candles", "BTC-USD")
    client.receive_acknowledgement()
    for frame in client.frames:
        hold(frame)
    assert starts == sorted(starts)
    assert len(starts) >= 10
    for _ in range(5):
        hold(client.receive())
    simulator.pause()
    expected = candles_of(rest_trades(simulator, "BTC-USD"))
    while held != expected:
        hold(client.receive())


def test_heartbeats_count_by_one_on_every_connection_in_the_words_of_go(simulate: Simulate, converse: Converse) -> None:
    simulator = advanced(simulate, heartbeat_seconds=0.05)
    first, second = converse(simulator), converse(simulator)

    for client in (first, second):
        client.subscribe("heartbeats")
        assert client.receive_acknowledgement() == {"heartbeats": ["heartbeats"]}
        for _ in range(3):
            client.receive()

    beats = [frame["events"][0] for frame in first.frames[1:]]
    counters = [beat["heartbeat_counter"] for beat in beats]
    assert counters == list(range(counters[0], counters[0] + 3))
    assert second.frames[1]["events"][0]["heartbeat_counter"] > counters[0]
    for beat in beats:
        assert list(beat) == ["current_time", "heartbeat_counter"]
        assert re.fullmatch(
            r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})? \+0000 UTC m=\+\d+\.\d{9}", beat["current_time"]
        )


def apply(book: dict[tuple[str, Decimal], Decimal], frame: dict[str, Any]) -> None:
    for update in frame["events"][0]["updates"]:
        level = update["side"], Decimal(update["price_level"])
        if Decimal(update["new_quantity"]) == 0:
            assert update["new_quantity"] == "0"
            book.pop(level, None)
        else:
            book[level] = Decimal(update["new_quantity"])


def test_the_book_that_follows_from_the_updates_is_that_of_a_later_snapshot_and_never_crossed(
    simulate: Simulate, converse: Converse
) -> None:
    simulator = advanced(simulate, rate=300)
    client, later = converse(simulator), converse(simulator)
    book: dict[tuple[str, Decimal], Decimal] = {}

    client.subscribe("level2", "BTC-USD")
    client.receive_acknowledgement()
    assert [one["channel"] for one in client.frames] == ["l2_data", "subscriptions"]
    apply(book, client.frames[0])
    for _ in range(30):
        apply(book, client.receive())
        bids = [price for side, price in book if side == "bid"]
        offers = [price for side, price in book if side == "offer"]
        assert max(bids) < min(offers)
    later.subscribe("level2", "BTC-USD")
    expected: dict[tuple[str, Decimal], Decimal] = {}
    apply(expected, later.receive())

    # The other is told all up to the snapshot right before it.
    while book != expected:
        apply(book, client.receive())


def test_a_product_that_was_never_traded_has_an_empty_snapshot(simulate: Simulate, converse: Converse) -> None:
    client = converse(advanced(simulate, products=("BTC-USD", "NEW-USD:untraded")))

    for channel, items in (("market_trades", "trades"), ("candles", "candles"), ("ticker", "tickers")):
        client.subscribe(channel, "NEW-USD")
        client.receive_acknowledgement()
        assert client.frames[-2]["events"] == [{"type": "snapshot", items: []}]


def test_the_status_lists_a_product(simulate: Simulate, converse: Converse) -> None:
    client = converse(advanced(simulate))

    client.subscribe("status", "ETH-USD")

    assert client.receive_acknowledgement() == {"status": ["ETH-USD"]}
    (event,) = client.frames[0]["events"]
    assert event["type"] == "snapshot"
    (product,) = event["products"]
    assert (product["id"], product["status"], product["quote_increment"]) == ("ETH-USD", "online", "0.01")


def test_what_is_unsubscribed_ends_and_the_rest_goes_on(simulate: Simulate, converse: Converse) -> None:
    client = converse(advanced(simulate, rate=200))
    client.subscribe("market_trades", *PRODUCTS)
    client.receive_acknowledgement()

    client.unsubscribe("market_trades", "BTC-USD")
    assert client.receive_acknowledgement() == {"market_trades": ["ETH-USD"]}
    seen = len(client.frames)
    for _ in range(20):
        client.receive()
    assert trades_of(client.frames[seen:], "BTC-USD") == []
    assert trades_of(client.frames[seen:], "ETH-USD")
    client.unsubscribe("market_trades")
    assert client.receive_acknowledgement() == {}
    client.expect_silence(0.3)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"type": "subscribe", "channel": "user"}, "authentication failure"),
        ({"type": "subscribe", "channel": "ticker", "product_ids": ["XXX-YYY"]}, "XXX-YYY is not a valid product"),
        ({"type": "subscribe", "channel": "ticker"}, "product_ids: at least one product is needed"),
        ({"type": "listen", "channel": "ticker"}, "type has to be either subscribe or unsubscribe"),
        ({"type": "subscribe", "channel": 7}, "malformed message: Expected `str`, got `int` - at `$.channel`"),
    ],
)
def test_a_message_that_cannot_be_obeyed_is_refused(
    simulate: Simulate, converse: Converse, message: dict[str, Any], text: str
) -> None:
    client = converse(advanced(simulate))
    client.client.say(message)
    assert client.receive() == {"type": "error", "message": text}


def test_text_that_is_no_message_is_refused(simulate: Simulate, converse: Converse) -> None:
    client = converse(advanced(simulate))
    client.client.say("{")
    assert client.receive()["message"].startswith("malformed JSON: ")


def test_who_does_not_subscribe_is_disconnected(simulate: Simulate, converse: Converse) -> None:
    simulator = advanced(simulate, subscribe_deadline_seconds=0.1)
    client = converse(simulator)
    assert client.client.receive_close() == (1008, "no subscribe within 0.1 s")


def test_a_delisted_product_is_listed_and_refused(simulate: Simulate, converse: Converse) -> None:
    simulator = advanced(simulate, products=("BTC-USD", "OLD-USD:delisted"))
    listed = requests.get(f"{simulator.rest_url}/products", timeout=10).json()
    assert {product["id"] for product in listed} == {"BTC-USD", "OLD-USD"}
    client = converse(simulator)

    client.subscribe("ticker", "OLD-USD")

    assert client.receive() == {"type": "error", "message": "OLD-USD is not a valid product"}


def test_a_feed_that_there_is_not_is_refused() -> None:
    options: dict[str, Any] = {"feed": "prime"}
    with pytest.raises(ConfigError, match="feed: 'prime' is none"):
        Simulator(**options)


def test_many_products_are_told_together(simulate: Simulate, converse: Converse, wait_for: WaitFor) -> None:
    simulator = advanced(simulate, products=("200",), rate=400)
    listed = requests.get(f"{simulator.rest_url}/products", timeout=10).json()
    # One of them is served under the name of another.
    products = [product["id"] for product in listed if not product["id"].endswith("-USDC")]
    client = converse(simulator)

    client.subscribe("market_trades", *products)
    assert client.receive_acknowledgement() == {"market_trades": sorted(products)}
    assert len(products) == 199
    wait_for(lambda: simulator.statistics.frames.get("market_trades", 0) > 300)
    simulator.pause()

    for product in products[:5]:
        receive_up_to(client, simulator, product)
        told = trades_of(client.frames, product)
        assert told == list(simulator.trades(product))[-len(told) :]


def test_a_pause_stops_the_books_until_it_is_over(simulate: Simulate, converse: Converse) -> None:
    simulator = advanced(simulate, rate=0, book_changes_per_second=1000.0, heartbeat_seconds=0.05)
    client = converse(simulator)
    client.subscribe("heartbeats")
    client.subscribe("level2", "BTC-USD")
    while client.receive()["channel"] != "l2_data" or client.frames[-1]["events"][0]["type"] == "snapshot":
        pass

    simulator.pause()
    while [frame["channel"] for frame in client.frames[-5:]] != ["heartbeats"] * 5:
        client.receive()
    simulator.resume()

    while client.receive()["channel"] != "l2_data":
        pass
