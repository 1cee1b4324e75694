"""What PulseStream accepts, stated anew from its observed behavior, and frames to try it with."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from math import isfinite
from pathlib import Path
from typing import Any

import pytest

from rxbridge.events import EncodedEvent
from rxbridge.messages import Frame
from rxbridge.recording import read

EVENT_TYPES = {"api_call", "user_action", "system_event", "error_event", "custom_event"}
SEVERITIES = {"info", "warning", "error", "critical"}
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the server's times are naive


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """All text in parsed JSON; fails on what PostgreSQL or the server's parser cannot take."""
    assert depth < 100, "nested too deeply"
    match value:
        case str():
            yield value
        case float():
            assert isfinite(value), "NaN and Infinity roll the batch back"
        case int():
            assert abs(value) < 10**4000, "the parser refuses 4300 digits"
        case list():
            for item in value:
                yield from _texts(item, depth + 1)
        case dict():
            for key, item in value.items():
                yield key
                yield from _texts(item, depth + 1)
        case _:
            assert value is None


def _length(value: Any, minimum: int, maximum: int) -> None:
    assert isinstance(value, str)
    assert minimum <= len(value) <= maximum, (len(value), value[:200])


def _accept(event: Any, received_at: int) -> None:
    """Fail if the server would refuse the event, drop a part of it, or roll back the batch that it is in."""
    for text in _texts(event):
        assert "\0" not in text
        text.encode()  # fails on half a surrogate pair
    assert event.keys() == {
        "event_type", "severity", "event_id", "title", "message", "source", "context", "metrics", "payload", "metadata",
        "timestamp",
    }  # fmt: skip
    assert event["event_type"] in EVENT_TYPES
    assert event["severity"] in SEVERITIES
    _length(event["event_id"], 1, 100)
    _length(event["title"], 1, 200)
    _length(event["message"], 0, 2000)
    for field, minimum, maximum in (
        ("service", 1, 100), ("endpoint", 1, 500), ("method", 1, 10), ("version", 0, 20), ("environment", 0, 50)
    ):  # fmt: skip
        _length(event["source"][field], minimum, maximum)
    _length(event["context"]["request_id"], 0, 255)
    assert all(isinstance(tag, str) for tag in event["context"]["tags"].values())
    assert 0 <= event["metrics"]["response_time_ms"] < 2**31
    assert isinstance(event["metrics"]["status_code"], int)
    assert 100 <= event["metrics"]["status_code"] <= 599
    assert isinstance(event["payload"], dict)
    assert isinstance(event["metadata"], dict)
    assert len(json.dumps(event["payload"], default=str)) <= 10_485_760
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?", event["timestamp"]), "naive ISO time only"
    received = EPOCH + timedelta(microseconds=received_at // 1000)
    assert datetime.fromisoformat(event["timestamp"]) <= received + timedelta(minutes=5)


@pytest.fixture(scope="session")
def accepted() -> Callable[[EncodedEvent, Frame], dict[str, Any]]:
    """Checks that PulseStream would take the event in a batch, and gives what it would have parsed."""

    def check(encoded: EncodedEvent, frame: Frame) -> dict[str, Any]:
        batch = json.loads(b'{"events":[' + encoded.body + b"]}")
        (event,) = batch["events"]
        _accept(event, frame.received_at)
        assert event["event_id"] == encoded.event_id
        assert event["title"] == encoded.title
        assert event["payload"].get("price") == encoded.price
        assert datetime.fromisoformat(event["timestamp"]) == encoded.timestamp
        return event

    return check


TICKER: Mapping[str, Any] = {
    "type": "ticker",
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
    "last_size": "11.4396987",
}

MATCH: Mapping[str, Any] = {
    "type": "match",
    "trade_id": 370843402,
    "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
    "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1",
    "side": "sell",
    "size": "5.23512",
    "price": "400.23",
    "product_id": "BTC-USD",
    "sequence": 50,
    "time": "2022-10-19T23:28:23.5Z",
}

RECEIVED_AT = 1_666_222_103_750_000_000
"""2022-10-19T23:28:23.75Z"""


@pytest.fixture(scope="session")
def ticker() -> Mapping[str, Any]:
    return TICKER


@pytest.fixture(scope="session")
def match() -> Mapping[str, Any]:
    return MATCH


@pytest.fixture(scope="session")
def frame() -> Callable[[Mapping[str, Any] | bytes], Frame]:
    """Makes a frame as Coinbase writes it, received at 2022-10-19T23:28:23.75Z."""

    def make(content: Mapping[str, Any] | bytes, **where: int) -> Frame:
        data = content if isinstance(content, bytes) else json.dumps(content, separators=(",", ":")).encode()
        return Frame(data=data, **{"received_at": RECEIVED_AT, "connection": 1, "index": 2, "offset": 3, **where})

    return make


@pytest.fixture(scope="session")
def recorded_frames(real_recording: Callable[[str], Path]) -> list[Frame]:
    """The frames of a recording of the Exchange feed, where there is one."""
    return _frames(real_recording("exchange-2021"))


@pytest.fixture(scope="session")
def advanced_frames(real_recording: Callable[[str], Path]) -> list[Frame]:
    """The frames of a recording of Advanced Trade, where there is one."""
    return _frames(real_recording("advanced-2026"))


def _frames(path: Path) -> list[Frame]:
    return [
        Frame(recorded.data, recorded.received_at, connection=1, index=index)
        for index, recorded in enumerate(read(path))
    ]
