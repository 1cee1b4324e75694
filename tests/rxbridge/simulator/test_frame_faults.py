"""Faults of frames, as clients see them over real sockets."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
import requests
import websocket
from websockets.sync.client import connect as connect_compressed

from rxbridge.faults import Fault
from rxbridge.simulator import Simulator

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]
WaitFor = Callable[..., None]

PRODUCT = "BTC-USD"
TEXT, BINARY = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY


@pytest.fixture
def received(simulate: Simulate, connect: Connect, wait_for: WaitFor) -> Callable[..., tuple[Simulator, list[bytes]]]:
    """A simulator with faults in at least 300 trades, and all that a client of `channels` got of them, untouched.

    It ends with a heartbeat that knows the last trade: so that must be left in peace.
    """

    def received(*faults: Fault, channels: tuple[str, ...] = ("matches",)) -> tuple[Simulator, list[bytes]]:
        simulator = simulate(products=[PRODUCT], rate=2000, heartbeat_seconds=0.05, faults=faults)
        simulator.pause()
        client = connect(simulator)
        client.subscribe(*channels, "heartbeat", products=[PRODUCT])
        # The first frame comes when it has subscribed; where it is spoilt, the heartbeat that follows it.
        frames = [client.receive_raw()[1]]
        before = simulator.trades(PRODUCT)[-1]
        simulator.resume()
        wait_for(lambda: simulator.trades(PRODUCT)[-1] >= before + 300)
        simulator.pause()
        end = f'"last_trade_id":{simulator.trades(PRODUCT)[-1]},'.encode()
        while not (frames[-1].startswith(b'{"type":"heartbeat"') and end in frames[-1]):
            frames.append(client.receive_raw()[1])
        return simulator, [frame for frame in frames if not frame.startswith(b'{"type":"heartbeat","last')]

    return received


def parsed(frames: list[bytes], *kinds: str) -> list[dict[str, Any]]:
    return [frame for frame in map(json.loads, frames) if frame["type"] in kinds]


def ids(frames: list[bytes]) -> list[int]:
    return [frame["trade_id"] for frame in parsed(frames, "match")]


def test_dropped_frames_are_gone_and_counted(received: Callable[..., Any]) -> None:
    simulator, frames = received(Fault("drop", type="match", probability=0.2))
    found, dropped = ids(frames), simulator.statistics.faults["drop"]
    assert dropped > 0
    assert found == sorted(set(found))
    first = parsed(frames, "last_match")[0]["trade_id"]
    assert len(found) + dropped == simulator.trades(PRODUCT)[-1] - first


def test_so_many_are_dropped_and_no_more(received: Callable[..., Any]) -> None:
    simulator, frames = received(Fault("drop", type="match", times=3))
    first = parsed(frames, "last_match")[0]["trade_id"]
    assert ids(frames) == list(range(first + 4, simulator.trades(PRODUCT)[-1] + 1))
    assert simulator.statistics.faults == {"drop": 3}


def test_answers_are_not_dropped_with_the_data_and_heartbeats_are(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=1000, heartbeat_seconds=0.02, faults=[Fault("drop", product="BTC-USD")])
    client = connect(simulator)
    client.subscribe("matches", "ticker", "heartbeat", products=["BTC-USD", "ETH-USD"])
    beats = 0

    def beaten(frame: dict[str, Any]) -> bool:
        nonlocal beats
        beats += frame["type"] == "heartbeat"
        return beats == 10

    client.receive_until(beaten)
    assert {frame.get("product_id") for frame in client.frames} == {None, "ETH-USD"}
    assert [frame["type"] for frame in client.frames if "product_id" not in frame] == ["subscriptions"]


def test_an_answer_is_dropped_if_it_is_named(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0, heartbeat_seconds=0.02, faults=[Fault("drop", type="subscriptions", times=1)])
    client = connect(simulator)
    client.subscribe("heartbeat", products=[PRODUCT])
    assert client.receive()["type"] == "heartbeat"
    client.subscribe("heartbeat", products=[PRODUCT])
    client.receive_type("subscriptions")


def test_duplicates_follow_each_other(received: Callable[..., Any]) -> None:
    simulator, frames = received(Fault("duplicate", type="match"))
    found = ids(frames)
    assert found[::2] == found[1::2] == sorted(set(found))
    assert simulator.statistics.faults == {"duplicate": len(found) // 2}
    assert simulator.statistics.frames["match"] == len(found)


@pytest.mark.parametrize("places", [1, 3])
def test_a_frame_is_overtaken_by_so_many(received: Callable[..., Any], places: int) -> None:
    simulator, frames = received(Fault("reorder", type="match", places=places))
    # A heartbeat may be among those that overtake; here it is the matches among themselves that count.
    found = ids(frames)
    first = parsed(frames, "last_match")[0]["trade_id"]
    late = [later for earlier, later in pairwise(found) if later < earlier]
    assert 0 < len(late) <= simulator.statistics.faults["reorder"]
    assert all(found.index(trade_id) - (trade_id - first - 1) <= places for trade_id in late)
    # One may still be held back at the end.
    missing = set(range(first + 1, simulator.trades(PRODUCT)[-1] + 1)) - set(found)
    assert len(missing) <= 1
    assert len(set(found)) == len(found)


def test_truncated_frames_are_beginnings_of_real_ones(received: Callable[..., Any]) -> None:
    simulator, frames = received(Fault("truncate", type="match", probability=0.3))

    def whole(frame: bytes) -> bool:
        try:
            json.loads(frame)
        except ValueError:
            return False
        return True

    broken = [frame for frame in frames if not whole(frame)]
    assert len(broken) == simulator.statistics.faults["truncate"] > 0
    beginning = b'{"type":"match","trade_id":'
    assert all(frame[: len(beginning)] == beginning[: len(frame)] for frame in broken)
    first = parsed([frame for frame in frames if whole(frame)], "last_match")[0]["trade_id"]
    found = ids([frame for frame in frames if whole(frame)])
    assert len(found) + len(broken) == simulator.trades(PRODUCT)[-1] - first


MATCH_FIELDS = {
    "type",
    "trade_id",
    "maker_order_id",
    "taker_order_id",
    "side",
    "size",
    "price",
    "product_id",
    "sequence",
    "time",
}


def test_any_field_is_missing(received: Callable[..., Any]) -> None:
    simulator, frames = received(Fault("missing_field", type="match"))
    data = [json.loads(frame) for frame in frames]
    lacking = Counter(next(iter(MATCH_FIELDS - set(frame))) for frame in data if frame.get("type", "match") == "match")
    assert set(lacking) == MATCH_FIELDS
    assert all(len(frame) == len(MATCH_FIELDS) - 1 for frame in data if frame.get("type", "match") == "match")
    assert lacking.total() == simulator.statistics.faults["missing_field"]


def test_a_given_field_is_missing_and_where_it_is_not_nothing_is(received: Callable[..., Any]) -> None:
    simulator, frames = received(Fault("missing_field", field="trade_id"), channels=("matches", "ticker"))
    assert all("trade_id" not in json.loads(frame) for frame in frames)
    kinds = Counter(json.loads(frame)["type"] for frame in frames)
    del kinds["subscriptions"]
    assert simulator.statistics.faults["missing_field"] == kinds.total()


def test_any_field_is_null(received: Callable[..., Any]) -> None:
    simulator, frames = received(Fault("null_field", type="match"))
    nulls = [
        [name for name, value in json.loads(frame).items() if value is None and name != "channels"] for frame in frames
    ]
    hit = [names for names in nulls if names]
    assert {name for (name,) in hit} == MATCH_FIELDS
    assert len(hit) == simulator.statistics.faults["null_field"]


@pytest.mark.parametrize("offset", [3600, -3600, 0.25])
def test_the_clock_is_off(received: Callable[..., Any], offset: float) -> None:
    simulator, frames = received(
        Fault("clock", offset_seconds=offset, type="match"),
        Fault("clock", offset_seconds=offset, type="ticker"),
        channels=("matches", "ticker"),
    )
    page = requests.get(f"{simulator.rest_url}/products/{PRODUCT}/trades", timeout=20).json()
    true = {trade["trade_id"]: datetime.fromisoformat(trade["time"]) for trade in page}
    # A page has a thousand, the newest.
    told = [frame for frame in parsed(frames, "match") if frame["trade_id"] in true]
    assert len(told) > 250
    for frame in told:
        off = datetime.fromisoformat(frame["time"]) - true[frame["trade_id"]]
        assert off == timedelta(seconds=offset)


def test_a_heartbeat_that_knows_no_trade_and_one_that_does(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(
        rate=0, heartbeat_seconds=0.02, faults=[Fault("last_trade_id_zero", product="BTC-USD", times=3)]
    )
    client = connect(simulator)
    client.subscribe("heartbeat", products=["BTC-USD", "ETH-USD"])
    known = {product: simulator.trades(product)[-1] for product in ("BTC-USD", "ETH-USD")}
    client.receive_until(lambda frame: frame.get("last_trade_id") == known["BTC-USD"])
    beats = [frame for frame in client.frames if frame["type"] == "heartbeat"]
    told = [beat["last_trade_id"] for beat in beats if beat["product_id"] == "BTC-USD"]
    assert told == [0, 0, 0, known["BTC-USD"]]
    assert {beat["last_trade_id"] for beat in beats if beat["product_id"] == "ETH-USD"} == {known["ETH-USD"]}
    assert simulator.statistics.faults == {"last_trade_id_zero": 3}


def extras(simulate: Simulate, connect: Connect, fault: Fault, count: int) -> tuple[Simulator, Any, list[Any]]:
    """The first frames that were made up, with their opcodes, as they come among real ones."""
    simulator = simulate(products=[PRODUCT], rate=500, faults=[fault])
    client = connect(simulator)
    client.subscribe("matches", products=[PRODUCT])
    made_up: list[Any] = []
    while len(made_up) < count:
        opcode, content = client.receive_raw()
        if not content.startswith((b'{"type":"match","trade', b'{"type":"last_match"', b'{"type":"subscriptions"')):
            made_up.append((opcode, content))
    return simulator, client, made_up


def test_garbage_of_every_sort(simulate: Simulate, connect: Connect) -> None:
    simulator, _, frames = extras(simulate, connect, Fault("garbage", type="match"), 200)
    assert {opcode for opcode, _ in frames} == {TEXT}
    contents = {content for _, content in frames}
    assert {b"", b"null", b"{}"} < contents
    assert any(b"\x1b[" in content for content in contents)
    assert any(not valid_utf8(content) for content in contents)
    assert max(map(len, contents)) == 100_000
    simulator.pause()
    assert simulator.statistics.frames["garbage"] == simulator.statistics.faults["garbage"] >= 200


def valid_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_garbage_of_ones_own(simulate: Simulate, connect: Connect) -> None:
    _, _, frames = extras(simulate, connect, Fault("garbage", text="né", type="match"), 3)
    assert frames == [(TEXT, "né".encode())] * 3


def test_binary_frames(simulate: Simulate, connect: Connect) -> None:
    _, _, frames = extras(simulate, connect, Fault("binary"), 3)
    assert [opcode for opcode, _ in frames] == [BINARY] * 3
    assert len({content for _, content in frames}) == 3


def test_types_that_there_are_not(simulate: Simulate, connect: Connect) -> None:
    _, _, frames = extras(simulate, connect, Fault("unknown", type="match"), 3)
    assert all(json.loads(content)["type"].startswith("new_in_2") for _, content in frames)
    assert {json.loads(content)["product_id"] for _, content in frames} == {PRODUCT}


def test_level3_has_a_schema_and_then_arrays(simulate: Simulate, connect: Connect) -> None:
    _, _, frames = extras(simulate, connect, Fault("level3", type="match"), 4)
    schema, *arrays = [json.loads(content) for _, content in frames]
    assert schema["type"] == "level3"
    for array in arrays:
        assert len(array) == len(schema["schema"][array[0]])
        assert array[1] == PRODUCT


@pytest.mark.parametrize("size", [10_000_000, 1000])
def test_a_huge_frame_comes_and_the_others_go_on(simulate: Simulate, connect: Connect, size: int) -> None:
    simulator, client, frames = extras(simulate, connect, Fault("huge", times=1, bytes=size), 1)
    ((opcode, content),) = frames
    assert (opcode, len(content)) == (TEXT, size)
    assert json.loads(content)["type"] == "snapshot"
    client.receive_type("match")
    assert simulator.statistics.slow_clients == 0


def test_one_bad_product_voids_the_subscribe_once(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=100, faults=[Fault("subscription_error", product="ETH-USD", times=1)])
    client = connect(simulator)
    client.subscribe("matches", products=["BTC-USD"])
    client.receive_type("match")
    client.subscribe("ticker", products=["BTC-USD", "ETH-USD"])
    error = client.receive_type("error")
    assert error == {
        "type": "error",
        "message": "Failed to subscribe",
        "reason": "ETH-USD is not a valid product",
    }
    client.subscribe("ticker", products=["BTC-USD", "ETH-USD"])
    client.receive_until(lambda frame: frame["type"] == "ticker" and frame["product_id"] == "ETH-USD")
    assert simulator.statistics.faults == {"subscription_error": 1}


def test_an_acknowledgement_lacks_a_channel_which_is_not_subscribed(simulate: Simulate, connect: Connect) -> None:
    faults = [Fault("partial_ack", channel="matches", times=1)]
    simulator = simulate(products=[PRODUCT], rate=200, heartbeat_seconds=0.02, faults=faults)
    client = connect(simulator)
    client.subscribe("matches", "heartbeat", products=[PRODUCT])
    acknowledged = client.receive_type("subscriptions")
    assert [channel["name"] for channel in acknowledged["channels"]] == ["heartbeat"]
    for _ in range(10):
        client.receive_type("heartbeat")
    assert {frame["type"] for frame in client.frames} == {"subscriptions", "heartbeat"}
    client.subscribe("matches", products=[PRODUCT])
    assert len(client.receive_type("subscriptions")["channels"]) == 2
    client.receive_type("match")


def test_an_acknowledgement_may_lack_all_there_was(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0, faults=[Fault("partial_ack", channel="matches")])
    client = connect(simulator)
    client.subscribe("matches", products=[PRODUCT])
    assert client.receive() == {"type": "subscriptions", "channels": []}


def test_compression_survives_frames_that_are_lost_or_changed(simulate: Simulate, wait_for: WaitFor) -> None:
    faults = [
        Fault("drop", type="match", probability=0.2),
        Fault("null_field", type="match", probability=0.2, field="side"),
        Fault("silence", at=0.1, every=0.2, seconds=0.05),
    ]
    simulator = simulate(products=[PRODUCT], rate=500, faults=faults)
    with connect_compressed(simulator.url, compression="deflate", max_queue=None) as client:
        assert client.protocol.extensions
        client.send(json.dumps({"type": "subscribe", "channels": ["matches"], "product_ids": [PRODUCT]}))
        found = [json.loads(client.recv(timeout=20)) for _ in range(400)]
    assert simulator.statistics.connections == 1
    assert min(simulator.statistics.faults.values()) > 0
    assert [frame["trade_id"] for frame in found if frame["type"] == "match"]


def test_faults_of_the_sink_are_of_no_account(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=100, faults=[Fault("lose"), Fault("too_many")])
    client = connect(simulator)
    client.subscribe("matches", products=[PRODUCT])
    client.receive_type("match")
    assert simulator.statistics.faults == {}
