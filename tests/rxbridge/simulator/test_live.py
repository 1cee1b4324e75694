"""The live feed, as clients see it over real sockets."""

import json
import socket
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import requests

from rxbridge.simulator import Simulator

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]
WaitFor = Callable[..., None]
Frames = list[dict[str, Any]]

PRODUCTS = ["BTC-USD", "ETH-USD"]
UNREAD = ((socket.SOL_SOCKET, socket.SO_RCVBUF, 4096),)
"""For clients that do not read: less room for what they leave unread."""

START_NS = 1_700_000_000_000_000_000


def made(simulator: Simulator) -> int:
    return sum(len(simulator.trades(product)) for product in PRODUCTS)


def of(frames: Frames, product: str, *kinds: str) -> Frames:
    return [frame for frame in frames if frame["type"] in kinds and frame["product_id"] == product]


def make_trades(simulator: Simulator, trades: int, wait_for: WaitFor) -> None:
    """At least so many from now on, and then no more."""
    before = made(simulator)
    simulator.resume()
    wait_for(lambda: made(simulator) >= before + trades)
    simulator.pause()


def receive_all_trades(simulator: Simulator, client: Any) -> Frames:
    """Everything that a client of both channels receives until the last trades, of which no more are made."""
    last = {(kind, simulator.trades(product)[-1]) for product in PRODUCTS for kind in ("match", "ticker")}

    def is_last(frame: dict[str, Any]) -> bool:
        # Whoever came after it is told of it on the subscribe.
        last.discard((frame["type"].removeprefix("last_"), frame.get("trade_id")))
        return not last

    client.receive_until(is_last)
    return client.frames


def test_every_trade_comes_once_as_a_match_and_once_as_a_ticker(
    simulate: Simulate, connect: Connect, wait_for: WaitFor
) -> None:
    simulator = simulate(rate=2000)
    client = connect(simulator)
    client.subscribe("ticker", "matches", products=PRODUCTS)
    make_trades(simulator, 800, wait_for)
    frames = receive_all_trades(simulator, client)
    for product in PRODUCTS:
        matches = of(frames, product, "last_match", "match")
        tickers = of(frames, product, "ticker")
        ids = [frame["trade_id"] for frame in matches]
        assert [frame["type"] for frame in matches] == ["last_match"] + ["match"] * (len(matches) - 1)
        assert ids == list(range(ids[0], simulator.trades(product)[-1] + 1))
        assert [frame["trade_id"] for frame in tickers] == ids
        for match, ticker in zip(matches, tickers, strict=True):
            assert (match["price"], match["size"], match["time"], match["sequence"]) == (
                ticker["price"],
                ticker["last_size"],
                ticker["time"],
                ticker["sequence"],
            )
            assert {match["side"], ticker["side"]} == {"buy", "sell"}
        assert all(earlier["sequence"] < later["sequence"] for earlier, later in pairwise(matches))
    assert Counter(frame["type"] for frame in frames) == {
        kind: count for kind, count in simulator.statistics.frames.items() if count
    }


def test_every_client_gets_the_same_bytes(simulate: Simulate, connect: Connect, wait_for: WaitFor) -> None:
    simulator = simulate(rate=1000)
    simulator.pause()
    clients = [connect(simulator) for _ in range(3)]
    for client in clients:
        client.subscribe("matches", "ticker", products=PRODUCTS)
        client.receive_until(lambda _, client=client: len(client.frames) == 5)
        client.frames.clear()
    make_trades(simulator, 300, wait_for)
    received = [receive_all_trades(simulator, client) for client in clients]
    assert received[0] == received[1] == received[2]


def test_a_subscribe_first_repeats_the_last_trade_and_acknowledges_everything(
    simulate: Simulate, connect: Connect
) -> None:
    simulator = simulate(rate=0)
    client = connect(simulator)
    client.subscribe({"name": "matches", "product_ids": ["BTC-USD"]})
    first = [client.receive(), client.receive()]
    assert {frame["type"] for frame in first} == {"last_match", "subscriptions"}
    client.subscribe("matches", "ticker", "heartbeat", products=PRODUCTS)
    second = [client.receive() for _ in range(5)]
    for product in PRODUCTS:
        (trade_id,) = simulator.trades(product)
        assert [frame["trade_id"] for frame in of(second, product, "last_match")] == [trade_id]
        assert [frame["trade_id"] for frame in of(second, product, "ticker")] == [trade_id]
    (acknowledgement,) = [frame for frame in second if frame["type"] == "subscriptions"]
    channels = {channel["name"]: set(channel["product_ids"]) for channel in acknowledgement["channels"]}
    assert channels == {"matches": set(PRODUCTS), "ticker": set(PRODUCTS), "heartbeat": set(PRODUCTS)}


def test_data_may_come_before_the_acknowledgement(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0)
    places: set[int] = set()
    for _ in range(30):
        client = connect(simulator)
        client.subscribe("matches", "ticker", products=PRODUCTS)
        kinds = [client.receive()["type"] for _ in range(5)]
        places.add(kinds.index("subscriptions"))
        client.socket.shutdown()
    assert min(places) == 0
    assert max(places) > 1


def test_heartbeats_tell_the_last_trade_of_their_product(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0, heartbeat_seconds=0.05)
    client = connect(simulator)
    client.subscribe("heartbeat", products=PRODUCTS)
    client.receive_until(lambda _: len(client.frames) == 7)
    for product in PRODUCTS:
        beats = of(client.frames, product, "heartbeat")
        assert len(beats) == 3
        assert {beat["last_trade_id"] for beat in beats} == {simulator.trades(product)[-1]}
        times = [datetime.fromisoformat(beat["time"]) for beat in beats]
        assert times == sorted(set(times))


def test_times_are_real(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=500)
    client = connect(simulator)
    before = datetime.now(UTC)
    client.subscribe("matches", products=PRODUCTS)
    time = datetime.fromisoformat(client.receive_type("match")["time"])
    assert before - timedelta(seconds=30) < time <= datetime.now(UTC)


def test_with_a_start_the_frames_of_all_trades_are_the_same_at_each_run(
    simulate: Simulate, connect: Connect, wait_for: WaitFor
) -> None:
    def run() -> dict[int, dict[str, Any]]:
        simulator = simulate(rate=2000, max_trades=2000, seed=7, start_ns=START_NS)
        client = connect(simulator)
        client.subscribe("matches", "ticker", products=PRODUCTS)
        wait_for(lambda: made(simulator) == 2000 + len(PRODUCTS))
        frames = receive_all_trades(simulator, client)
        return {frame["sequence"]: frame for frame in of(frames, "BTC-USD", "ticker")}

    first, second = run(), run()
    # Each client has come in time for the last ones.
    common = first.keys() & second.keys()
    assert max(common) == max(first) == max(second)
    assert [first[one] for one in common] == [second[one] for one in common]
    assert first[max(first)]["time"].startswith("2023-11-14T22:13:2")


def test_unsubscribe_stops_a_product_and_a_channel(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=1000)
    client = connect(simulator)
    client.subscribe("matches", "ticker", products=PRODUCTS)
    client.receive_type("subscriptions")
    client.say({"type": "unsubscribe", "channels": ["ticker"]})
    client.say({"type": "unsubscribe", "channels": ["matches"], "product_ids": ["BTC-USD"]})
    client.receive_type("subscriptions")
    (channel,) = client.receive_type("subscriptions")["channels"]
    assert (channel["name"], channel["product_ids"]) == ("matches", ["ETH-USD"])
    after = [client.receive() for _ in range(50)]
    assert {(frame["type"], frame["product_id"]) for frame in after} == {("match", "ETH-USD")}
    client.say({"type": "unsubscribe", "channels": ["matches"]})
    assert client.receive_type("subscriptions")["channels"] == []
    client.expect_silence(0.2)


def test_one_bad_product_voids_the_whole_subscribe(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=1000)
    client = connect(simulator)
    client.subscribe("ticker", products=["BTC-USD", "NO-SUCH"])
    assert client.receive() == {
        "type": "error",
        "message": "Failed to subscribe",
        "reason": "NO-SUCH is not a valid product",
    }
    client.expect_silence(0.2)
    client.subscribe("ticker", products=["BTC-USD"])
    assert client.receive()["type"] in {"ticker", "subscriptions"}


def test_a_malformed_message_is_answered_and_survived(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0)
    client = connect(simulator)
    for nonsense in ("{", "[]", '{"type":"subscribe","channels":7}'):
        client.say(nonsense)
        assert client.receive()["type"] == "error"
    client.socket.send_binary(b"\xff\xff")
    assert client.receive()["type"] == "error"
    client.subscribe("heartbeat", products=["BTC-USD"])
    assert client.receive()["type"] == "subscriptions"


def test_a_client_that_does_not_subscribe_is_disconnected(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0, subscribe_deadline_seconds=1.0, heartbeat_seconds=0.1)
    subscribed = connect(simulator)
    subscribed.subscribe("heartbeat", products=["BTC-USD"])
    silent, refused = connect(simulator), connect(simulator)
    refused.subscribe("ticker", products=["NO-SUCH"])
    code, reason = silent.receive_close()
    assert (code, reason) == (1008, "no subscribe within 1 s")
    assert refused.receive_close()[0] == 1008
    # By now the other one is past its deadline, too.
    for _ in range(5):
        subscribed.receive_type("heartbeat")
    assert simulator.statistics.silent_clients == 2


def test_a_client_that_does_not_read_is_disconnected_and_nobody_else(
    simulate: Simulate, connect: Connect, wait_for: WaitFor
) -> None:
    simulator = simulate(rate=20_000, backlog_limit_bytes=100_000, heartbeat_seconds=0.05)
    healthy = connect(simulator)
    healthy.subscribe("heartbeat", products=["BTC-USD"])
    slow = connect(simulator, sockopt=UNREAD)
    slow.subscribe("ticker", "matches", products=PRODUCTS)
    wait_for(lambda: simulator.statistics.slow_clients == 1)
    # What was on its way arrives, then the connection ends, with a close frame if there is still room for it.
    assert slow.receive_end() in {(1008, "ErrSlowConsume"), None}
    simulator.pause()
    last = simulator.trades("BTC-USD")[-1]
    healthy.receive_until(lambda frame: frame.get("last_trade_id") == last)
    assert simulator.statistics.slow_clients == 1


def test_a_client_that_does_not_read_does_not_hold_up_the_stop(
    simulate: Simulate, connect: Connect, wait_for: WaitFor
) -> None:
    simulator = simulate(rate=20_000, backlog_limit_bytes=2**30)  # however late this test looks, it is not given up
    client = connect(simulator, sockopt=UNREAD)
    client.subscribe("ticker", "matches", products=PRODUCTS)
    wait_for(lambda: simulator.statistics.frames["match"] > 10_000)
    assert simulator.statistics.slow_clients == 0
    # It has a moment to answer the close frame that it does not read either; the test's time-out is the deadline.
    simulator.stop()
    assert client.receive_end() in {(1001, ""), None}


def test_disconnect_all_closes_every_connection_and_lets_them_come_back(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=100)
    clients = [connect(simulator) for _ in range(2)]
    for client in clients:
        client.subscribe("ticker", products=PRODUCTS)
        client.receive_type("subscriptions")
    assert disconnected_while_reading(simulator, clients, 1012, "restart") == [(1012, "restart")] * 2
    again = connect(simulator)
    again.subscribe("ticker", products=["BTC-USD"])
    again.receive_type("subscriptions")
    assert simulator.statistics.connections == 3


def disconnected_while_reading(
    simulator: Simulator, clients: list[Any], code: int, reason: str
) -> list[tuple[int, str]]:
    """The close frames that the clients get; a client must read to answer one."""
    with ThreadPoolExecutor(len(clients)) as readers:
        closes = [readers.submit(client.receive_close) for client in clients]
        assert simulator.disconnect_all(code, reason) == len(clients)
        return [close.result() for close in closes]


def test_disconnect_all_can_cut_connections_without_a_word(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0)
    client = connect(simulator)
    client.subscribe("heartbeat", products=["BTC-USD"])
    client.receive_type("subscriptions")
    assert simulator.disconnect_all(None) == 1
    assert client.receive_end() is None
    assert simulator.disconnect_all() == 0


def test_pause_stops_trades_and_nothing_else(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=1000, heartbeat_seconds=0.05)
    client = connect(simulator)
    client.subscribe("matches", "heartbeat", products=["BTC-USD"])
    client.receive_type("match")
    simulator.pause()
    trades = simulator.trades("BTC-USD")
    client.receive_until(lambda frame: frame.get("last_trade_id") == trades[-1])
    assert [client.receive()["type"] for _ in range(4)] == ["heartbeat"] * 4
    assert simulator.trades("BTC-USD") == trades
    simulator.resume()
    assert client.receive_type("match")["trade_id"] == trades[-1] + 1


def test_the_rate_is_one_of_trades(simulate: Simulate, wait_for: WaitFor) -> None:
    # In simulated time, so that a busy machine makes no difference: 4,000 trades at 500 a second take about 8 s.
    simulator = simulate(rate=500 * 100, max_trades=4000, start_ns=START_NS)
    wait_for(lambda: made(simulator) == 4000 + len(PRODUCTS))
    url = f"{simulator.rest_url}/products/BTC-USD/trades?limit=1"
    newest = datetime.fromisoformat(requests.get(url, timeout=10).json()[0]["time"])
    elapsed = (newest - datetime.fromtimestamp(START_NS / 1e9, UTC)).total_seconds()
    assert 0.9 < elapsed * 50_000 / 4000 < 1.1


def test_compression_is_offered_as_coinbase_does(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0)
    extension = "Sec-WebSocket-Extensions: permessage-deflate"
    client = connect(simulator, header=[extension])
    assert client.socket.headers["sec-websocket-extensions"].startswith("permessage-deflate")


def test_frames_are_json_without_spaces(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0)
    client = connect(simulator)
    client.subscribe("ticker", "matches", products=["BTC-USD"])
    for _ in range(3):
        text = client.socket.recv()
        assert text == json.dumps(json.loads(text), separators=(",", ":"))
