"""Frames to messages: what Coinbase documents, what was reported of it, and what nobody should ever send."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.coinbase.exchange import decode
from rxbridge.errors import MalformedFrame
from rxbridge.messages import (
    FRAME_FIELD,
    PART_FIELD,
    WHOLE,
    BookSnapshot,
    BookUpdate,
    FeedErrorMessage,
    Frame,
    Heartbeat,
    LastTrade,
    SubscribedChannel,
    Subscriptions,
    Ticker,
    Trade,
    Unknown,
)


def frame(content: Any) -> Frame:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return Frame(data=data, received_at=1_700_000_000_000_000_000, connection=7, index=8, offset=9)


def decoded(content: Any) -> Any:
    source = frame(content)
    (message,) = decode(source)
    assert message.frame is source
    return message


def test_a_ticker_keeps_every_field_as_it_came() -> None:
    fields: dict[str, Any] = {
        "sequence": 37475248783,
        "product_id": "ETH-USD",
        "price": "1285.22",
        "open_24h": "1310.79",
        "volume_24h": "245532.79269678",
        "low_24h": "1280.52",
        "high_24h": "1313.8",
        "volume_30d": "9788783.60117027",
        "best_bid": "1285.04",
        "best_bid_size": "0.46688654",
        "best_ask": "1285.27",
        "best_ask_size": "1.56637040",
        "side": "buy",
        "time": "2022-10-19T23:28:22.061769Z",
        "trade_id": 370843401,
        "last_size": "11.43969870",
    }
    source = frame({"type": "ticker", **fields})

    assert decode(source) == (Ticker(**fields, frame=source),)


@pytest.mark.parametrize(("name", "kind"), [("match", Trade), ("last_match", LastTrade)])
def test_a_match_keeps_every_field_as_it_came(name: str, kind: type[Trade]) -> None:
    fields: dict[str, Any] = {
        "trade_id": 10,
        "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
        "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
        "side": "sell",
        "size": "5.23512",
        "price": "400.23",
        "product_id": "BTC-USD",
        "sequence": 50,
        "time": "2014-11-07T08:19:27.028459Z",
    }
    source = frame({"type": name, **fields})

    assert decode(source) == (kind(**fields, frame=source),)


def test_a_heartbeat() -> None:
    fields = {"sequence": 90, "last_trade_id": 20, "product_id": "BTC-USD", "time": "2014-11-07T08:19:28.464459Z"}

    message = decoded({"type": "heartbeat", **fields})

    assert isinstance(message, Heartbeat)
    assert (message.sequence, message.last_trade_id, message.product_id, message.time) == tuple(fields.values())


def test_an_acknowledgement() -> None:
    channels = [{"name": "ticker", "product_ids": ["BTC-USD", "ETH-USD"]}, {"name": "matches", "product_ids": []}]

    message = decoded({"type": "subscriptions", "channels": channels})

    assert isinstance(message, Subscriptions)
    assert message.channels == [
        SubscribedChannel("ticker", ["BTC-USD", "ETH-USD"]),
        SubscribedChannel("matches", []),
    ]


def test_the_empty_list_of_an_acknowledgement_may_be_null() -> None:
    message = decoded(b'{"type":"subscriptions","channels":[{"name":"status","product_ids":null,"account_ids":null}]}')

    assert message.channels == [SubscribedChannel("status", [])]
    assert decoded(b'{"type":"subscriptions","channels":null}').channels == []
    assert decoded(b'{"type":"subscriptions","channels":[null]}').channels == []


def test_a_book() -> None:
    snapshot = decoded({"type": "snapshot", "product_id": "A", "asks": [["14.8", "12.77"]], "bids": [], "time": "now"})
    update = decoded({"type": "l2update", "product_id": "A", "changes": [["buy", "22356.27", "0.00000000"]]})

    assert isinstance(snapshot, BookSnapshot)
    assert (snapshot.product_id, snapshot.time, snapshot.bids, snapshot.asks) == ("A", "now", [], [("14.8", "12.77")])
    assert isinstance(update, BookUpdate)
    assert (update.product_id, update.changes) == ("A", [("buy", "22356.27", "0.00000000")])


@pytest.mark.parametrize(
    "levels",
    [5, {}, ["no level"], [["1"]], [[1, 2]], [["1", "2", "3"]], [["1", "2"]] * 100_001],
    ids=lambda levels: repr(levels)[:20],
)
def test_the_levels_of_a_book_are_looked_at_late(levels: Any) -> None:
    message = decoded({"type": "snapshot", "product_id": "A", "bids": levels, "asks": None})

    assert message.asks == []
    with pytest.raises(ValueError, match=r"Expected|more than"):
        _ = message.bids


def test_levels_that_are_not_there_are_not_taken_for_none() -> None:
    snapshot = decoded({"type": "snapshot", "product_id": "A", "bids": []})
    update = decoded({"type": "l2update", "product_id": "A"})

    with pytest.raises(ValueError, match="not there"):
        _ = snapshot.asks
    with pytest.raises(ValueError, match="not there"):
        _ = update.changes


def test_an_error() -> None:
    message = decoded({"type": "error", "message": "Failed to subscribe", "reason": "X is not a valid product"})

    assert isinstance(message, FeedErrorMessage)
    assert (message.message, message.reason) == ("Failed to subscribe", "X is not a valid product")


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"type": "wallet", "products": [{"id": "BTC-USD", "status_message": None, "limit": 1}]}, "wallet"),
        ({"type": "x" * 1000}, "x" * 100),
        ({"type": ""}, ""),
        ({"type": None}, ""),
        ({"type": ["ticker"]}, ""),
        ({"product_id": "BTC-USD"}, ""),
        ({"channel": "ticker", "events": []}, ""),
        ({}, ""),
        ([["change", "2c5", 12.5], []], ""),
        ("ticker", ""),
        (5, ""),
        (None, ""),
        (True, ""),
    ],
)
def test_what_makes_no_message_is_unknown(content: Any, name: str) -> None:
    message = decoded(content)

    assert isinstance(message, Unknown)
    assert message.type == name


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"type":"ticker"',
        b'{"type":"ticker"}}',
        b'{"type":"ticker",}',
        b"ticker",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"type":"ticker","price":NaN}',
        b'{"type":"ticker","price":-Infinity}',
        b'{"type":"nothing known","price":Infinity}',
        b'{"type":"ticker","side":"\xff"}',
        b'{"type":"ticker","a field that is skipped":"\xff"}',
        b'{"type":"nothing known","side":"\xed\xa0\x80"}',
        b'{"type":"ticker","side":"\x00"}',
        b'{"type":"ticker","price":{}}',
        b'{"type":"ticker","price":["1"]}',
        b'{"type":"match","product_id":{"id":"BTC-USD"}}',
        b'{"type":"subscriptions","channels":[["ticker"]]}',
        b'{"type":"subscriptions","channels":{"name":"ticker"}}',
        b'{"type":"ticker","nested":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"[" * 10_000_000,
    ],
    ids=lambda data: repr(data[:40]),
)
def test_what_is_no_json_or_impossible_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedFrame) as raised:
        decode(frame(data))

    assert raised.value.data is data
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("token", "value"),
    [
        ("true", "true"),
        ("false", "false"),
        ("null", None),
        ("1e400", "1e400"),
        ("-1e400", "-1e400"),
        ("9" * 5000, "9" * 5000),
        ("12.5", 12.5),
        ('""', ""),
        ('"not a number"', "not a number"),
    ],
)
def test_a_number_may_be_anything_plain(token: str, value: Any) -> None:
    message = decoded(b'{"type":"ticker","product_id":"BTC-USD","price":%s,"trade_id":5}' % token.encode())

    assert isinstance(message, Ticker)
    assert (message.price, message.product_id, int(message.trade_id or 0)) == (value, "BTC-USD", 5)


@pytest.mark.parametrize(("token", "value"), [("5", "5"), ("1.50", "1.50"), ("true", "true"), ("null", None)])
def test_text_that_came_as_another_plain_value_is_its_json_text(token: str, value: str | None) -> None:
    message = decoded(b'{"type":"match","product_id":%s,"side":%s}' % (token.encode(), token.encode()))

    assert (message.product_id, message.side) == (value, value)


def test_halves_of_surrogate_pairs_are_replaced_and_pairs_are_kept() -> None:
    message = decoded(rb'{"type":"ticker","product_id":"a\ud800b","side":"\ud83d\ude00","\udc00":"\udc00\ud800"}')

    assert (message.product_id, message.side) == ("a\N{REPLACEMENT CHARACTER}b", "\N{GRINNING FACE}")


def test_the_last_of_a_repeated_key_counts() -> None:
    assert decoded(b'{"type":"ticker","price":"1","price":"2"}').price == "2"
    assert decoded(b'{"type":"ticker","price":{},"price":"2"}').price == "2"
    assert decoded(b'{"price":"1","type":"nothing known","type":"ticker"}').price == "1"
    assert isinstance(decoded(b'{"type":"ticker","type":"match","price":"1"}'), Trade)


@pytest.mark.parametrize("name", ["frame", FRAME_FIELD, PART_FIELD])
@pytest.mark.parametrize("value", ['"x"', "{}", "5", '{"data":"eA==","received_at":1,"connection":1,"index":1}'])
def test_no_field_on_the_wire_is_taken_for_the_frame(name: str, value: str) -> None:
    message = decoded(f'{{"type":"ticker","{name}":{value},"price":"1"}}'.encode())

    assert message.price == "1"


def test_no_field_on_the_wire_says_which_part_of_its_frame_it_is() -> None:
    message = decoded({"type": "match", PART_FIELD: {"feed": "advanced", "index": 3, "count": 9}})

    assert message.part is WHOLE


def test_large_frames() -> None:
    padding = "x" * 10_000_000

    assert decoded({"type": "ticker", "price": "1", "padding": padding}).price == "1"
    assert decoded({"type": "ticker", "price": True, "padding": padding}).price == "true"
    assert decoded({"type": "ticker", "side": padding}).side == padding
    assert len(decoded({"type": "snapshot", "bids": [["1.0", "2.0"]] * 90_000}).bids) == 90_000


unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
names = st.sampled_from(["type", "product_id", "price", "trade_id", "side", "time", "channels", "message", "other"])
types = st.sampled_from(["ticker", "match", "last_match", "heartbeat", "subscriptions", "error", "l2update"])


@unhurried
@given(st.dictionaries(names, plain), types)
def test_plain_values_never_cost_a_ticker_or_a_match(fields: dict[str, Any], name: str) -> None:
    fields = {**fields, "type": name}
    if name == "subscriptions":
        fields.pop("channels", None)

    assert len(decode(frame(fields))) == 1


@unhurried
@given(
    st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(names, inner)), st.binary(max_size=5), st.data()
)
def test_any_damage_gives_a_message_or_a_malformed_frame(content: Any, noise: bytes, data: st.DataObject) -> None:
    whole = json.dumps(content).encode()
    cut = data.draw(st.integers(0, len(whole)))
    source = frame(whole[:cut] + noise + whole[cut + len(noise) :])

    with suppress(MalformedFrame):
        (message,) = decode(source)
        assert message.frame is source


@unhurried
@given(st.dictionaries(names, st.text() | st.none(), min_size=1), types)
def test_the_slow_way_reads_the_same_as_the_fast_one(fields: dict[str, Any], name: str) -> None:
    fields = {key: value for key, value in fields.items() if key != "channels"} | {"type": name}
    fast, slow = decoded(fields), decoded({**fields, FRAME_FIELD: 5})

    assert type(fast) is type(slow)
    for field in fast.__struct_fields__:
        assert field == "frame" or getattr(fast, field) == getattr(slow, field)
