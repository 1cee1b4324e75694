"""The events of `status` and `auctionfeed`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rxbridge.coinbase.decoding import decode
from rxbridge.events import EncodedEvent, EventRules, encode, event_id, to_event
from rxbridge.events.json_schema import json_schema
from rxbridge.messages import Auction, EventMessage, Frame, ProductStatus

MakeFrame = Callable[..., Frame]
Accepted = Callable[[EncodedEvent, Frame], dict[str, Any]]

HOUR = 3600 * 10**9

AUCTION: Mapping[str, Any] = {
    "type": "auction",
    "product_id": "LTC-USD",
    "sequence": 3262786978,
    "auction_state": "collection",
    "best_bid_price": "333.98",
    "best_bid_size": "4.39088265",
    "best_ask_price": "333.99",
    "best_ask_size": "25.23542881",
    "open_price": "333.99",
    "open_size": "0.193",
    "can_open": "yes",
    "timestamp": "2022-10-19T23:28:23.511254Z",
}


def listed(product: str = "BTC-USD", **fields: Any) -> dict[str, Any]:
    return {"id": product, "status": "online", "status_message": None, "min_market_funds": "10", **fields}


@pytest.fixture
def messages(frame: MakeFrame) -> Callable[..., list[EventMessage]]:
    def read(content: Mapping[str, Any], **where: int) -> list[EventMessage]:
        found = decode(frame(content, **where))
        assert all(isinstance(message, (ProductStatus, Auction)) for message in found)
        return [message for message in found if isinstance(message, (ProductStatus, Auction))]

    return read


Messages = Callable[..., list[EventMessage]]


def status(*products: dict[str, Any]) -> dict[str, Any]:
    return {"type": "status", "products": products, "currencies": []}


def written(message: EventMessage, accepted: Accepted, rules: EventRules | None = None) -> dict[str, Any]:
    event = to_event(message, rules or EventRules(), now=0)
    made = accepted(encode(event, 1, message.frame.received_at, message.part), message.frame)
    Draft202012Validator(json.loads(json.dumps(json_schema()))).validate(made)
    return made


def test_a_status_says_how_its_product_is_listed(messages: Messages, accepted: Accepted) -> None:
    (message,) = messages(status(listed(status="offline", status_message="for a while", post_only=True)))

    event = written(message, accepted)

    assert event["title"] == "Coinbase Status: BTC-USD"
    assert event["message"] == "BTC-USD is offline: for a while"
    assert event["source"]["endpoint"] == "/status"
    assert event["context"]["tags"] == {"product_id": "BTC-USD", "source": "coinbase", "channel": "status"}
    assert event["timestamp"] == "2022-10-19T23:28:23.750000"
    payload = event["payload"]
    assert payload.pop("raw_status") == listed(status="offline", status_message="for a while", post_only=True)
    assert payload == {
        "product_id": "BTC-USD",
        "status": "offline",
        "status_message": "for a while",
        "display_name": None,
        "base_currency": None,
        "quote_currency": None,
        "min_market_funds": 10.0,
        "post_only": True,
    }


def test_a_status_that_has_not_changed_is_a_repeat_within_its_hour(messages: Messages) -> None:
    def ids(received_at: int, *products: dict[str, Any]) -> list[str]:
        return [
            event_id(message) for message in messages(status(*products), received_at=received_at, index=received_at)
        ]

    start = 1_666_222_103_750_000_000 // HOUR * HOUR
    first = ids(start, listed(), listed("ETH-USD"))
    later = ids(start + 5 * 10**9, listed(), listed("ETH-USD", status="offline"))
    back = ids(start + HOUR - 1, listed(), listed("ETH-USD"))
    next_hour = ids(start + HOUR, listed(), listed("ETH-USD"))

    assert first[0].startswith("coinbase-BTC-USD-status-2022101923-")
    assert later[0] == first[0]
    assert later[1] != first[1]
    assert back == first
    assert not set(next_hour) & set(first)


def test_the_place_in_the_frame_and_what_is_not_read_do_not_matter_to_the_id(messages: Messages) -> None:
    (alone,) = messages(status(listed()))
    _, second = messages(status(listed("ETH-USD"), listed(something="else")))

    assert event_id(alone) == event_id(second)


def test_an_auction_says_what_it_would_come_to(messages: Messages, accepted: Accepted) -> None:
    (message,) = messages(AUCTION)

    event = written(message, accepted)

    assert event["event_id"] == event_id(message)
    assert event["event_id"].startswith("coinbase-LTC-USD-auction-")
    assert event["message"] == "Auction of LTC-USD (collection) would open at $333.99"
    assert event["metrics"] == {"response_time_ms": 0.0, "status_code": 200, "price": 333.99, "size": 0.193}
    assert event["timestamp"] == "2022-10-19T23:28:23.511254"
    payload = event["payload"]
    assert (payload["can_open"], payload["sequence"], payload["best_bid_price"]) == (True, 3262786978, 333.98)
    assert payload["raw_auction"] == dict(AUCTION)
    assert "invalid_fields" not in payload


def test_each_auction_message_is_an_event_however_often_it_comes(messages: Messages) -> None:
    (message,) = messages(AUCTION)
    (again,) = messages(AUCTION, received_at=1_666_222_104_750_000_000, connection=9, index=9)
    (next_one,) = messages({**AUCTION, "timestamp": "2022-10-19T23:28:24.511254Z"})

    assert event_id(again) == event_id(message)
    assert event_id(next_one) != event_id(message)


@pytest.mark.parametrize("content", [AUCTION, status(listed())])
def test_without_raw_the_original_is_left_out(
    messages: Messages, accepted: Accepted, content: Mapping[str, Any]
) -> None:
    (message,) = messages(content)

    assert not [name for name in written(message, accepted, EventRules(raw=False))["payload"] if name.startswith("raw")]


def test_what_is_of_no_use_is_named(messages: Messages, accepted: Accepted) -> None:
    (message,) = messages(
        {"type": "auction", "can_open": "perhaps", "open_price": "x", "sequence": -1, "timestamp": "y"}
    )

    payload = written(message, accepted)["payload"]

    assert payload["product_id"] == "UNKNOWN"
    assert payload["open_price"] == 0.0
    assert "can_open" not in payload
    assert payload["invalid_fields"] == ["product_id", "timestamp", "sequence", "open_price", "can_open"]


@pytest.mark.parametrize("product", ["BTC-USD-status", "A-auction-B", "A-order", "A-rfq-1"])
def test_a_product_that_looks_like_another_id_is_never_taken_for_it(messages: Messages, product: str) -> None:
    (message,) = messages(status(listed(product)))

    assert "~" in event_id(message)
