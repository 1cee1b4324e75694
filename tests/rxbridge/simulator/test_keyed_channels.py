"""The channels of the Exchange that need a key, over real sockets. Signatures are made here, as the documents say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from operators.order_book import OrderBook
from rxbridge.errors import ConfigError
from rxbridge.simulator import Credentials, Simulator

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]

SECRET = base64.b64encode(b"the simulator's secret, 40 bytes of text").decode()
KEY = Credentials("a key", SECRET, "a passphrase")


def signed(**changes: str) -> dict[str, str]:
    timestamp = changes.pop("timestamp", str(int(time.time())))
    secret = base64.b64decode(changes.pop("secret", SECRET))
    digest = hmac.new(secret, f"{timestamp}GET/users/self/verify".encode(), hashlib.sha256).digest()
    fields = {"key": "a key", "passphrase": "a passphrase", "timestamp": timestamp}
    return {**fields, "signature": base64.b64encode(digest).decode(), **changes}


def subscribe(client: Any, *channels: str, **changes: str) -> None:
    client.say({"type": "subscribe", "channels": channels, "product_ids": ["BTC-USD"], **signed(**changes)})


def test_full_tells_the_trades_of_matches_and_every_number_in_between(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD"], rate=500, credentials=KEY)
    simulator.pause()
    full, matches = connect(simulator), connect(simulator)
    subscribe(full, "full")
    full.receive_type("subscriptions")
    matches.subscribe("matches", products=["BTC-USD"])
    matches.receive_type("last_match")
    last = simulator.trades("BTC-USD")[-1] + 200
    simulator.resume()

    frames = [frame for frame in full.receive_until(lambda frame: frame.get("trade_id") == last) if "sequence" in frame]
    others = matches.receive_until(lambda frame: frame.get("trade_id") == last)

    assert [frame["sequence"] for frame in frames] == list(range(frames[0]["sequence"], frames[-1]["sequence"] + 1))
    assert [frame for frame in frames if frame["type"] == "match"] == [
        frame for frame in others if frame["type"] == "match" and frame["sequence"] >= frames[0]["sequence"]
    ]
    received = {frame["order_id"]: frame for frame in frames if frame["type"] == "received"}
    done = {frame["order_id"]: frame for frame in frames if frame["type"] == "done"}
    takers = {frame["taker_order_id"] for frame in frames if frame["type"] == "match"}
    assert takers <= received.keys()
    for taker in takers:
        sizes = [Decimal(frame["size"]) for frame in frames if frame.get("taker_order_id") == taker]
        assert sum(sizes) == Decimal(received[taker]["size"])
    filled = {order for order, frame in done.items() if frame["reason"] == "filled"}
    assert filled <= takers | {frame["maker_order_id"] for frame in frames if frame["type"] == "match"}
    assert {frame["type"] for frame in frames} == {"received", "open", "match", "done", "change"}


def test_level2_is_the_book_of_level2_batch(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(products=["BTC-USD"], rate=200, book_changes_per_second=0, credentials=KEY)
    client = connect(simulator)
    subscribe(client, "level2")
    book = OrderBook()
    snapshot = client.receive_type("snapshot")
    book.apply_snapshot(snapshot["bids"], snapshot["asks"])
    for _ in range(20):
        book.apply_update(client.receive_type("l2update")["changes"])
        assert not book.is_crossed


def test_requests_for_quotes_are_answered_without_naming_products(simulate: Simulate, connect: Connect) -> None:
    client = connect(simulate(products=["BTC-USD"], rate=0, credentials=KEY))
    client.say({"type": "subscribe", "channels": [{"name": "rfq_matches"}], **signed()})

    (acknowledged,) = client.receive_type("subscriptions")["channels"]
    trades = [client.receive_type("rfq_match") for _ in range(2)]

    assert (acknowledged["name"], acknowledged["product_ids"]) == ("rfq_matches", [""])
    assert [trade["trade_id"] for trade in trades] == [1, 2]
    assert trades[0]["product_id"] == "BTC-USD"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"key": "another"}, "Invalid API Key"),
        ({"passphrase": "another"}, "Invalid Passphrase"),
        ({"secret": base64.b64encode(b"another").decode()}, "invalid signature"),
        ({"timestamp": "1000000000"}, "request timestamp expired"),
        ({"timestamp": "now"}, "invalid timestamp"),
        ({"timestamp": "nan"}, "request timestamp expired"),
        ({"signature": "é"}, "invalid signature"),
    ],
)
def test_a_wrong_signature_is_refused_with_all_that_was_asked_for(
    simulate: Simulate, connect: Connect, changes: dict[str, str], reason: str
) -> None:
    client = connect(simulate(rate=0, credentials=KEY))
    subscribe(client, "full", "ticker", **changes)

    refused = client.receive_type("error")

    assert refused["message"] == "Sorry, you could not be authenticated: Bad Request"
    assert refused["reason"] == reason
    client.expect_silence(0.3)


@pytest.mark.parametrize("channel", ["full", "level2", "rfq_matches"])
def test_without_a_signature_they_are_refused(simulate: Simulate, connect: Connect, channel: str) -> None:
    client = connect(simulate(rate=0, credentials=KEY))
    client.subscribe(channel, products=["BTC-USD"])

    assert "require authentication" in client.receive_type("error")["reason"]


@pytest.mark.parametrize("credentials", [KEY._replace(passphrase=""), KEY._replace(secret="no base64")])
def test_a_key_that_nobody_could_sign_with_is_refused(credentials: Credentials) -> None:
    with pytest.raises(ConfigError, match=r"api_(key|secret)") as refused:
        Simulator(credentials=credentials)
    assert "no base64" not in str(refused.value)


def test_no_view_of_a_key_shows_it() -> None:
    assert repr(KEY) == f"{KEY}" == "Credentials(hidden)"
