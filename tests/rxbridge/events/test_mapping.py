"""Messages to events, field by field."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import pytest

from rxbridge.coinbase.decoding import decode
from rxbridge.events import Event, EventRules, encode, event_id, to_event
from rxbridge.messages import Frame, Ticker, Trade
from rxbridge.version import __version__

MakeFrame = Callable[..., Frame]
PROCESSED_AT = 1_700_000_000_123_456_789
PROCESSED_AT_TEXT = "2023-11-14T22:13:20.123456"


def mapped(frame: Frame, **options: Any) -> Event:
    (message,) = decode(frame)
    assert isinstance(message, (Ticker, Trade))
    return to_event(message, now=PROCESSED_AT, **options)


def as_sent(frame: Frame, **options: Any) -> dict[str, Any]:
    return json.loads(encode(mapped(frame, **options), frame.offset).body)


def payload(frame: Frame) -> dict[str, Any]:
    return as_sent(frame)["payload"]


def test_a_ticker_field_by_field(ticker: Mapping[str, Any], frame: MakeFrame) -> None:
    assert as_sent(frame(ticker)) == {
        "event_type": "custom_event",
        "severity": "info",
        "event_id": "coinbase-ETH-USD-370843401",
        "title": "Coinbase Price Update: ETH-USD",
        "message": "Real-time price update for ETH-USD: $1285.22. Volume (24h): $245532.79",
        "source": {
            "service": "coinbase-exchange",
            "endpoint": "/ticker",
            "method": "WEBSOCKET",
            "version": "v1",
            "environment": "production",
        },
        "context": {
            "request_id": "coinbase-ETH-USD-370843401",
            "tags": {"product_id": "ETH-USD", "source": "coinbase", "channel": "ticker"},
        },
        "metrics": {
            "response_time_ms": 0.0,
            "status_code": 200,
            "price": 1285.22,
            "volume_24h": 245532.79269678,
            "spread": 0.23,
        },
        "payload": {
            "product_id": "ETH-USD",
            "price": 1285.22,
            "volume_24h": 245532.79269678,
            "last_trade_id": 370843401,
            "best_bid": 1285.04,
            "best_ask": 1285.27,
            "spread": 0.23,
            "low_24h": 1280.52,
            "high_24h": 1313.8,
            "open_24h": 1310.79,
            "last_size": 11.4396987,
            "side": "buy",
            "sequence": 37475248783,
            "raw_ticker": ticker,
        },
        "metadata": {
            "processed_at": PROCESSED_AT_TEXT,
            "source_system": "coinbase-websocket-bridge",
            "bridge_version": __version__,
        },
        "timestamp": "2022-10-19T23:28:22.061769",
    }


def test_a_match_field_by_field(match: Mapping[str, Any], frame: MakeFrame) -> None:
    assert as_sent(frame(match)) == {
        "event_type": "custom_event",
        "severity": "info",
        "event_id": "coinbase-BTC-USD-match-370843402",
        "title": "Coinbase Trade: BTC-USD",
        "message": "Real-time trade for BTC-USD: $400.23. Size: 5.23512000",
        "source": {
            "service": "coinbase-exchange",
            "endpoint": "/matches",
            "method": "WEBSOCKET",
            "version": "v1",
            "environment": "production",
        },
        "context": {
            "request_id": "coinbase-BTC-USD-match-370843402",
            "tags": {"product_id": "BTC-USD", "source": "coinbase", "channel": "matches"},
        },
        "metrics": {"response_time_ms": 0.0, "status_code": 200, "price": 400.23, "size": 5.23512},
        "payload": {
            "product_id": "BTC-USD",
            "price": 400.23,
            "size": 5.23512,
            "value": 2095.2520776,
            "trade_id": 370843402,
            "side": "sell",
            "taker_side": "buy",
            "sequence": 50,
            "time": "2022-10-19T23:28:23.5Z",
            "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
            "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
            "raw_match": match,
        },
        "metadata": {
            "processed_at": PROCESSED_AT_TEXT,
            "source_system": "coinbase-websocket-bridge",
            "bridge_version": __version__,
        },
        "timestamp": "2022-10-19T23:28:23.500000",
    }


def test_the_order_of_the_fields_is_that_of_the_schema(ticker: Mapping[str, Any], frame: MakeFrame) -> None:
    assert list(as_sent(frame(ticker))) == [
        "event_type", "severity", "event_id", "title", "message", "source", "context", "metrics", "payload", "metadata",
        "timestamp",
    ]  # fmt: skip


def test_the_frame_is_embedded_byte_for_byte(ticker: Mapping[str, Any], frame: MakeFrame) -> None:
    spaced = frame(json.dumps(ticker, indent=1).encode())
    named = frame({**ticker, "note": "Grüße"})
    numeric = frame(b'{"type":"ticker","price":1.50,"fraction":0.12345678901234567890,"deep":[{"a":[1E5]}]}')

    for source in (spaced, named, numeric):
        assert source.data in encode(mapped(source), 0).body
        assert "raw_ticker" not in payload(source).get("invalid_fields", [])


def test_a_last_match_is_the_same_event_as_the_match(match: Mapping[str, Any], frame: MakeFrame) -> None:
    last = {**match, "type": "last_match"}

    expected, event = as_sent(frame(match)), as_sent(frame(last))

    assert event["payload"].pop("raw_match") == last
    assert expected["payload"].pop("raw_match") == match
    assert event == expected


def test_what_log_lines_and_the_audit_need(match: Mapping[str, Any], frame: MakeFrame) -> None:
    encoded = encode(mapped(frame(match)), 17)

    assert encoded.event_id == "coinbase-BTC-USD-match-370843402"
    assert encoded.title == "Coinbase Trade: BTC-USD"
    assert encoded.price == 400.23
    assert encoded.offset == 17
    assert encoded.timestamp == datetime.fromisoformat("2022-10-19T23:28:23.5")


def test_the_original_can_be_left_out(ticker: Mapping[str, Any], match: Mapping[str, Any], frame: MakeFrame) -> None:
    for content, name in ((ticker, "raw_ticker"), (match, "raw_match")):
        whole = as_sent(frame(content))
        without = as_sent(frame(content), rules=EventRules(raw=False))

        assert whole["payload"].pop(name) == content
        assert without["payload"] == whole["payload"]
        assert without["event_id"] == whole["event_id"]


def test_the_environment_is_a_setting(ticker: Mapping[str, Any], frame: MakeFrame) -> None:
    assert as_sent(frame(ticker), rules=EventRules("staging"))["source"]["environment"] == "staging"
    assert as_sent(frame(ticker), rules=EventRules("e" * 60))["source"]["environment"] == "e" * 49 + "…"


def test_it_is_stamped_with_the_time_of_the_mapping(ticker: Mapping[str, Any], frame: MakeFrame) -> None:
    (message,) = decode(frame(ticker))
    assert isinstance(message, Ticker)

    assert to_event(message).metadata.processed_at > datetime.fromisoformat("2023-01-01")


@pytest.mark.parametrize(
    ("bid", "ask", "spread"),
    [
        ("14.7550", "14.8060", 0.051),
        ("100.01", "100.02", 0.01),
        ("0.00001305", "0.00001306", 1e-8),
        ("14.8060", "14.7550", -0.051),
        (0.1, 0.3, 0.2),
        ("123456789012345.12345678", "123456789012345.12345679", 1e-8),
        ("1e-300", "1e300", 1e300),
        ("0", "100", 0.0),
        ("100", "0.00", 0.0),
        ("100", "", 0.0),
        (" 10\n", "1_5.5", 5.5),
        ("\N{ARABIC-INDIC DIGIT ONE}0", "\N{EM SPACE}20", 10.0),
    ],
)
def test_the_spread_is_computed_in_decimals(
    ticker: Mapping[str, Any], frame: MakeFrame, bid: Any, ask: Any, spread: float
) -> None:
    assert payload(frame({**ticker, "best_bid": bid, "best_ask": ask}))["spread"] == spread


@pytest.mark.parametrize(
    "value",
    [None, "", "abc", "NaN", "-nan", "Infinity", "-inf", "1e400", "9" * 400, True, False, "1.2.3", "0x10", "\0"],
)
@pytest.mark.parametrize(
    "field", ["price", "volume_24h", "best_bid", "best_ask", "low_24h", "high_24h", "open_24h", "last_size"]
)
def test_what_is_no_number_is_zero_and_named(
    ticker: Mapping[str, Any], frame: MakeFrame, field: str, value: Any
) -> None:
    made = payload(frame({**ticker, field: value}))

    assert made[field] == 0.0
    assert [name for name in made["invalid_fields"] if name != "raw_ticker"] == [field]


@pytest.mark.parametrize(
    ("value", "number"), [(5, 5.0), (1.5, 1.5), ("1e3", 1000.0), ("-1", -1.0), (0, 0.0), (" 2 ", 2.0)]
)
def test_a_number_is_a_number_however_it_came(
    ticker: Mapping[str, Any], frame: MakeFrame, value: Any, number: float
) -> None:
    made = payload(frame({**ticker, "price": value}))

    assert made["price"] == number
    assert "invalid_fields" not in made


def test_what_is_missing_is_named_too(frame: MakeFrame) -> None:
    event = as_sent(frame({"type": "ticker", "product_id": "NEW-USD", "price": "0"}))

    assert event["payload"]["last_trade_id"] is None
    assert event["payload"]["sequence"] is None
    assert event["payload"]["side"] is None
    assert event["payload"]["invalid_fields"] == [
        "time", "best_bid", "best_ask", "volume_24h", "low_24h", "high_24h", "open_24h", "last_size",
    ]  # fmt: skip


def test_a_computed_number_may_be_beyond_a_float(
    ticker: Mapping[str, Any], match: Mapping[str, Any], frame: MakeFrame
) -> None:
    spread = payload(frame({**ticker, "best_bid": "-1.7e308", "best_ask": "1.7e308"}))
    value = payload(frame({**match, "price": "1e308", "size": "1e308"}))

    assert (spread["spread"], spread["invalid_fields"]) == (0.0, ["spread"])
    assert (value["value"], value["invalid_fields"]) == (0.0, ["value"])


@pytest.mark.parametrize("value", [0, -1, 1.5, "abc", "", "1_000", "٣", 2**63, "9" * 30, "9" * 5000, True])
def test_what_is_no_trade_id_is_null_and_named(match: Mapping[str, Any], frame: MakeFrame, value: Any) -> None:
    made = payload(frame({**match, "trade_id": value}))

    assert made["trade_id"] is None
    assert made["invalid_fields"] == ["trade_id"]


@pytest.mark.parametrize("value", ["370843402", 370843402.0, 370843402])
def test_a_trade_id_may_be_text_or_a_float(match: Mapping[str, Any], frame: MakeFrame, value: Any) -> None:
    event = as_sent(frame({**match, "trade_id": value}))

    assert event["payload"]["trade_id"] == 370843402
    assert event["event_id"] == "coinbase-BTC-USD-match-370843402"


def test_a_sequence_may_be_zero(match: Mapping[str, Any], frame: MakeFrame) -> None:
    assert payload(frame({**match, "sequence": 0}))["sequence"] == 0
    assert payload(frame({**match, "sequence": -1}))["invalid_fields"] == ["sequence"]


@pytest.mark.parametrize(
    ("time", "timestamp"),
    [
        ("2022-10-19T23:28:22.061769Z", "2022-10-19T23:28:22.061769"),
        ("2022-10-19T23:28:05.77Z", "2022-10-19T23:28:05.770000"),
        ("2022-10-19T23:28:05Z", "2022-10-19T23:28:05"),
        ("2022-10-19T23:28:05.123456789Z", "2022-10-19T23:28:05.123456"),
        ("2022-10-19T23:28:05.5", "2022-10-19T23:28:05.500000"),
        ("2022-10-20T01:28:05+02:00", "2022-10-19T23:28:05"),
        ("2022-10-19T23:32:23Z", "2022-10-19T23:32:23"),
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00"),
    ],
)
def test_the_timestamp_is_the_time_of_the_trade_in_naive_utc(
    ticker: Mapping[str, Any], frame: MakeFrame, time: str, timestamp: str
) -> None:
    event = as_sent(frame({**ticker, "time": time}))

    assert event["timestamp"] == timestamp
    assert "invalid_fields" not in event["payload"]


@pytest.mark.parametrize(
    "time",
    [
        None,
        "",
        "yesterday",
        1666222103,
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:00",
        "9999-12-31T23:59:59-23:00",
        "1969-12-31T23:59:59.999999Z",
        "2022-10-19T23:32:23.000001Z",
        "2022-10-19T23:28:05+02:00Z",
        "2022-10-19T23:28:05ZZ",
        "2022-13-19T23:28:05Z",
        "x" * 1000,
    ],
)
def test_the_time_of_receipt_stands_for_a_time_that_cannot_be(
    match: Mapping[str, Any], frame: MakeFrame, time: Any
) -> None:
    event = as_sent(frame({**match, "time": time}))

    assert event["timestamp"] == "2022-10-19T23:28:23.750000"
    assert event["payload"]["invalid_fields"] == ["time"]


@pytest.mark.parametrize("product", [None, ""])
def test_a_message_may_name_no_product(ticker: Mapping[str, Any], frame: MakeFrame, product: str | None) -> None:
    event = as_sent(frame({**ticker, "product_id": product}))

    assert event["title"] == "Coinbase Price Update: UNKNOWN"
    assert event["event_id"] == "coinbase-UNKNOWN-370843401"
    assert event["context"]["tags"]["product_id"] == event["payload"]["product_id"] == "UNKNOWN"
    assert event["payload"]["invalid_fields"] == ["product_id"]


def test_text_is_cleaned_shortened_and_named(match: Mapping[str, Any], frame: MakeFrame) -> None:
    made = payload(frame({**match, "product_id": "A\0B", "side": "s" * 101, "maker_order_id": "m" * 100}))

    assert made["product_id"] == "A\N{REPLACEMENT CHARACTER}B"
    assert made["side"] == "s" * 99 + "…"
    assert made["taker_side"] is None
    assert made["maker_order_id"] == "m" * 100
    assert made["invalid_fields"] == ["product_id", "side", "raw_match"]


def test_a_message_made_by_hand_has_no_frame_to_embed() -> None:
    event = to_event(Ticker(product_id="BTC-USD", price="1", trade_id=5))
    sent = json.loads(encode(event, 0).body)

    assert event.event_id == "coinbase-BTC-USD-5"
    assert sent["payload"]["raw_ticker"] == ""
    assert "raw_ticker" in sent["payload"]["invalid_fields"]


def test_a_boolean_is_no_number_even_in_a_message_made_by_hand() -> None:
    event = to_event(Ticker(product_id="BTC-USD", price=True, trade_id=True, sequence=False))
    sent = json.loads(encode(event, 0).body)["payload"]

    assert (sent["price"], sent["last_trade_id"], sent["sequence"]) == (0.0, None, None)
    assert {"price", "trade_id", "sequence"} <= set(sent["invalid_fields"])


def test_a_receipt_out_of_all_time_makes_no_event_but_has_an_id(ticker: Mapping[str, Any], frame: MakeFrame) -> None:
    impossible = frame(ticker, received_at=10**30)
    (message,) = decode(impossible)
    assert isinstance(message, Ticker)

    assert event_id(message) == "coinbase-ETH-USD-370843401"
    with pytest.raises(OverflowError):
        to_event(message)
