"""The mapping against what Coinbase really sent."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from rxbridge.books import Books
from rxbridge.coinbase.decoding import decode
from rxbridge.events import EncodedEvent, EventRules, encode, event_id, to_event
from rxbridge.messages import BookImage, Candle, Frame, LastTrade, Ticker, Trade, Unknown


def test_every_recorded_frame_is_a_message(recorded_frames: list[Frame]) -> None:
    messages = [message for frame in recorded_frames for message in decode(frame)]

    kinds = Counter(type(message).__name__ for message in messages)
    unknown = Counter(message.type for message in messages if isinstance(message, Unknown))

    assert kinds == {
        "Ticker": 45,
        "Trade": 35,
        "LastTrade": 10,
        "Subscriptions": 3,
        "BookSnapshot": 10,
        "BookUpdate": 5803,
    }
    assert not unknown


def test_every_recorded_ticker_and_trade_is_an_event_without_a_flaw(
    recorded_frames: list[Frame], accepted: Callable[[EncodedEvent, Frame], dict[str, Any]]
) -> None:
    tickers = list[dict[str, Any]]()
    trades = list[dict[str, Any]]()
    for frame in recorded_frames:
        (message,) = decode(frame)
        if isinstance(message, (Ticker, Trade)):
            encoded = encode(to_event(message), frame.offset)
            assert frame.data in encoded.body
            (tickers if isinstance(message, Ticker) else trades).append(accepted(encoded, frame))

    assert (len(tickers), len(trades)) == (45, 45)
    assert all("invalid_fields" not in event["payload"] for event in tickers + trades)
    assert len({event["event_id"] for event in tickers + trades}) == 90
    for event in tickers:
        raw = event["payload"]["raw_ticker"]
        assert event["event_id"] == f"coinbase-{raw['product_id']}-{raw['trade_id']}"
        assert event["timestamp"].rstrip("0") == raw["time"].rstrip("Z").rstrip("0")
    for event in trades:
        raw = event["payload"]["raw_match"]
        assert event["event_id"] == f"coinbase-{raw['product_id']}-match-{raw['trade_id']}"


def test_a_recorded_last_match_has_the_id_that_the_match_would_have(recorded_frames: list[Frame]) -> None:
    for frame in recorded_frames:
        (message,) = decode(frame)
        if isinstance(message, LastTrade):
            assert event_id(message) == event_id(Trade(product_id=message.product_id, trade_id=message.trade_id))


def test_every_recorded_frame_of_advanced_trade_is_messages(advanced_frames: list[Frame]) -> None:
    messages = [message for frame in advanced_frames for message in decode(frame)]

    kinds = Counter(type(message).__name__ for message in messages)
    unknown = Counter(message.type for message in messages if isinstance(message, Unknown))
    candles = {(message.product_id, message.start) for message in messages if isinstance(message, Candle)}
    trades: dict[str | None, list[int]] = {}
    for message in messages:
        if isinstance(message, Trade):
            trades.setdefault(message.product_id, []).append(int(message.trade_id or 0))

    assert (kinds["Trade"], kinds["Ticker"], len(candles)) == (258, 104, 200)
    assert not unknown
    assert kinds["BookSnapshot"] == 2
    assert set(trades) == {"BTC-USD", "ETH-USD"}
    for ids in trades.values():
        assert ids == list(range(ids[0], ids[0] + len(ids))), "each trade once, in the order of the ids"


@pytest.mark.parametrize("recording", ["recorded_frames", "advanced_frames"])
def test_the_image_of_every_recorded_book_is_an_event(
    request: pytest.FixtureRequest, recording: str, accepted: Callable[[EncodedEvent, Frame], dict[str, Any]]
) -> None:
    books = Books(EventRules(book_depth=5, book_seconds=0.1))
    troubles: list[str] = []
    books.troubled = lambda product, text: troubles.append(f"{product}: {text}")
    found: Counter[str] = Counter()
    for frame in request.getfixturevalue(recording):
        for image in books.read(frame):
            if isinstance(image, BookImage):
                event = accepted(encode(to_event(image), frame.offset, frame.received_at, image.part), frame)
                payload = event["payload"]
                assert payload["best_bid"] < payload["middle"] < payload["best_ask"]
                assert (len(payload["bids"]), payload["is_crossed"]) == (5, False)
                found[payload["product_id"]] += 1

    assert not troubles
    assert len(found) == (10 if recording == "recorded_frames" else 2)


def test_every_recorded_item_of_advanced_trade_is_an_event_without_a_flaw(
    advanced_frames: list[Frame], accepted: Callable[[EncodedEvent, Frame], dict[str, Any]]
) -> None:
    found: dict[str, str] = {}
    for frame in advanced_frames:
        for message in decode(frame):
            if isinstance(message, (Ticker, Trade, Candle)):
                event = accepted(encode(to_event(message), frame.offset, frame.received_at, message.part), frame)
                assert "invalid_fields" not in event["payload"]
                assert event["payload"]["feed"] == "advanced"
                found[event["event_id"]] = event["source"]["endpoint"]

    endpoints = Counter(found.values())
    assert (endpoints["/ticker"], endpoints["/matches"]) == (104, 258)
    assert endpoints["/candles"] >= 200, "some of them revised"
