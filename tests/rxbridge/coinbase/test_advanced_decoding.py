"""Frames of Advanced Trade to messages: what the feed sends, in the one vocabulary, and what nobody should send."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rxbridge.coinbase import advanced, exchange
from rxbridge.coinbase.decoding import decode
from rxbridge.errors import MalformedFrame
from rxbridge.messages import (
    BookSnapshot,
    BookUpdate,
    Candle,
    FeedErrorMessage,
    Frame,
    Heartbeat,
    Part,
    SubscribedChannel,
    Subscriptions,
    Ticker,
    Trade,
    Unknown,
)

TIMESTAMP = "2026-08-09T21:05:48.228568804Z"


def frame(content: Any, connection: int = 7) -> Frame:
    data = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
    return Frame(data=data, received_at=1_700_000_000_000_000_000, connection=connection, index=8, offset=9)


def envelope(channel: str, *events: Any, **more: Any) -> dict[str, Any]:
    return {"channel": channel, "timestamp": TIMESTAMP, "sequence_num": 4, "events": list(events), **more}


def trade(trade_id: int, side: str = "SELL", product: str = "BTC-USD") -> dict[str, Any]:
    return {
        "product_id": product,
        "trade_id": str(trade_id),
        "price": "65083.67",
        "size": "0.002186",
        "time": "2026-08-09T21:05:42.514318Z",
        "side": side,
    }


def written(item: Any) -> bytes:
    return json.dumps(item, separators=(",", ":")).encode()


def test_trades_come_in_the_order_of_their_ids_each_with_what_was_sent_of_it() -> None:
    newest, oldest = trade(12, "BUY"), trade(11)
    source = frame(envelope("market_trades", {"type": "update", "trades": [newest, oldest]}))

    fields = {name: newest[name] for name in ("product_id", "price", "size", "time")}
    assert decode(source) == (
        Trade(**fields, trade_id="11", side="sell", frame=source, part=Part("advanced", 0, 2, written(oldest))),
        Trade(**fields, trade_id="12", side="buy", frame=source, part=Part("advanced", 1, 2, written(newest))),
    )
    assert [one.taker_side for one in decode(source) if isinstance(one, Trade)] == ["buy", "sell"]


def test_a_snapshot_of_trades_says_that_it_is_one_and_may_be_empty() -> None:
    content = envelope(
        "market_trades", {"type": "snapshot", "trades": [trade(2), trade(1)]}, {"type": "snapshot", "trades": []}
    )

    messages = decode(frame(content))
    assert [message.part.is_snapshot for message in messages] == [True, True]
    assert [message.part.is_last for message in messages] == [False, True]
    assert decode(frame(envelope("market_trades", {"type": "snapshot", "trades": []}))) == ()


@pytest.mark.parametrize("channel", ["ticker", "ticker_batch"])
def test_a_ticker_has_the_names_of_the_exchange_and_the_time_of_its_frame(channel: str) -> None:
    item = {
        "type": "ticker",
        "product_id": "BTC-USD",
        "price": "65083.67",
        "volume_24_h": "1",
        "low_24_h": "2",
        "high_24_h": "3",
        "low_52_w": "4",
        "high_52_w": "5",
        "price_percent_chg_24_h": "-6",
        "best_bid": "7",
        "best_ask": "8",
        "best_bid_quantity": "9",
        "best_ask_quantity": "10",
    }
    source = frame(envelope(channel, {"type": "update", "tickers": [item]}))

    assert decode(source) == (
        Ticker(
            product_id="BTC-USD",
            price="65083.67",
            volume_24h="1",
            low_24h="2",
            high_24h="3",
            low_52w="4",
            high_52w="5",
            price_percent_change_24h="-6",
            best_bid="7",
            best_ask="8",
            best_bid_size="9",
            best_ask_size="10",
            time=TIMESTAMP,
            frame=source,
            part=Part("advanced", data=written(item)),
        ),
    )


def test_candles_come_in_the_order_of_their_starts() -> None:
    item = {"start": "1786308900", "high": "4", "low": "1", "open": "2", "close": "3", "volume": "5", "product_id": "A"}
    older = {**item, "start": "1786308600"}
    source = frame(envelope("candles", {"type": "snapshot", "candles": [item, older]}))

    first, second = decode(source)
    assert isinstance(first, Candle)
    assert isinstance(second, Candle)
    assert (first.start, second.start) == ("1786308600", "1786308900")
    assert (second.open, second.high, second.low, second.close, second.volume) == ("2", "4", "1", "3", "5")
    assert (second.product_id, second.time, second.data) == ("A", TIMESTAMP, written(item))


def test_a_heartbeat_and_an_acknowledgement_and_an_error() -> None:
    time = "2026-08-09 21:05:49.20 +0000 UTC m=+74.5"
    (beat,) = decode(frame(envelope("heartbeats", {"current_time": time, "heartbeat_counter": 70})))
    (held,) = decode(
        frame(envelope("subscriptions", {"subscriptions": {"market_trades": ["BTC-USD"], "heartbeats": []}}))
    )
    (refused,) = decode(frame({"type": "error", "message": "authentication failure"}))

    assert isinstance(beat, Heartbeat)
    assert (beat.product_id, beat.time, beat.counter) == (None, time, 70)
    assert isinstance(held, Subscriptions)
    assert held.channels == [SubscribedChannel("market_trades", ["BTC-USD"]), SubscribedChannel("heartbeats", [])]
    assert isinstance(refused, FeedErrorMessage)
    assert refused.message == "authentication failure"


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (envelope("futures", {"products": [{"id": "BTC-USD"}]}), "futures"),
        ({"events": [], "channel": "something new"}, "something new"),
        ({"events": [], "channel": ["ticker"]}, ""),
    ],
)
def test_what_makes_no_message_is_unknown(content: Any, name: str) -> None:
    (message,) = decode(frame(content))

    assert isinstance(message, Unknown)
    assert message.type == name


def level(side: str, price: str, size: str) -> dict[str, str]:
    return {"side": side, "event_time": TIMESTAMP, "price_level": price, "new_quantity": size}


@pytest.mark.parametrize("times", [1, 30_000])
def test_a_book(times: int) -> None:
    levels = [level("bid", "1.0", "2"), level("offer", "1.1", "3")] * times
    (snapshot,) = decode(frame(envelope("l2_data", {"type": "snapshot", "product_id": "A", "updates": levels})))
    (update,) = decode(frame(envelope("l2_data", {"type": "update", "product_id": "A", "updates": levels})))

    assert isinstance(snapshot, BookSnapshot)
    assert (snapshot.product_id, snapshot.time) == ("A", TIMESTAMP)
    assert (snapshot.bids, snapshot.asks) == ([("1.0", "2")] * times, [("1.1", "3")] * times)
    assert isinstance(update, BookUpdate)
    assert update.changes == [("bid", "1.0", "2"), ("offer", "1.1", "3")] * times


def test_two_books_in_a_frame() -> None:
    events = [{"type": "snapshot", "product_id": product, "updates": [level("bid", "1", "2")]} for product in "AB"]
    first, second = decode(frame(envelope("l2_data", *events)))

    assert isinstance(first, BookSnapshot)
    assert isinstance(second, BookSnapshot)
    assert (first.product_id, second.product_id, second.part.index) == ("A", "B", 1)
    # So many of them would take many times the memory of their frame.
    with pytest.raises(MalformedFrame, match="too large"):
        decode(frame(envelope("l2_data", *events * 10_000)))


@pytest.mark.parametrize(
    "content",
    [
        envelope("market_trades", {"type": "update", "trades": [{"trade_id": {"nested": 1}}]}),
        envelope("market_trades", {"type": "update", "trades": ["no object"]}),
        envelope("market_trades", "no object"),
        {"channel": "ticker", "timestamp": TIMESTAMP, "events": None},
        envelope("market_trades", {"type": "update"}),
        envelope("ticker", {"type": "update", "tickers": None}),
        envelope("candles", {"type": "update"}),
        b'{"channel":"ticker","events":[',
        b'{"channel":"market_trades","events":[{"trades":[{"price":NaN}]}]}',
        b'{"channel":"market_trades","events":[{"trades":[{"side":"\xff"}]}]}',
    ],
    ids=lambda content: str(content)[:60],
)
def test_what_is_no_json_or_impossible_is_malformed(content: Any) -> None:
    with pytest.raises(MalformedFrame):
        decode(frame(content))


def test_an_odd_item_is_read_like_an_odd_frame() -> None:
    odd = {**trade(3), "price": True, "size": None, "product_id": 5}
    (message,) = decode(frame(envelope("market_trades", {"type": "update", "trades": [odd]})))

    assert isinstance(message, Trade)
    assert (message.price, message.size, message.product_id, message.trade_id) == ("true", None, "5", "3")


def test_a_frame_says_itself_which_feed_it_came_by() -> None:
    spaced = b'{ "events": [{"type":"update","trades":[]}], "channel": "market_trades" }'
    assert decode(frame(spaced)) == ()
    (unknown,) = decode(frame(b'{"product_id":"BTC-USD","channel":"ticker"}'))
    assert isinstance(unknown, Unknown)
    # Nor is what rxbridge wrote itself ever of Advanced Trade.
    (own,) = decode(frame(envelope("market_trades"), connection=0))
    assert isinstance(own, Unknown)


plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
names = st.sampled_from(["product_id", "trade_id", "price", "start", "side", "type", "time", "subscriptions", "other"])
items = st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(names, inner), max_leaves=10)
channels = st.sampled_from(
    ["market_trades", "ticker", "ticker_batch", "candles", "heartbeats", "subscriptions", "l2_data", ""]
)
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@unhurried
@given(
    st.sampled_from(
        [("market_trades", "trades"), ("ticker", "tickers"), ("ticker_batch", "tickers"), ("candles", "candles")]
    ),
    st.lists(st.dictionaries(names, plain)),
)
def test_plain_values_never_cost_an_item(kind: tuple[str, str], content: list[dict[str, Any]]) -> None:
    channel, name = kind
    messages = decode(frame(envelope(channel, {"type": "update", name: content})))

    assert len(messages) == len(content)
    assert [message.part.index for message in messages] == list(range(len(content)))


@unhurried
@given(channels, st.lists(items, max_size=4), st.binary(max_size=5), st.data())
def test_any_damage_gives_messages_or_a_malformed_frame(
    channel: str, content: list[Any], noise: bytes, data: st.DataObject
) -> None:
    whole = written(envelope(channel, {"type": "update", "trades": content, "tickers": content, "candles": content}))
    cut = data.draw(st.integers(0, len(whole)))
    source = frame(whole[:cut] + noise + whole[cut + len(noise) :])

    for read in (decode, advanced.decode, exchange.decode):
        with suppress(MalformedFrame):
            for message in read(source):
                assert message.frame is source
