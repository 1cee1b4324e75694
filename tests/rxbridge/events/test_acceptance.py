"""Whatever Coinbase sends: no crash, and no event that PulseStream would refuse."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from rxbridge.coinbase.decoding import decode
from rxbridge.errors import MalformedFrame
from rxbridge.events import EncodedEvent, EventRules, encode, event_id, to_event
from rxbridge.messages import Frame, Ticker, Trade

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(max_size=20) | st.text("\0\ud800\udc00a-", max_size=10) | st.text("0123456789.eE+- _", max_size=12)
long_texts = st.builds(lambda text, times: text * times, texts, st.integers(1, 500))
tokens = st.sampled_from([
    "null", "true", "false", "1e400", "-1e400", "1e-400", "9" * 5000, "9" * 310, "0." + "1" * 400, "-0", "NaN",
    "-Infinity", "{}", "[]", '{"a":[1]}', '"NaN"', '"Infinity"', '"1e400"', '""', '"\\u0000"', '"\\ud800"',
    "[" * 40 + "]" * 40, "[" * 600 + "]" * 600, '{"\\u0000":"\\udc00"}', '"2022-10-19T23:28:22Z"',
    '"9999-12-31T23:59:59.999999999Z"',
])  # fmt: skip
json_tokens = (
    tokens
    | st.builds(json.dumps, texts | long_texts | st.integers() | st.floats())
    | st.builds(lambda number: json.dumps(str(number)), st.floats() | st.decimals() | st.integers())
    | st.builds(lambda time: json.dumps(time.isoformat() + "Z"), st.datetimes())
)
FIELDS = (
    "product_id", "price", "open_24h", "volume_24h", "low_24h", "high_24h", "best_bid", "best_ask", "side", "time",
    "trade_id", "last_size", "size", "sequence", "maker_order_id", "taker_order_id", "note",
)  # fmt: skip
damages = st.dictionaries(st.sampled_from(FIELDS), st.none() | json_tokens, max_size=6)


def damaged(message: Mapping[str, Any], damage: Mapping[str, str | None], extra: str) -> bytes:
    """The frame with some fields replaced, left out (None), or added, and one more under an odd name."""
    fields = {**{name: json.dumps(value) for name, value in message.items()}, **damage}
    written = [f"{json.dumps(name)}:{token}" for name, token in fields.items() if token is not None]
    return ("{" + ",".join([*written, f"{json.dumps(extra)}:1"]) + "}").encode("utf-8", "surrogatepass")


@unhurried
@given(kind=st.sampled_from(["ticker", "match", "last_match"]), damage=damages, extra=texts)
def test_a_damaged_message_is_accepted_or_malformed(
    *,
    ticker: Mapping[str, Any],
    match: Mapping[str, Any],
    frame: Callable[..., Frame],
    accepted: Callable[[EncodedEvent, Frame], dict[str, Any]],
    kind: str,
    damage: Mapping[str, str | None],
    extra: str,
) -> None:
    source = frame(damaged({**(ticker if kind == "ticker" else match), "type": kind}, damage, extra))
    try:
        (message,) = decode(source)
    except MalformedFrame:
        return
    assert isinstance(message, (Ticker, Trade))

    event = accepted(encode(to_event(message), 0), source)

    assert event["event_id"] == event_id(message)
    for field in (
        "price",
        "best_bid",
        "best_ask",
        "volume_24h",
        "low_24h",
        "high_24h",
        "open_24h",
        "last_size",
        "size",
    ):
        if event["payload"].get(field) == 0.0 and field not in event["payload"].get("invalid_fields", []):
            assert float(getattr(message, field)) == 0.0, "a fallback is never silent"


@unhurried
@given(
    product=texts | st.none(),
    numbers=st.lists(texts | st.floats() | st.integers() | st.none(), min_size=9, max_size=9),
    side=texts | st.none(),
    time=texts | st.none(),
    data=st.binary(max_size=50) | st.just(b'{"a":1}'),
    received_at=st.integers(0, 4_000_000_000_000_000_000),
)
def test_a_message_made_by_hand_is_accepted_too(
    *,
    frame: Callable[..., Frame],
    accepted: Callable[[EncodedEvent, Frame], dict[str, Any]],
    product: str | None,
    numbers: list[Any],
    side: str | None,
    time: str | None,
    data: bytes,
    received_at: int,
) -> None:
    source = frame(data, received_at=received_at)
    common: dict[str, Any] = {"product_id": product, "side": side, "time": time, "frame": source}
    names = ("price", "open_24h", "volume_24h", "low_24h", "high_24h", "best_bid", "best_ask", "trade_id", "last_size")
    for message in (
        Ticker(**common, **dict(zip(names, numbers, strict=True))),
        Trade(**common, price=numbers[0], size=numbers[1], trade_id=numbers[2], maker_order_id=side),
    ):
        accepted(encode(to_event(message), 0), source)


@unhurried
@given(kind=st.sampled_from(["ticker", "match"]), damage=damages, environment=texts)
def test_the_same_frame_gives_the_same_event(
    *,
    ticker: Mapping[str, Any],
    match: Mapping[str, Any],
    frame: Callable[..., Frame],
    kind: str,
    damage: Mapping[str, str | None],
    environment: str,
) -> None:
    data = damaged(ticker if kind == "ticker" else match, damage, "note")
    try:
        (first,), (second,) = decode(frame(data)), decode(frame(bytes(bytearray(data))))
    except MalformedFrame:
        return
    assert isinstance(first, (Ticker, Trade))
    assert isinstance(second, (Ticker, Trade))

    rules = EventRules(environment)
    one, other = to_event(first, rules, now=0), to_event(second, rules, now=10**18)

    assert one != other
    assert replace(one, metadata=other.metadata) == other
    assert event_id(first) == event_id(second) == one.event_id


@pytest.mark.parametrize("size", [2_000_000, 10_000_000])
def test_a_frame_of_megabytes_makes_an_event_of_moderate_size(
    ticker: Mapping[str, Any],
    frame: Callable[..., Frame],
    accepted: Callable[[EncodedEvent, Frame], dict[str, Any]],
    size: int,
) -> None:
    for field in ("product_id", "price", "side", "time", "note"):
        source = frame({**ticker, field: "1" * size})
        (message,) = decode(source)
        assert isinstance(message, Ticker)

        event = accepted(encode(to_event(message), 0), source)

        assert event["payload"]["raw_ticker"] == {"omitted_bytes": len(source.data)}
        assert len(json.dumps(event)) < 10_000
