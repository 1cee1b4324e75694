"""The events of the channels `full` and `rfq_matches`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from rxbridge.coinbase.decoding import decode
from rxbridge.events import EncodedEvent, EventRules, encode, event_id, to_event
from rxbridge.events.json_schema import json_schema
from rxbridge.messages import Frame, Order, RfqMatch, Trade

MakeFrame = Callable[..., Frame]
Accepted = Callable[[EncodedEvent, Frame], dict[str, Any]]

ORDER_ID = "d50ec984-77a8-460a-b958-66f114b0de9b"
DONE: Mapping[str, Any] = {
    "type": "done",
    "time": "2022-10-19T23:28:23.5Z",
    "product_id": "BTC-USD",
    "sequence": 10,
    "price": "200.2",
    "order_id": ORDER_ID,
    "reason": "filled",
    "side": "sell",
    "remaining_size": "0",
}
RFQ: Mapping[str, Any] = {
    "type": "rfq_match",
    "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
    "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
    "time": "2022-10-19T23:28:23.5Z",
    "trade_id": 30,
    "product_id": "BTC-USD",
    "size": "5.5",
    "price": "400.25",
    "side": "sell",
}


def message_of(source: Frame) -> Order | RfqMatch:
    (message,) = decode(source)
    assert isinstance(message, (Order, RfqMatch))
    return message


def written(message: Order | RfqMatch, accepted: Accepted, rules: EventRules | None = None) -> dict[str, Any]:
    event = accepted(encode(to_event(message, rules or EventRules(), now=0), 1), message.frame)
    Draft202012Validator(json.loads(json.dumps(json_schema()))).validate(event)
    return event


def test_what_happened_to_an_order(frame: MakeFrame, accepted: Accepted) -> None:
    event = written(message_of(frame(DONE)), accepted)

    assert event["event_id"] == f"coinbase-BTC-USD-order-{ORDER_ID}-10"
    assert event["title"] == "Coinbase Order: BTC-USD"
    assert event["message"] == "Order done for BTC-USD: sell at $200.20 (filled)"
    assert event["source"]["endpoint"] == "/full"
    assert event["context"]["tags"]["channel"] == "full"
    assert event["timestamp"] == "2022-10-19T23:28:23.500000"
    payload = event["payload"]
    assert payload.pop("raw_order") == DONE
    assert payload == {
        "product_id": "BTC-USD",
        "kind": "done",
        "order_id": ORDER_ID,
        "sequence": 10,
        "side": "sell",
        "time": "2022-10-19T23:28:23.5Z",
        "order_type": None,
        "reason": "filled",
        "price": 200.2,
        "remaining_size": 0.0,
    }


def test_a_market_order_has_no_price(frame: MakeFrame, accepted: Accepted) -> None:
    fields = {"type": "received", "price": "", "size": None, "funds": "3000.234", "order_type": "market"}
    payload = written(message_of(frame({**DONE, **fields})), accepted)["payload"]

    assert (payload["funds"], payload["order_type"]) == (3000.234, "market")
    assert not {"price", "size", "invalid_fields"} & payload.keys()


def test_an_order_that_becomes_active_has_a_time_in_seconds(frame: MakeFrame, accepted: Accepted) -> None:
    activated = {"type": "activate", "product_id": "A", "timestamp": "1483736448.299", "order_id": ORDER_ID}
    message = message_of(frame(activated))

    event = written(message, accepted)

    assert event["timestamp"] == "2017-01-06T21:00:48.299000"
    assert event["payload"]["time"] == "1483736448.299"
    assert event_id(message_of(frame(activated, index=9, received_at=5))) == event_id(message)
    assert event_id(message_of(frame({**activated, "timestamp": "1483736449.299"}))) != event_id(message)


@pytest.mark.parametrize("timestamp", ["never", "1e400", "-1", "99999999999"])
def test_a_time_that_cannot_be_is_that_of_the_receipt(frame: MakeFrame, accepted: Accepted, timestamp: str) -> None:
    event = written(message_of(frame({"type": "activate", "timestamp": timestamp})), accepted)

    assert event["timestamp"] == "2022-10-19T23:28:23.750000"
    assert "timestamp" in event["payload"]["invalid_fields"]


@pytest.mark.parametrize(
    "changes", [{"sequence": None}, {"sequence": 0}, {"order_id": "odd"}, {"order_id": None}, {"product_id": "X" * 40}]
)
def test_without_a_usable_id_the_content_counts(frame: MakeFrame, changes: dict[str, Any]) -> None:
    content = {**DONE, "sequence": 2**62} | changes
    identity = event_id(message_of(frame(content)))

    assert len(identity) <= 100
    assert event_id(message_of(frame(content, index=77))) == identity
    assert event_id(message_of(frame({**content, "type": "open"}))) != identity


def test_a_trade_of_full_is_the_event_of_the_trade(frame: MakeFrame, match: Mapping[str, Any]) -> None:
    (trade,) = decode(frame({**match, "user_id": "1", "profile_id": "2"}))

    assert isinstance(trade, Trade)
    assert event_id(trade) == f"coinbase-BTC-USD-match-{match['trade_id']}"


def test_a_trade_that_answered_a_request_for_quotes(frame: MakeFrame, accepted: Accepted) -> None:
    event = written(message_of(frame(RFQ)), accepted)

    assert event["event_id"] == "coinbase-BTC-USD-rfq-30"
    assert event["title"] == "Coinbase RFQ Trade: BTC-USD"
    assert event["source"]["endpoint"] == "/rfq_matches"
    assert event["payload"]["raw_match"] == RFQ
    assert (event["payload"]["value"], event["payload"]["taker_side"]) == (2201.375, "buy")


@pytest.mark.parametrize("content", [DONE, RFQ])
def test_without_raw_the_original_is_left_out(frame: MakeFrame, accepted: Accepted, content: Mapping[str, Any]) -> None:
    payload = written(message_of(frame(content)), accepted, EventRules(raw=False))["payload"]

    assert not [name for name in payload if name.startswith("raw")]
