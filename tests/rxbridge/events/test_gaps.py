"""What rxbridge says of something that is missing, as a message and as an event."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase.decoding import decode
from rxbridge.events import encode, event_id, to_event
from rxbridge.messages import OWN_CONNECTION, Frame, GapNotice, Trade, Unknown

NOW = 1_764_000_000_123_456_789
TRADES = {
    "type": "rxbridge_gap",
    "kind": "trades",
    "products": ["BTC-USD"],
    "channel": "matches",
    "first": 101,
    "last": 110,
    "reason": "REST does not have them",
}
QUOTES = TRADES | {
    "kind": "quotes",
    "products": ["BTC-USD", "ETH-USD"],
    "channel": "ticker",
    "first": NOW - 12_500_000_000,
    "last": NOW,
    "reason": "disconnected",
}


def frame(fields: dict[str, Any], connection: int = OWN_CONNECTION) -> Frame:
    return Frame(json.dumps(fields).encode(), NOW, connection, 0, 7)


def notice(fields: dict[str, Any]) -> GapNotice:
    (message,) = decode(frame(fields))
    assert isinstance(message, GapNotice)
    return message


def body(fields: dict[str, Any]) -> dict[str, Any]:
    return json.loads(encode(to_event(notice(fields), now=NOW), 7).body)


def test_missing_trades_are_a_warning_that_names_them() -> None:
    event = body(TRADES)
    assert (event["event_type"], event["severity"]) == ("system_event", "warning")
    assert event["event_id"] == "coinbase-gap-trades-BTC-USD-101-110"
    assert event["title"] == "Coinbase Gap: BTC-USD"
    assert event["message"] == "10 trades of BTC-USD are missing, ids 101 to 110: REST does not have them"
    assert event["payload"] == {
        "kind": "trades",
        "products": ["BTC-USD"],
        "channel": "matches",
        "first_trade_id": 101,
        "last_trade_id": 110,
        "trades": 10,
        "began_at": None,
        "ended_at": None,
        "seconds": None,
        "reason": "REST does not have them",
    }


def test_missing_quotes_are_a_warning_with_their_length_in_time() -> None:
    event = body(QUOTES)
    assert event["message"] == "No ticker of BTC-USD, ETH-USD was received for 12.500 s: disconnected"
    payload = event["payload"]
    assert (payload["seconds"], payload["trades"]) == (12.5, None)
    began_at, ended_at = (datetime.fromisoformat(payload[name]) for name in ("began_at", "ended_at"))
    assert (ended_at - began_at).total_seconds() == 12.5
    assert began_at.tzinfo is None


def test_the_same_gap_has_the_same_id_and_another_has_another() -> None:
    ids = [event_id(notice(QUOTES | change)) for change in ({}, {}, {"last": NOW + 1}, {"products": ["BTC-USD"]})]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 3


@given(
    st.lists(st.text(max_size=200), min_size=1, max_size=500),
    st.integers(0, 2**63 - 1),
    st.integers(0, 2**63 - 1),
    st.sampled_from(["trades", "quotes"]),
    st.text(max_size=3000),
)
def test_whatever_is_missing_pulsestream_takes_the_event(
    products: list[str], first: int, last: int, kind: str, reason: str
) -> None:
    fields = TRADES | {"products": products, "first": first, "last": last, "kind": kind, "reason": reason}
    encoded = encode(to_event(notice(fields), now=NOW), 7)
    event = msgspec.json.decode(encoded.body)
    assert len(event["event_id"]) <= 100
    assert event["event_id"].isascii()
    assert len(event["title"]) <= 200
    assert len(event["message"]) <= 2000
    assert b"\\u0000" not in encoded.body


@pytest.mark.parametrize("fields", [TRADES, {"type": "rxbridge_gap"}])
def test_coinbase_cannot_speak_in_our_name(fields: dict[str, Any]) -> None:
    assert decode(frame(fields, connection=NOW)) == (Unknown(type="rxbridge_gap", frame=frame(fields, NOW)),)


@pytest.mark.parametrize(("connection", "backfilled"), [(OWN_CONNECTION, True), (NOW, False)])
def test_a_trade_from_rest_says_so_and_keeps_its_id(connection: int, *, backfilled: bool) -> None:
    fields = {
        "type": "match",
        "trade_id": 5,
        "product_id": "BTC-USD",
        "price": "1.50",
        "size": "2",
        "side": "buy",
        "time": "2025-11-24T16:00:00.123456Z",
        "rxbridge_source": "rest",
    }
    (match,) = decode(frame(fields, connection))
    assert isinstance(match, Trade)
    assert event_id(match) == "coinbase-BTC-USD-match-5"
    payload = json.loads(encode(to_event(match, now=NOW), 7).body)["payload"]
    assert payload.get("backfilled", False) is backfilled
