"""What clients may say, and each answer, without a socket."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.simulator.protocol import Refusal, Request, Subscriptions, parse

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

CHANNELS = {"ticker": "ticker", "matches": "matches", "heartbeat": "heartbeat", "level2_batch": "level2_50"}
PRODUCTS = frozenset({"BTC-USD", "ETH-USD", "ETH-BTC"})


def understood(message: object) -> Request | Refusal:
    text = message if isinstance(message, str | bytes) else json.dumps(message)
    return parse(text, channels=CHANNELS, products=PRODUCTS)


def subscribe(channels: object, product_ids: object = None) -> Request | Refusal:
    message: dict[str, object] = {"type": "subscribe", "channels": channels}
    return understood(message if product_ids is None else message | {"product_ids": product_ids})


def unsubscribe(channels: object, product_ids: object = None) -> Request | Refusal:
    message: dict[str, object] = {"type": "unsubscribe", "channels": channels}
    return understood(message if product_ids is None else message | {"product_ids": product_ids})


def test_products_on_top_are_for_every_channel() -> None:
    assert subscribe(["ticker", "matches"], ["BTC-USD", "ETH-USD"]) == Request(
        "subscribe", {"ticker": ("BTC-USD", "ETH-USD"), "matches": ("BTC-USD", "ETH-USD")}
    )


def test_products_inside_a_channel_are_for_that_channel() -> None:
    channels = [{"name": "ticker", "product_ids": ["BTC-USD"]}, {"name": "matches", "product_ids": ["ETH-USD"]}]
    assert subscribe(channels) == Request("subscribe", {"ticker": ("BTC-USD",), "matches": ("ETH-USD",)})


def test_products_inside_a_channel_come_on_top_of_those_for_all() -> None:
    channels = ["heartbeat", {"name": "ticker", "product_ids": ["ETH-BTC", "ETH-USD"]}]
    assert subscribe(channels, ["ETH-USD"]) == Request(
        "subscribe", {"heartbeat": ("ETH-USD",), "ticker": ("ETH-USD", "ETH-BTC")}
    )


def test_a_channel_object_without_products_takes_those_for_all() -> None:
    assert subscribe([{"name": "ticker"}, {"name": "matches", "product_ids": None}], ["ETH-USD"]) == Request(
        "subscribe", {"ticker": ("ETH-USD",), "matches": ("ETH-USD",)}
    )


def test_the_status_is_of_no_product() -> None:
    channels = CHANNELS | {"status": "status"}
    for extra in ({}, {"product_ids": []}, {"product_ids": ["NO-SUCH"]}):
        message = {"type": "subscribe", "channels": ["status"], **extra}
        request = parse(json.dumps(message), channels=channels, products=PRODUCTS)
        assert request == Request("subscribe", {"status": ("",)})
    subscriptions = Subscriptions()
    subscriptions.add(Request("subscribe", {"status": ("",)}))
    acknowledgement = json.loads(subscriptions.acknowledgement(Random(1)))
    assert acknowledgement["channels"] == [{"name": "status", "product_ids": [""], "account_ids": None}]
    gone = parse(
        json.dumps({"type": "unsubscribe", "channels": ["status"], "product_ids": ["BTC-USD"]}),
        channels=channels,
        products=PRODUCTS,
    )
    assert isinstance(gone, Request)
    assert subscriptions.remove(gone) == [("status", "")]


def test_a_channel_may_come_twice() -> None:
    channels = ["ticker", {"name": "ticker", "product_ids": ["BTC-USD"]}, "ticker"]
    assert subscribe(channels, ["ETH-USD"]) == Request("subscribe", {"ticker": ("ETH-USD", "BTC-USD")})


def test_a_channel_has_the_name_of_its_acknowledgement() -> None:
    assert subscribe(["level2_batch"], ["BTC-USD"]) == Request("subscribe", {"level2_50": ("BTC-USD",)})


def test_a_message_may_be_bytes_and_have_more_fields() -> None:
    message = b'{"type":"subscribe","channels":["ticker"],"product_ids":["BTC-USD"],"key":"k","timestamp":1}'
    assert understood(message) == Request("subscribe", {"ticker": ("BTC-USD",)})


@pytest.mark.parametrize(
    ("channels", "product_ids", "reason"),
    [
        (["ticker"], ["NO-SUCH"], "NO-SUCH is not a valid product"),
        (["ticker"], ["BTC-USD", "NO-SUCH", "ETH-USD"], "NO-SUCH is not a valid product"),
        (["ticker"], ["btc-usd"], "btc-usd is not a valid product"),
        (["ticker", {"name": "matches", "product_ids": ["NO-SUCH"]}], ["BTC-USD"], "NO-SUCH is not a valid product"),
        ([{"name": "ticker", "product_ids": []}], ["BTC-USD"], " is not a valid product"),
        (["ticker"], [], " is not a valid product"),
        (["ticker"], None, " is not a valid product"),
        (["trades"], ["BTC-USD"], "trades is not a valid channel"),
        (["ticker", {"name": "status"}], ["BTC-USD"], "status is not a valid channel"),
        ([""], ["BTC-USD"], " is not a valid channel"),
        ([], ["BTC-USD"], "No channels provided"),
        (None, ["BTC-USD"], "No channels provided"),
    ],
)
def test_refused_subscribes(channels: object, product_ids: object, reason: str) -> None:
    assert subscribe(channels, product_ids) == Refusal("Failed to subscribe", reason)


@pytest.mark.parametrize("channel", ["level2", "level3", "full"])
def test_channels_for_which_one_must_log_in(channel: str) -> None:
    assert subscribe([channel, "ticker"], ["BTC-USD"]) == Refusal(
        "Failed to subscribe",
        "level2, level3, and full channels now require authentication. "
        "https://docs.cloud.coinbase.com/exchange/docs/websocket-auth",
    )


@pytest.mark.parametrize("message", [{}, {"type": "hello"}, {"type": ""}, {"channels": ["ticker"]}])
def test_another_type_is_refused(message: object) -> None:
    assert understood(message) == Refusal("Failed to subscribe", "Type has to be either subscribe or unsubscribe")


@pytest.mark.parametrize("text", ["", "{", "hello", '{"type":"subscribe"', b"\xff\xfe", b'{"type":"\xff"}'])
def test_what_is_no_json_is_refused(text: str | bytes) -> None:
    refusal = understood(text)
    assert isinstance(refusal, Refusal)
    assert refusal.message == "Malformed JSON"


@pytest.mark.parametrize(
    "message",
    [
        [],
        "7",
        {"type": 7},
        {"type": "subscribe", "channels": "ticker"},
        {"type": "subscribe", "channels": [7]},
        {"type": "subscribe", "channels": [{}]},
        {"type": "subscribe", "channels": ["ticker"], "product_ids": "BTC-USD"},
        {"type": "subscribe", "channels": ["ticker"], "product_ids": [7]},
    ],
)
def test_fields_of_a_wrong_type_are_refused(message: object) -> None:
    refusal = understood(message)
    assert isinstance(refusal, Refusal)
    assert refusal.message == "Failed to subscribe"
    assert refusal.reason.startswith("Malformed message: ")


@unhurried
@given(st.binary() | st.text())
def test_no_message_is_too_strange(text: str | bytes) -> None:
    assert isinstance(understood(text), Request | Refusal)


def test_an_unsubscribe_without_products_is_for_the_whole_channel() -> None:
    assert unsubscribe(["ticker", {"name": "matches", "product_ids": []}]) == Request(
        "unsubscribe", {"ticker": None, "matches": None}
    )


def test_an_unsubscribe_with_products_is_for_those() -> None:
    channels = ["ticker", {"name": "matches", "product_ids": ["ETH-USD"]}]
    assert unsubscribe(channels, ["BTC-USD"]) == Request(
        "unsubscribe", {"ticker": ("BTC-USD",), "matches": ("BTC-USD", "ETH-USD")}
    )


def test_an_unsubscribe_of_a_whole_channel_includes_its_products() -> None:
    named = {"name": "ticker", "product_ids": ["ETH-USD"]}
    assert unsubscribe([named, "ticker"]) == unsubscribe(["ticker", named]) == Request("unsubscribe", {"ticker": None})


def test_an_unsubscribe_without_channels_is_refused() -> None:
    assert unsubscribe([]) == Refusal("Failed to unsubscribe", "No channels provided")


def acknowledged(subscriptions: Subscriptions, seed: int = 1) -> dict[str, set[str]]:
    frame: dict[str, Any] = json.loads(subscriptions.acknowledgement(Random(seed)))
    assert list(frame) == ["type", "channels"]
    assert frame["type"] == "subscriptions"
    assert all(list(channel) == ["name", "product_ids", "account_ids"] for channel in frame["channels"])
    assert all(len(set(channel["product_ids"])) == len(channel["product_ids"]) for channel in frame["channels"])
    return {channel["name"]: set(channel["product_ids"]) for channel in frame["channels"]}


def test_an_acknowledgement_lists_all_that_is_subscribed() -> None:
    subscriptions = Subscriptions()
    assert acknowledged(subscriptions) == {}
    subscriptions.add(Request("subscribe", {"ticker": ("BTC-USD",)}))
    subscriptions.add(Request("subscribe", {"ticker": ("ETH-USD", "BTC-USD"), "matches": ("ETH-USD",)}))
    assert acknowledged(subscriptions) == {"ticker": {"BTC-USD", "ETH-USD"}, "matches": {"ETH-USD"}}
    assert ("ticker", "BTC-USD") in subscriptions
    assert ("matches", "BTC-USD") not in subscriptions
    assert ("heartbeat", "BTC-USD") not in subscriptions


def test_to_add_returns_what_was_asked_for_and_to_remove_what_is_gone() -> None:
    subscriptions = Subscriptions()
    subscriptions.add(Request("subscribe", {"ticker": ("BTC-USD", "ETH-USD"), "matches": ("BTC-USD",)}))
    again = Request("subscribe", {"ticker": ("BTC-USD",)})
    assert subscriptions.add(again) == [("ticker", "BTC-USD")]
    assert subscriptions.remove(Request("unsubscribe", {"ticker": ("ETH-USD", "ETH-BTC"), "heartbeat": None})) == [
        ("ticker", "ETH-USD")
    ]
    assert subscriptions.remove(Request("unsubscribe", {"matches": None})) == [("matches", "BTC-USD")]
    assert list(subscriptions) == [("ticker", "BTC-USD")]
    assert acknowledged(subscriptions) == {"ticker": {"BTC-USD"}}


def test_acknowledgements_come_in_no_particular_order() -> None:
    subscriptions = Subscriptions()
    products = tuple(f"P{number}-USD" for number in range(8))
    subscriptions.add(Request("subscribe", {"ticker": products, "matches": products}))
    assert len({subscriptions.acknowledgement(Random(seed)) for seed in range(10)}) > 5
    assert subscriptions.acknowledgement(Random(1)) == subscriptions.acknowledgement(Random(1))
