"""The published schema against the events themselves."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from rxbridge.coinbase.decoding import decode
from rxbridge.events import EventRules, encode, to_event
from rxbridge.events.json_schema import json_schema
from rxbridge.messages import BookImage, Candle, EventMessage, Frame, GapNotice, Ticker, Trade

MakeFrame = Callable[..., Frame]


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json.loads(json.dumps(json_schema()))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def written(message: EventMessage, rules: EventRules) -> dict[str, Any]:
    return json.loads(encode(to_event(message, rules), 1).body)


@pytest.fixture(params=["ticker", "trade", "candle", "book", "an empty book", "gap", "damaged"])
def message(
    request: pytest.FixtureRequest, frame: MakeFrame, ticker: Mapping[str, Any], match: Mapping[str, Any]
) -> EventMessage:
    source = frame(b"{}")
    made: dict[str, EventMessage] = {
        "candle": Candle(product_id="A", start="1786308900", open="1", high="2", low="1", close="2", volume="3"),
        "book": BookImage(product_id="A", bids=(("1", "2"),), asks=(("1.5", "2"),), at=source.received_at),
        "an empty book": BookImage(product_id="A", bids=(), asks=(), at=source.received_at),
        "gap": GapNotice(
            kind="trades", products=("A",), channel="matches", first=1, last=2, reason="gone", frame=source
        ),
    }
    contents = {"ticker": ticker, "trade": match, "damaged": {"type": "ticker", "price": "x", "trade_id": -1}}
    if request.param in contents:
        (read,) = decode(frame(contents[request.param]))
        assert isinstance(read, (Ticker, Trade))
        return read
    return made[request.param]


@pytest.mark.parametrize("rules", [EventRules(), EventRules(raw=False)], ids=["raw", "without raw"])
def test_every_kind_of_event_is_as_the_schema_says(
    validator: Draft202012Validator, message: EventMessage, rules: EventRules
) -> None:
    validator.validate(written(message, rules))


def test_the_schema_says_no_to_what_is_no_event(
    validator: Draft202012Validator, frame: MakeFrame, ticker: Mapping[str, Any]
) -> None:
    (read,) = decode(frame(ticker))
    assert isinstance(read, Ticker)
    event = written(read, EventRules())
    for damaged in (
        {**event, "event_id": 5},
        {name: value for name, value in event.items() if name != "source"},
        {**event, "payload": {**event["payload"], "price": "1.5"}},
        {**event, "payload": {}},
    ):
        with pytest.raises(ValidationError):
            validator.validate(damaged)


def test_recorded_events_are_as_the_schema_says(
    validator: Draft202012Validator, recorded_frames: list[Frame], advanced_frames: list[Frame]
) -> None:
    for source in recorded_frames + advanced_frames:
        for one in decode(source):
            if isinstance(one, (Ticker, Trade, Candle)):
                validator.validate(written(one, EventRules()))
