"""The feed of a recording: every frame of what was subscribed, byte for byte, in order, at the recorded distances."""

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rxbridge.errors import ConfigError, RecordingError
from rxbridge.recording import RecordedFrame, read
from rxbridge.simulator import Simulator

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]
WaitFor = Callable[..., None]
RealRecording = Callable[[str], Path]

MILLISECOND = 1_000_000
START_NS = 1_700_000_000_000_000_000


def frame(milliseconds: int, kind: str, product: str, **fields: object) -> RecordedFrame:
    # Spaces, so that a frame that was decoded and encoded on its way would not come out the same.
    data = json.dumps({"type": kind, "product_id": product, **fields}, separators=(" , ", ": "))
    return RecordedFrame(START_NS + milliseconds * MILLISECOND, data.encode())


RECORDED = [
    RecordedFrame(
        START_NS, b'{"type":"subscriptions","channels":[{"name":"ticker","product_ids":["BTC-USD","ETH-USD"]}]}'
    ),
    frame(1, "last_match", "BTC-USD", trade_id=1),
    frame(2, "ticker", "BTC-USD", trade_id=1),
    frame(3, "snapshot", "BTC-USD", bids=[["1.0", "2"]], asks=[]),
    frame(4, "ticker", "ETH-USD", trade_id=7),
    frame(5, "match", "BTC-USD", trade_id=2),
    frame(5, "ticker", "BTC-USD", trade_id=2),
    frame(6, "l2update", "BTC-USD", changes=[["buy", "1.0", "0"]]),
    frame(7, "heartbeat", "ETH-USD", last_trade_id=7),
    frame(8, "status", "ETH-USD"),
    RecordedFrame(START_NS + 9 * MILLISECOND, b'{"type":"error","message":"not yours"}'),
    RecordedFrame(START_NS + 9 * MILLISECOND, b"no JSON"),
    RecordedFrame(START_NS + 9 * MILLISECOND, b"[1,2]"),
    frame(10, "match", "ETH-USD", trade_id=8),
]


def recorded(*kinds: str, product: str | None = None) -> list[str]:
    """The texts of the recorded frames of these types."""
    texts: list[str] = []
    for one in RECORDED[1:-4] + RECORDED[-1:]:
        decoded = json.loads(one.data)
        if decoded["type"] in kinds and product in {None, decoded["product_id"]}:
            texts.append(one.data.decode())
    return texts


def play(simulate: Simulate, **options: Any) -> Simulator:
    return simulate(recording=lambda: RECORDED, **{"speed": math.inf, **options})


def receive_texts(client: Any, count: int) -> tuple[list[str], list[dict[str, Any]]]:
    """So many texts of data, and the acknowledgements that came with them."""
    texts: list[str] = []
    acknowledgements: list[dict[str, Any]] = []
    while len(texts) < count:
        text = client.socket.recv()
        if '"account_ids"' in text:
            acknowledgements.append(json.loads(text))
        else:
            texts.append(text)
    return texts, acknowledgements


def test_a_client_gets_what_it_subscribed_byte_for_byte_and_then_silence(simulate: Simulate, connect: Connect) -> None:
    client = connect(play(simulate, heartbeat_seconds=0.01))
    client.subscribe("ticker", "matches", products=["BTC-USD"])
    expected = recorded("ticker", "match", "last_match", product="BTC-USD")
    texts, acknowledgements = receive_texts(client, len(expected))
    assert texts == expected
    assert len(expected) == 4
    # An acknowledgement of its own, and not the recorded one.
    (acknowledgement,) = acknowledgements
    assert {channel["name"]: channel["product_ids"] for channel in acknowledgement["channels"]} == {
        "ticker": ["BTC-USD"],
        "matches": ["BTC-USD"],
    }
    client.expect_silence(0.2)


@pytest.mark.parametrize("name", ["level2_batch", "level2"])
def test_books_are_served_by_either_name(simulate: Simulate, connect: Connect, name: str) -> None:
    client = connect(play(simulate))
    client.subscribe(name, products=["BTC-USD"])
    texts, acknowledgements = receive_texts(client, 2)
    assert texts == recorded("snapshot", "l2update")
    assert [channel["name"] for channel in acknowledgements[0]["channels"]] == ["level2_50"]


def test_recorded_heartbeats_are_served(simulate: Simulate, connect: Connect) -> None:
    client = connect(play(simulate))
    client.subscribe("heartbeat", products=["BTC-USD", "ETH-USD"])
    assert receive_texts(client, 1)[0] == recorded("heartbeat")
    client.expect_silence(0.1)


def test_every_connection_gets_the_recording_from_its_start(simulate: Simulate, connect: Connect) -> None:
    simulator = play(simulate)
    for _ in range(2):
        client = connect(simulator)
        client.subscribe("matches", products=["ETH-USD", "BTC-USD"])
        assert receive_texts(client, 3)[0] == recorded("match", "last_match")


def test_what_is_subscribed_in_pieces_is_complete_all_the_same(simulate: Simulate, connect: Connect) -> None:
    client = connect(play(simulate))
    for product in ("BTC-USD", "ETH-USD"):
        client.subscribe("ticker", products=[product])
        client.subscribe("matches", "ticker", products=[product])
    texts, _ = receive_texts(client, 6)
    assert Counter(texts) == Counter(recorded("ticker", "match", "last_match"))
    client.expect_silence(0.1)


def test_what_is_unsubscribed_stops_and_starts_again_from_the_start(simulate: Simulate, connect: Connect) -> None:
    # The last match comes after an hour.
    late = frame(3_600_000, "match", "BTC-USD", trade_id=3)
    client = connect(simulate(recording=lambda: [*RECORDED, late], speed=1.0))
    client.subscribe("matches", products=["BTC-USD"])
    assert receive_texts(client, 2)[0] == recorded("last_match", "match", product="BTC-USD")
    client.say({"type": "unsubscribe", "channels": ["matches"]})
    assert client.receive()["channels"] == []
    client.subscribe("matches", products=["BTC-USD"])
    assert receive_texts(client, 2)[0] == recorded("last_match", "match", product="BTC-USD")


def test_products_that_were_not_recorded_are_refused(simulate: Simulate, connect: Connect) -> None:
    client = connect(play(simulate))
    client.subscribe("ticker", products=["BTC-USD", "SOL-USD"])
    assert client.receive()["reason"] == "SOL-USD is not a valid product"
    client.subscribe("full", products=["BTC-USD"])
    assert client.receive()["reason"].startswith("level2, level3, and full channels now require authentication.")


@pytest.mark.parametrize(("speed", "least_seconds"), [(1.0, 0.4), (10.0, 0.04)])
def test_distances_are_the_recorded_ones_divided_by_the_speed(
    simulate: Simulate, connect: Connect, speed: float, least_seconds: float
) -> None:
    frames = [frame(0, "ticker", "ETH-USD"), frame(200, "match", "BTC-USD"), frame(400, "match", "BTC-USD")]
    client = connect(simulate(recording=lambda: frames, speed=speed))
    started = time.monotonic()
    client.subscribe("matches", products=["BTC-USD"])
    client.receive_type("match")
    first = time.monotonic() - started
    client.receive_type("match")
    second = time.monotonic() - started
    # Never early; how late depends on the machine.
    assert first >= least_seconds / 2
    assert second >= least_seconds


def test_a_recording_whose_clock_went_back_is_still_served_in_order(simulate: Simulate, connect: Connect) -> None:
    frames = [frame(50, "match", "BTC-USD", trade_id=1), frame(-500_000, "match", "BTC-USD", trade_id=2)]
    client = connect(simulate(recording=lambda: frames, speed=1.0))
    client.subscribe("matches", products=["BTC-USD"])
    assert [client.receive_type("match")["trade_id"] for _ in range(2)] == [1, 2]


def test_as_fast_as_the_client_reads_is_not_faster(simulate: Simulate, connect: Connect, wait_for: WaitFor) -> None:
    frames = 3000
    taken: list[int] = []

    def recording() -> Iterator[RecordedFrame]:
        taken.append(0)
        for number in range(frames):
            taken[-1] = number
            yield frame(0, "match", "BTC-USD", trade_id=number, padding="x" * 10_000)

    simulator = simulate(recording=recording, speed=math.inf)
    client = connect(simulator)
    # It was read before, to know what it offers.
    taken.clear()
    client.subscribe("matches", products=["BTC-USD"])
    # It is read on only as far as the sockets' buffers reach, and waits there.
    wait_for(lambda: bool(taken))
    previous = -1
    while taken[-1] != previous:
        previous = taken[-1]
        time.sleep(0.2)
    assert previous < frames - 1
    texts, _ = receive_texts(client, frames)
    assert [json.loads(text)["trade_id"] for text in texts] == list(range(frames))
    assert simulator.statistics.slow_clients == 0


def test_a_stop_does_not_wait_for_the_end_of_the_recording(simulate: Simulate, connect: Connect) -> None:
    closed: list[bool] = []

    def recording() -> Iterator[RecordedFrame]:
        try:
            yield frame(0, "match", "BTC-USD")
            yield frame(3_600_000, "match", "BTC-USD")
        finally:
            closed.append(True)

    simulator = simulate(recording=recording, speed=1.0)
    client = connect(simulator)
    client.subscribe("matches", products=["BTC-USD"])
    client.receive_type("match")
    closed.clear()
    client.socket.shutdown()
    simulator.stop()
    assert closed == [True]


def test_a_recording_that_fails_on_the_way_ends_the_server(simulate: Simulate, connect: Connect) -> None:
    opened: list[None] = []

    def recording() -> Iterator[RecordedFrame]:
        opened.append(None)
        yield frame(0, "match", "BTC-USD")
        # At the start it is read twice: to see whose it is, and what it offers.
        if len(opened) > 2:
            raise RecordingError("gone.jsonl", "cannot be read: it is gone")

    simulator = simulate(recording=recording, speed=math.inf)
    client = connect(simulator)
    client.subscribe("matches", products=["BTC-USD"])
    assert client.receive_close()[0] == 1001
    with pytest.raises(RecordingError, match="it is gone"):
        simulator.stop()


@pytest.mark.parametrize("frames", [[], RECORDED[:1], [RecordedFrame(START_NS, b"no JSON")]])
def test_a_recording_without_frames_to_serve_is_refused(frames: list[RecordedFrame]) -> None:
    with pytest.raises(ConfigError, match="no frame of Coinbase's Exchange feed"):
        Simulator(recording=lambda: frames)


def test_a_recording_has_no_market(simulate: Simulate) -> None:
    simulator = play(simulate)
    for question in (partial(simulator.trades, "BTC-USD"), simulator.pause, simulator.resume):
        with pytest.raises(ConfigError, match="no market"):
            question()


def test_the_real_exchange_recording(simulate: Simulate, connect: Connect, real_recording: RealRecording) -> None:
    path = real_recording("exchange-2021")
    head = msgspec.json.Decoder(dict[str, Any])
    expected: list[str] = []
    products: set[str] = set()
    for one in read(path):
        decoded = head.decode(one.data)
        if decoded["type"] in {"ticker", "match", "last_match"}:
            expected.append(one.data.decode())
            products.add(decoded["product_id"])
    assert len(products) == 10
    simulator = simulate(recording=partial(read, path), speed=math.inf)
    client = connect(simulator)
    client.subscribe("ticker", "matches", products=sorted(products))
    texts, acknowledgements = receive_texts(client, 45 + 35 + 10)
    assert texts == expected
    assert len(acknowledgements) == 1
    assert Counter(json.loads(text)["type"] for text in texts) == {"ticker": 45, "match": 35, "last_match": 10}
    client.expect_silence(0.3)
    for product in products:
        ids = [
            decoded["trade_id"]
            for decoded in map(json.loads, texts)
            if decoded["product_id"] == product and decoded["type"] != "ticker"
        ]
        assert all(later == earlier + 1 for earlier, later in pairwise(ids))


def test_the_books_of_the_real_exchange_recording(
    simulate: Simulate, connect: Connect, real_recording: RealRecording
) -> None:
    path = real_recording("exchange-2021")
    client = connect(simulate(recording=partial(read, path), speed=math.inf))
    client.subscribe("level2_batch", products=["DASH-BTC", "SKL-USD"])
    expected = [
        one.data.decode()
        for one in read(path)
        if (decoded := json.loads(one.data))["type"] in {"snapshot", "l2update"}
        and decoded["product_id"] in {"DASH-BTC", "SKL-USD"}
    ]
    assert receive_texts(client, len(expected))[0] == expected


PAUSE = [frame(0, "match", "BTC-USD", trade_id=1), frame(300, "match", "BTC-USD", trade_id=2)]


def test_a_recording_without_heartbeats_gets_some_until_it_ends(simulate: Simulate, connect: Connect) -> None:
    # The pause of this one never ends.
    late = [PAUSE[0], frame(3_600_000, "match", "BTC-USD", trade_id=2)]
    client = connect(simulate(recording=lambda: late, heartbeat_seconds=0.05))
    client.subscribe("matches", "heartbeat", products=["BTC-USD"])
    for _ in range(3):
        client.receive_type("heartbeat")

    client = connect(simulate(recording=lambda: PAUSE, heartbeat_seconds=0.05))
    client.subscribe("matches", "heartbeat", products=["BTC-USD"])
    client.receive_until(lambda one: one.get("trade_id") == 2)
    client.expect_silence(0.3)


def test_nobody_gets_heartbeats_who_does_not_subscribe_to_them(simulate: Simulate, connect: Connect) -> None:
    client = connect(simulate(recording=lambda: PAUSE, heartbeat_seconds=0.05))

    client.subscribe("matches", products=["BTC-USD"])

    received = client.receive_until(lambda one: one.get("trade_id") == 2)
    assert {one["type"] for one in received} == {"subscriptions", "match"}


def test_a_recording_with_heartbeats_gets_no_others(simulate: Simulate, connect: Connect) -> None:
    recorded_one = frame(150, "heartbeat", "BTC-USD", last_trade_id=1)
    client = connect(simulate(recording=lambda: [PAUSE[0], recorded_one, PAUSE[1]], heartbeat_seconds=0.02))

    client.subscribe("matches", "heartbeat", products=["BTC-USD"])

    received = client.receive_until(lambda one: one.get("trade_id") == 2)
    assert [one["last_trade_id"] for one in received if one["type"] == "heartbeat"] == [1]
