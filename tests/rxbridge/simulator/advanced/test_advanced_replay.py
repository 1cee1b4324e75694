"""The feed of an Advanced Trade recording: every frame of what was subscribed, numbered anew and else untouched."""

import json
import math
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rxbridge.errors import ConfigError
from rxbridge.recording import RecordedFrame, read
from rxbridge.simulator import Simulator
from tests.rxbridge.simulator.advanced.conftest import without_number

Simulate = Callable[..., Simulator]
Converse = Callable[..., Any]
RealRecording = Callable[[str], Path]

MILLISECOND = 1_000_000
START_NS = 1_700_000_000_000_000_000
FIRST_NUMBER = 700
"""The recording begins in the middle of somebody's connection."""

ITEMS = {"market_trades": "trades", "ticker": "tickers", "candles": "candles"}


def frame(milliseconds: int, number: int, channel: str, kind: str, *products: str, **fields: Any) -> RecordedFrame:
    event: dict[str, Any] = {"type": kind, **fields}
    if channel == "l2_data":
        event |= {"product_id": products[0], "updates": []}
    elif channel in ITEMS:
        event |= {ITEMS[channel]: [{"product_id": product, "price": "1.50"} for product in products]}
    whole = {"channel": channel, "sequence_num": FIRST_NUMBER + number, "events": [event]}
    # Spaces, so that a frame that was decoded and encoded on its way would not come out the same.
    return RecordedFrame(START_NS + milliseconds * MILLISECOND, json.dumps(whole, separators=(" , ", ": ")).encode())


RECORDED = [
    frame(0, 0, "market_trades", "snapshot", "BTC-USD"),
    frame(1, 1, "market_trades", "snapshot", "ETH-USD"),
    frame(2, 2, "subscriptions", "somebody else's"),
    frame(3, 3, "ticker", "snapshot", "BTC-USD"),
    frame(4, 4, "l2_data", "snapshot", "BTC-USD"),
    frame(5, 5, "l2_data", "update", "BTC-USD"),
    frame(6, 6, "market_trades", "update", "BTC-USD", "BTC-USD"),
    frame(7, 7, "market_trades", "update", "ETH-USD"),
    frame(8, 8, "heartbeats", "", heartbeat_counter=41),
    frame(9, 9, "new_in_2027", "update"),
    RecordedFrame(START_NS + 9 * MILLISECOND, b"no JSON"),
    RecordedFrame(START_NS + 9 * MILLISECOND, b'{"type":"error","message":"not yours"}'),
    frame(10, 10, "market_trades", "update", "BTC-USD", "ETH-USD"),
    frame(11, 11, "heartbeats", "", heartbeat_counter=42),
]


def recorded(*positions: int) -> list[str]:
    return [without_number(RECORDED[position].data.decode()) for position in positions]


def play(simulate: Simulate, frames: list[RecordedFrame] = RECORDED, **options: Any) -> Simulator:
    return simulate(recording=lambda: frames, **{"speed": math.inf, **options})


def data_of(client: Any) -> list[str]:
    """What came but for acknowledgements, without the numbers."""
    return [
        without_number(text)
        for text, frame in zip(client.texts, client.frames, strict=True)
        if frame["channel"] != "subscriptions"
    ]


def receive_data(client: Any, count: int, channel: str = "") -> None:
    """Read on until so many frames of data, or of data of the channel, have come since the beginning."""
    while (
        sum(one["channel"] == channel if channel else one["channel"] != "subscriptions" for one in client.frames)
        < count
    ):
        client.receive()


def test_a_client_gets_what_it_subscribed_numbered_from_nought_and_then_silence(
    simulate: Simulate, converse: Converse
) -> None:
    client = converse(play(simulate, heartbeat_seconds=0.01))

    client.subscribe("market_trades", "BTC-USD")

    while len(client.frames) < 4:
        client.receive()
    assert data_of(client) == recorded(0, 6, 12)
    client.expect_silence(0.2)


def test_snapshots_come_before_the_acknowledgement_and_the_rest_after(simulate: Simulate, converse: Converse) -> None:
    client = converse(play(simulate))

    client.subscribe("market_trades", "BTC-USD", "ETH-USD")

    assert client.receive_acknowledgement() == {"market_trades": ["BTC-USD", "ETH-USD"]}
    assert data_of(client) == recorded(0, 1)
    receive_data(client, 5)
    assert data_of(client) == recorded(0, 1, 6, 7, 12)


def test_each_channel_is_asked_for_by_itself_and_played_from_the_start(simulate: Simulate, converse: Converse) -> None:
    client = converse(play(simulate))

    client.subscribe("level2", "BTC-USD")
    assert client.receive_acknowledgement() == {"level2": ["BTC-USD"]}
    receive_data(client, 2)
    assert data_of(client) == recorded(4, 5)
    client.subscribe("heartbeats")
    assert client.receive_acknowledgement() == {"heartbeats": ["heartbeats"], "level2": ["BTC-USD"]}
    receive_data(client, 4)
    assert data_of(client) == recorded(4, 5, 8, 13)


def test_a_snapshot_that_was_recorded_late_is_not_waited_for(simulate: Simulate, converse: Converse) -> None:
    frames = [frame(0, 0, "ticker", "update", "BTC-USD"), frame(60_000, 1, "ticker", "snapshot", "BTC-USD")]
    client = converse(play(simulate, frames, speed=1.0))

    client.subscribe("ticker", "BTC-USD")

    assert client.receive_acknowledgement() == {"ticker": ["BTC-USD"]}


def test_what_is_subscribed_already_is_not_played_again_and_what_was_unsubscribed_is(
    simulate: Simulate, converse: Converse
) -> None:
    client = converse(play(simulate))
    for _ in range(2):
        client.subscribe("level2", "BTC-USD")
        client.receive_acknowledgement()
    receive_data(client, 2)

    client.unsubscribe("level2")
    assert client.receive_acknowledgement() == {}
    client.subscribe("level2", "BTC-USD")
    receive_data(client, 4)

    assert data_of(client) == recorded(4, 5, 4, 5)
    client.expect_silence(0.1)


def test_every_connection_has_numbers_of_its_own(simulate: Simulate, converse: Converse) -> None:
    simulator = play(simulate)
    for _ in range(2):
        client = converse(simulator)
        client.subscribe("ticker", "BTC-USD")
        client.receive_acknowledgement()
        assert data_of(client) == recorded(3)


def test_the_product_in_dollars_is_served_for_its_twin(simulate: Simulate, converse: Converse) -> None:
    client = converse(play(simulate))

    client.subscribe("ticker", "BTC-USDC")

    assert client.receive_acknowledgement() == {"ticker": ["BTC-USD"]}
    assert data_of(client) == recorded(3)


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"channel": "trades", "product_ids": ["BTC-USD"]}, "authentication failure"),
        ({"channel": "ticker", "product_ids": ["BTC-USD", "NO-SUCH"]}, "NO-SUCH is not a valid product"),
        ({"channel": "ticker", "product_ids": []}, "product_ids: at least one product is needed"),
    ],
)
def test_a_refusal_says_why_has_no_number_and_changes_nothing(
    simulate: Simulate, converse: Converse, message: dict[str, Any], text: str
) -> None:
    client = converse(play(simulate))

    client.client.say({"type": "subscribe", **message})

    assert client.receive() == {"type": "error", "message": text}
    client.subscribe("ticker", "BTC-USD")
    assert client.receive_acknowledgement() == {"ticker": ["BTC-USD"]}


def test_a_recording_without_heartbeats_gets_some_until_it_ends(simulate: Simulate, converse: Converse) -> None:
    frames = [frame(0, 0, "ticker", "update", "BTC-USD"), frame(400, 1, "ticker", "update", "BTC-USD")]
    client = converse(play(simulate, frames, speed=2.0, heartbeat_seconds=0.05))

    client.subscribe("heartbeats")
    client.subscribe("ticker", "BTC-USD")
    receive_data(client, 4, "heartbeats")
    receive_data(client, 2, "ticker")

    # The second comes 400 ms after the first, at twice the speed: 200 ms, with a heartbeat every 50 of them.
    beats = [one["events"][0] for one in client.frames if one["channel"] == "heartbeats"]
    assert [beat["heartbeat_counter"] for beat in beats] == [1, 2, 3, 4]
    client.expect_silence(0.3)


def test_a_client_that_reads_slowly_gets_a_snapshot_larger_than_what_may_wait(
    simulate: Simulate, converse: Converse
) -> None:
    huge = frame(0, 0, "l2_data", "snapshot", "BTC-USD", padding="0" * 5_000_000)
    frames = [huge, *(frame(1, number, "l2_data", "update", "BTC-USD") for number in range(1, 200))]
    client = converse(play(simulate, frames, backlog_limit_bytes=1_000_000))

    client.subscribe("heartbeats")
    client.subscribe("level2", "BTC-USD")
    receive_data(client, 200, "l2_data")

    assert max(map(len, client.texts)) > 5_000_000


@pytest.mark.parametrize("frames", [RECORDED[2:3], [frame(0, 0, "market_trades", "snapshot")]])
def test_a_recording_without_frames_to_serve_is_refused(frames: list[RecordedFrame]) -> None:
    with pytest.raises(ConfigError, match="no frame of Coinbase's Advanced Trade feed"):
        Simulator(recording=lambda: frames)


def test_the_real_recording(simulate: Simulate, converse: Converse, real_recording: RealRecording) -> None:
    path = real_recording("advanced-2026")
    client = converse(simulate(recording=partial(read, path), speed=math.inf))
    channels = {"market_trades": 43, "ticker": 104, "candles": 4, "l2_data": 478, "heartbeats": 15}

    for channel in ("market_trades", "ticker", "candles", "level2"):
        client.subscribe(channel, "BTC-USD", "ETH-USD")
    client.subscribe("heartbeats")
    while len(client.frames) < sum(channels.values()) + 5:
        client.receive()

    assert Counter(one["channel"] for one in client.frames) == channels | {"subscriptions": 5}
    originals = [one.data.decode() for one in read(path)]
    for channel in channels:
        # The distances are gone, and with them the order between channels; within each it is kept.
        start = f'{{"channel":"{channel}"'
        expected = [without_number(text) for text in originals if text.startswith(start)]
        assert [text for text in data_of(client) if text.startswith(start)] == expected
    client.expect_silence(0.3)
