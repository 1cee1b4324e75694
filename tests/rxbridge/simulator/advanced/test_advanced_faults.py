"""The faults of the feed on connections that speak Advanced Trade: what is lost leaves a hole in the numbers."""

import json
import math
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.faults import Fault
from rxbridge.recording import RecordedFrame
from rxbridge.simulator import Simulator, damage
from rxbridge.simulator.advanced.wire import timestamp
from tests.rxbridge.simulator.advanced.conftest import trades_of

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]
Converse = Callable[..., Any]

PRODUCTS = ("BTC-USD", "ETH-USD")
FRAMES = 60


@pytest.fixture
def faulty(simulate: Simulate, converse: Converse) -> Callable[..., tuple[Simulator, Any]]:
    """A simulator with faults, and a client of `channel` that has received so many frames of the feed."""

    def faulty(
        *faults: Fault, channel: str = "market_trades", frames: int = FRAMES, **options: Any
    ) -> tuple[Simulator, Any]:
        simulator = simulate(feed="advanced", products=PRODUCTS, rate=500, faults=faults, **options)
        client = converse(simulator, in_order=False)
        client.subscribe(channel, *PRODUCTS)
        while len(client.numbers) < frames:
            client.receive()
        return simulator, client

    return faulty


def trades(frames: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for frame in frames:
        for event in frame["events"]:
            yield from event.get("trades", ())


def test_a_dropped_frame_leaves_a_hole_in_the_numbers(faulty: Callable[..., Any]) -> None:
    simulator, client = faulty(Fault("drop", probability=0.3))

    numbers = client.numbers
    missing = set(range(numbers[-1])) - set(numbers)
    assert numbers == sorted(numbers)
    assert 1 <= len(missing) <= simulator.statistics.faults["drop"]
    # What answers the client is left alone.
    assert [frame["channel"] for frame in client.frames].count("subscriptions") == 1


def test_a_frame_of_a_recording_that_is_dropped_leaves_a_hole_too(simulate: Simulate, converse: Converse) -> None:
    frames = [
        RecordedFrame(
            number, msgspec.json.encode({"channel": "l2_data", "sequence_num": 7 + number, "events": [event]})
        )
        for number in range(5)
        for event in ({"type": "update", "product_id": "BTC-USD", "updates": []},)
    ]
    simulator = simulate(recording=lambda: frames, speed=math.inf, faults=[Fault("drop", times=2)])
    client = converse(simulator, in_order=False)

    client.subscribe("level2", "BTC-USD")
    while len(client.frames) < 4:
        client.receive()

    assert client.frames[0]["channel"] == "subscriptions"
    assert client.numbers == [0, 3, 4, 5]


def test_the_fault_of_one_channel_spares_the_others(faulty: Callable[..., Any]) -> None:
    simulator, client = faulty(Fault("drop", type="heartbeats"), heartbeat_seconds=0.02)
    client.subscribe("heartbeats")
    while simulator.statistics.faults["drop"] < 3:
        client.receive()

    channels = {frame["channel"] for frame in client.frames}
    assert channels == {"market_trades", "subscriptions"}


def test_a_duplicate_has_the_same_number(faulty: Callable[..., Any]) -> None:
    simulator, client = faulty(Fault("duplicate", type="market_trades", times=3))

    numbers = client.numbers
    assert simulator.statistics.faults["duplicate"] == 3
    assert sorted(set(numbers)) == list(range(len(numbers) - 3))
    assert numbers == sorted(numbers)


def test_a_frame_that_is_overtaken_keeps_its_number(faulty: Callable[..., Any]) -> None:
    _, client = faulty(Fault("reorder", places=2, times=1, type="market_trades"))

    assert client.numbers[:4] == [1, 2, 0, 3]
    assert client.numbers[3:] == list(range(3, FRAMES))


def test_a_trade_lacks_a_field_and_other_products_are_spared(faulty: Callable[..., Any]) -> None:
    simulator, client = faulty(Fault("missing_field", field="trade_id", product="BTC-USD"))

    lacking = [trade for trade in trades(client.frames) if "trade_id" not in trade]
    assert {trade["product_id"] for trade in lacking} == {"BTC-USD"}
    assert 1 <= len(lacking) <= simulator.statistics.faults["missing_field"]
    assert client.numbers == list(range(FRAMES))


def test_any_field_is_null_wherever_it_is(faulty: Callable[..., Any]) -> None:
    _, client = faulty(Fault("null_field"), channel="ticker", frames=30)

    def nulls(value: Any) -> int:
        if isinstance(value, dict):
            return sum(map(nulls, value.values()))
        return sum(map(nulls, value)) if isinstance(value, list) else value is None

    data = [frame for frame in client.frames if frame["channel"] != "subscriptions"]
    assert all(nulls(frame) == 1 for frame in data)


def test_the_clock_is_off_in_the_frame_and_in_its_trades(faulty: Callable[..., Any]) -> None:
    simulator, client = faulty(Fault("clock", offset_seconds=-86_400.0, type="market_trades"), frames=5)

    limit = datetime.now().astimezone() - timedelta(hours=12)
    data = [frame for frame in client.frames if frame["channel"] == "market_trades"]
    assert all(datetime.fromisoformat(frame["timestamp"]) < limit for frame in data)
    assert all(datetime.fromisoformat(trade["time"]) < limit for trade in trades(data))
    assert simulator.statistics.faults["clock"] >= len(data)


@pytest.mark.parametrize("kind", ["level3", "last_trade_id_zero"])
def test_what_there_is_not_on_this_feed_does_not_happen(faulty: Callable[..., Any], kind: str) -> None:
    simulator, client = faulty(Fault(kind))

    assert client.numbers == list(range(FRAMES))
    assert simulator.statistics.faults == {kind: 0}


@pytest.mark.parametrize(
    ("fault", "channel"), [(Fault("huge", bytes=50_000, times=1), "l2_data"), (Fault("unknown", times=1), "new_in_")]
)
def test_what_is_made_up_has_the_form_of_the_feed_but_no_number(
    faulty: Callable[..., Any], fault: Fault, channel: str
) -> None:
    _, client = faulty(fault)

    made_up = [frame for frame in client.frames if "sequence_num" not in frame]
    assert len(made_up) == 1
    assert made_up[0]["channel"].startswith(channel)
    assert made_up[0]["events"][0]["product_id"] in PRODUCTS
    assert client.numbers == list(range(FRAMES))


@pytest.mark.parametrize("kind", ["garbage", "binary", "truncate"])
def test_what_is_no_message_comes_between_those_that_are(simulate: Simulate, connect: Connect, kind: str) -> None:
    simulator = simulate(feed="advanced", products=PRODUCTS, rate=500, faults=[Fault(kind, probability=0.5)])
    client = connect(simulator)
    client.say({"type": "subscribe", "channel": "market_trades", "product_ids": list(PRODUCTS)})

    whole: list[int] = []
    damaged = 0
    while len(whole) < 20 or damaged < 5:
        _, content = client.receive_raw()
        try:
            frame = json.loads(content)
        except (ValueError, RecursionError):
            damaged += 1
        else:
            whole += [frame["sequence_num"]] if isinstance(frame, dict) and "sequence_num" in frame else []

    assert whole == sorted(whole)
    assert (len(whole) == whole[-1] + 1) == (kind != "truncate")


def test_who_is_thrown_out_and_comes_back_is_counted_from_nought(
    faulty: Callable[..., Any], converse: Converse
) -> None:
    simulator, client = faulty(Fault("close", at=0.5, every=5.0, code=1012, reason="service restart"), frames=0)

    assert client.client.receive_end() == (1012, "service restart")
    again = converse(simulator)
    again.subscribe("market_trades", "BTC-USD")
    assert again.receive_acknowledgement() == {"market_trades": ["BTC-USD"]}


def test_a_connection_that_is_reset_ends_without_a_word(faulty: Callable[..., Any]) -> None:
    _, client = faulty(Fault("reset", at=0.5, every=5.0, side="feed"), frames=0)
    assert client.client.receive_end() is None


def test_what_was_to_be_sent_in_a_silence_is_missing_afterwards(faulty: Callable[..., Any]) -> None:
    simulator, client = faulty(Fault("silence", at=0.5, every=5.0, seconds=0.5), frames=1)

    while client.numbers[-1] == len(client.numbers) - 1:
        client.receive()

    assert simulator.statistics.faults["silence"] >= 1
    told = trades_of(client.frames, "BTC-USD") + trades_of(client.frames, "ETH-USD")
    assert len(told) == len(set(told))


def test_a_subscribe_that_names_the_product_is_refused(simulate: Simulate, converse: Converse) -> None:
    faults = [Fault("subscription_error", product="ETH-USD", times=1)]
    client = converse(simulate(feed="advanced", products=PRODUCTS, faults=faults))

    client.subscribe("ticker", *PRODUCTS)
    assert client.receive() == {"type": "error", "message": "ETH-USD is not a valid product"}
    client.subscribe("ticker", *PRODUCTS)
    assert client.receive_acknowledgement() == {"ticker": list(PRODUCTS)}


def test_a_channel_is_left_out_and_not_acknowledged(simulate: Simulate, converse: Converse) -> None:
    client = converse(simulate(feed="advanced", faults=[Fault("partial_ack", channel="heartbeats")]))

    client.subscribe("heartbeats")
    assert client.receive_acknowledgement() == {}
    client.subscribe("candles", "BTC-USD")
    assert client.receive_acknowledgement() == {"candles": ["BTC-USD"]}


TIMES = st.integers(1_700_000_000, 1_900_000_000)


@given(TIMES, st.integers(0, 999_999_999), st.integers(-(10**6), 10**6))
def test_times_to_the_nanosecond_move_there_and_back(seconds: int, nanoseconds: int, offset: int) -> None:
    time = timestamp(seconds * 1_000_000_000 + nanoseconds)
    frame = msgspec.json.encode({"timestamp": time, "events": [{"trades": [{"time": time}], "other": time}]})

    moved = damage.at_another_time(frame, offset)

    assert moved is not None
    decoded = msgspec.json.decode(moved)
    assert decoded["timestamp"] == timestamp((seconds + offset) * 1_000_000_000 + nanoseconds)
    assert decoded["events"][0] == {"trades": [{"time": decoded["timestamp"]}], "other": time}
    assert damage.at_another_time(moved, -offset) == frame


VALUES = st.recursive(
    st.text(max_size=3) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


def fields_of(value: Any) -> int:
    if isinstance(value, dict):
        return len(value) + sum(map(fields_of, value.values()))
    return sum(map(fields_of, value)) if isinstance(value, list) else 0


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=4), st.integers())
def test_a_frame_without_any_field_is_one_without_something(frame: dict[str, Any], seed: int) -> None:
    text = msgspec.json.encode(frame)

    lacking = damage.without_field(text, None, Random(seed))

    if frame:
        assert lacking is not None
        assert fields_of(msgspec.json.decode(lacking)) < fields_of(frame)
        # The same dice hit the same field.
        assert damage.without_field(text, None, Random(seed)) == lacking
    else:
        assert lacking is None
