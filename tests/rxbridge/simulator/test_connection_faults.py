"""Faults of whole connections, over real sockets."""

import contextlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import psutil
import pytest
import websocket

from rxbridge.faults import Fault
from rxbridge.recording import RecordedFrame
from rxbridge.simulator import Simulator

Simulate = Callable[..., Simulator]
Connect = Callable[..., Any]
WaitFor = Callable[..., None]

PRODUCT = "BTC-USD"
FOREVER = 1e6
"""For faults that hit whoever connects, so that no test depends on when it does."""

DEADLINE_SECONDS = 20.0

PAUSE = 0.2
"""For faults that hit whoever is connected: every so many seconds."""


def is_closed_with(client: Any, content: bytes) -> bool:
    """Whether the close frame with this content comes, and then the end of the connection.

    Read below the client, which refuses the codes that there must not be.
    """
    frame = bytes((0x88, len(content))) + content
    received = b""
    while not received.endswith(frame):
        piece = client.socket.sock.recv(65_536)
        assert piece, f"it ended with {received[-100:]!r}"
        received += piece
    try:
        client.socket.send_close()
        return client.socket.sock.recv(1) == b""
    except (ConnectionError, websocket.WebSocketConnectionClosedException):
        # The answer came too late, and the connection was cut.
        return True


def subscribe_unless_thrown_out(client: Any) -> None:
    """Subscribe; the fault may come first."""
    with contextlib.suppress(ConnectionError, websocket.WebSocketConnectionClosedException):
        client.subscribe("matches", products=[PRODUCT])


@pytest.mark.parametrize("code", [1000, 1001, 1012, 4999, 0, 999, 1015, 65_535])
def test_a_close_of_any_code(simulate: Simulate, connect: Connect, code: int) -> None:
    simulator = simulate(rate=200, faults=[Fault("close", at=PAUSE, every=PAUSE, code=code, reason="wartungé")])
    client = connect(simulator)
    client.subscribe("matches", products=[PRODUCT])
    assert is_closed_with(client, code.to_bytes(2) + "wartungé".encode())
    assert simulator.statistics.faults["close"] == 1


def test_a_close_without_a_code(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=200, faults=[Fault("close", at=PAUSE, every=PAUSE, code=1005)])
    assert is_closed_with(connect(simulator), b"")


def test_the_connection_is_cut_without_a_close_frame(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=200, faults=[Fault("close", at=PAUSE, every=PAUSE)])
    client = connect(simulator)
    subscribe_unless_thrown_out(client)
    assert client.receive_end() is None


def test_only_who_has_been_connected_longest_is_thrown_out(simulate: Simulate, connect: Connect) -> None:
    # It comes again for those who were late for the first time, and is far away for the others.
    simulator = simulate(rate=200, faults=[Fault("close", at=1.0, every=10.0, clients="oldest")])
    oldest, newer = connect(simulator), connect(simulator)
    for client in (oldest, newer):
        subscribe_unless_thrown_out(client)
    assert oldest.receive_end() is None
    newer.receive_type("match")
    assert simulator.statistics.faults["close"] == 1


def test_a_client_that_does_not_answer_the_close_is_cut(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=200, faults=[Fault("close", at=PAUSE, every=PAUSE, code=1011)])
    client = connect(simulator)
    client.subscribe("matches", products=[PRODUCT])
    opcode = None
    while opcode != websocket.ABNF.OPCODE_CLOSE:
        opcode, _ = client.socket.recv_data(control_frame=True)
    # Nothing follows a close frame.
    with contextlib.suppress(ConnectionResetError):
        assert client.socket.sock.recv(65_536) == b""
    assert simulator.statistics.faults["close"] == 1


def test_it_closes_again_and_again_and_who_comes_back_is_served(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=2000, faults=[Fault("close", at=PAUSE, every=PAUSE, code=1012)])
    served = closed = 0
    deadline = time.monotonic() + DEADLINE_SECONDS
    # Who comes right before the next close is closed before there was anything to serve.
    while served < 3:
        assert time.monotonic() < deadline, "who comes back is not served"
        client = connect(simulator)
        client.subscribe("matches", products=[PRODUCT])
        while True:
            opcode, content = client.socket.recv_data(control_frame=True)
            if opcode == websocket.ABNF.OPCODE_CLOSE:
                break
            client.frames.append(json.loads(content))
        closed += 1
        served += any(frame["type"] == "match" for frame in client.frames)
        assert simulator.statistics.faults["close"] == closed


def test_while_it_lasts_who_connects_is_closed_as_well(simulate: Simulate, connect: Connect, wait_for: WaitFor) -> None:
    faults = [Fault("close", seconds=FOREVER, code=1013, times=3)]
    simulator = simulate(rate=200, faults=faults)
    for _ in range(3):
        assert is_closed_with(connect(simulator), (1013).to_bytes(2))
    # It is used up.
    client = connect(simulator)
    client.subscribe("matches", products=[PRODUCT])
    client.receive_type("match")
    assert simulator.statistics.faults == {"close": 3}


def test_a_probability_is_that_of_a_connection(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=0, faults=[Fault("reset", seconds=FOREVER, probability=0.5)], seed=3)
    cut = 0
    for _ in range(40):
        client = connect(simulator)
        with contextlib.suppress(OSError):
            client.subscribe("matches", products=[PRODUCT])
        try:
            client.receive_type("subscriptions")
        except (OSError, websocket.WebSocketConnectionClosedException):
            cut += 1
    assert simulator.statistics.faults["reset"] == cut
    assert 5 < cut < 35


def test_a_reset_is_one_of_tcp(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=2000, faults=[Fault("reset", side="feed", at=PAUSE, every=PAUSE)])
    client = connect(simulator)

    def read_on() -> None:
        client.subscribe("matches", products=[PRODUCT])
        while client.socket.sock.recv(65_536):
            pass

    with pytest.raises(ConnectionResetError):
        read_on()


def test_a_silent_connection_is_open_and_says_nothing(simulate: Simulate, connect: Connect) -> None:
    faults = [Fault("silence", seconds=FOREVER, times=1)]
    simulator = simulate(rate=500, heartbeat_seconds=0.02, subscribe_deadline_seconds=0.2, faults=faults)
    silent = connect(simulator)
    silent.subscribe("matches", "heartbeat", products=[PRODUCT])
    silent.socket.ping("are you there")
    # Who came later and did not subscribe is disconnected, so the time has come for the silent one as well.
    assert connect(simulator).receive_close()[0] == 1008
    silent.socket.sock.settimeout(0)
    with pytest.raises(BlockingIOError):
        silent.socket.sock.recv(1)
    # It has subscribed, so far as anybody knows, and is not disconnected for that it did not.
    assert simulator.statistics.silent_clients == 1
    # A close is not answered either.
    silent.socket.sock.settimeout(DEADLINE_SECONDS)
    silent.socket.send_close()
    assert connect(simulator).receive_close()[0] == 1008
    silent.socket.sock.settimeout(0)
    with pytest.raises(BlockingIOError):
        silent.socket.sock.recv(1)
    assert simulator.statistics.faults == {"silence": 1}


def test_who_leaves_a_silent_connection_is_forgotten(simulate: Simulate, connect: Connect, wait_for: WaitFor) -> None:
    simulator = simulate(rate=500, faults=[Fault("silence", seconds=FOREVER)])
    before = psutil.Process().num_fds()
    clients = [connect(simulator) for _ in range(5)]
    for client in clients:
        client.subscribe("matches", products=[PRODUCT])
        client.socket.shutdown()
    wait_for(lambda: psutil.Process().num_fds() <= before)


def test_a_moment_of_silence_lasts_for_ever_and_only_for_who_was_there(
    simulate: Simulate, connect: Connect, wait_for: WaitFor
) -> None:
    simulator = simulate(rate=500, heartbeat_seconds=0.02, faults=[Fault("silence", at=1.0, every=1.0)])
    silent = connect(simulator)
    silent.subscribe("matches", products=[PRODUCT])
    wait_for(lambda: simulator.statistics.faults["silence"] >= 1)

    def anyone_is_served() -> bool:
        client = connect(simulator)
        client.subscribe("heartbeat", products=[PRODUCT])
        client.socket.settimeout(0.5)
        try:
            return client.receive_type("heartbeat") is not None
        except websocket.WebSocketTimeoutException:  # its moment came meanwhile
            return False

    wait_for(anyone_is_served)
    silent.socket.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        silent.receive_until(lambda _: False)


def test_after_a_silence_the_connection_goes_on_and_what_was_not_sent_is_lost(
    simulate: Simulate, connect: Connect
) -> None:
    simulator = simulate(products=[PRODUCT], rate=1000, faults=[Fault("silence", at=0.3, every=0.6, seconds=0.3)])
    client = connect(simulator)
    client.subscribe("matches", products=[PRODUCT])
    holes = 0
    deadline = time.monotonic() + 20
    last: int | None = None
    while holes < 2:
        assert time.monotonic() < deadline, "there was no silence"
        frame = client.receive()
        if frame["type"] == "match":
            holes += last is not None and frame["trade_id"] != last + 1
            last = frame["trade_id"]
    client.socket.ping("here?")
    opcode = None
    while opcode != websocket.ABNF.OPCODE_PONG:
        opcode, _ = client.socket.recv_data_frame(control_frame=True)
    assert simulator.statistics.connections == 1


def test_a_client_that_is_silenced_does_not_hold_up_the_stop(connect: Connect) -> None:
    with Simulator(rate=500, faults=[Fault("silence", seconds=FOREVER)]) as simulator:
        client = connect(simulator)
        client.subscribe("matches", products=[PRODUCT])
        simulator.stop()
        assert client.receive_end() is None


def test_bytes_trickle_one_by_one(simulate: Simulate, connect: Connect) -> None:
    simulator = simulate(rate=50, faults=[Fault("trickle", bytes_per_second=250)])
    client = connect(simulator)
    started = time.monotonic()
    client.subscribe("matches", products=[PRODUCT])
    pieces: list[bytes] = []
    while (received := sum(map(len, pieces))) < 400:
        pieces.append(client.socket.sock.recv(65_536))
        # A busy machine makes some pieces longer; but it is never faster than it should be.
        assert time.monotonic() - started > received / 250 / 2
    assert len(pieces) > 2
    assert b'"type":"subscriptions"' in b"".join(pieces)
    assert simulator.statistics.faults == {"trickle": 1}


def test_what_trickled_is_whole_and_the_rest_follows_at_once(simulate: Simulate, connect: Connect) -> None:
    faults = [Fault("trickle", bytes_per_second=5000, seconds=0.3, every=0.6)]
    simulator = simulate(products=[PRODUCT], rate=500, max_trades=600, faults=faults)
    simulator.pause()
    client = connect(simulator)
    client.subscribe("matches", products=[PRODUCT])
    client.receive_type("subscriptions")
    simulator.resume()
    last = simulator.trades(PRODUCT)[0] + 600
    client.receive_until(lambda frame: frame.get("trade_id") == last)
    found = [frame["trade_id"] for frame in client.frames if frame["type"] in {"match", "last_match"}]
    assert all(later == earlier + 1 for earlier, later in pairwise(found))
    assert simulator.statistics.faults["trickle"] >= 1
    assert simulator.statistics.connections == 1


def test_a_recording_waits_for_the_trickle(simulate: Simulate, connect: Connect, wait_for: WaitFor) -> None:
    frames = [
        RecordedFrame(1, json.dumps({"type": "match", "product_id": PRODUCT, "trade_id": number}).encode())
        for number in range(5000)
    ]
    # So slowly that the recording would take minutes, however late this test looks.
    faults = [Fault("trickle", bytes_per_second=2000)]
    simulator = simulate(recording=lambda: frames, speed=float("inf"), faults=faults, backlog_limit_bytes=10**6)
    client = connect(simulator)
    client.subscribe("matches", products=[PRODUCT])
    assert client.receive_type("match")["trade_id"] == 0
    # It is not all handed over at once: what waits is bounded.
    assert simulator.statistics.frames["match"] < 3000
    for number in range(1, 20):
        assert client.receive_type("match")["trade_id"] == number


def test_who_reads_slowly_by_our_fault_is_disconnected_too(
    simulate: Simulate, connect: Connect, wait_for: WaitFor
) -> None:
    faults = [Fault("trickle", bytes_per_second=10)]
    simulator = simulate(rate=2000, backlog_limit_bytes=50_000, faults=faults)
    client = connect(simulator)
    client.subscribe("matches", "ticker", products=[PRODUCT])
    wait_for(lambda: simulator.statistics.slow_clients == 1)
    # The close frame is at the end of what trickles: it is cut.
    while client.socket.sock.recv(65_536):
        pass


def test_many_faults_at_once_leave_nothing_behind(connect: Connect, wait_for: WaitFor) -> None:
    faults = [
        Fault("close", at=0.05, every=0.11, code=1012),
        Fault("reset", side="feed", at=0.1, every=0.13),
        Fault("trickle", at=0.02, every=0.3, seconds=0.1, bytes_per_second=500),
        Fault("silence", at=0.01, every=0.5, seconds=0.1),
        Fault("garbage", probability=0.1),
        Fault("drop", probability=0.1),
        Fault("huge", probability=0.01, bytes=100_000),
    ]
    threads, files = threading.active_count(), psutil.Process().num_fds()
    stopped = threading.Event()

    def come_and_go(simulator: Simulator) -> None:
        while not stopped.is_set():
            with (
                contextlib.suppress(OSError, websocket.WebSocketException),
                contextlib.closing(
                    websocket.create_connection(simulator.url, timeout=0.5, skip_utf8_validation=True)
                ) as client,
            ):
                client.send(json.dumps({"type": "subscribe", "channels": ["matches"], "product_ids": [PRODUCT]}))
                while not stopped.is_set():
                    client.recv_data()

    with Simulator(products=[PRODUCT], rate=500, faults=faults) as simulator, ThreadPoolExecutor(4) as clients:
        futures = [clients.submit(come_and_go, simulator) for _ in range(4)]
        try:
            wait_for(lambda: min(simulator.statistics.faults.values()) >= 3)
        finally:
            stopped.set()
        for future in futures:
            future.result()
    wait_for(lambda: threading.active_count() <= threads)
    wait_for(lambda: psutil.Process().num_fds() <= files)
