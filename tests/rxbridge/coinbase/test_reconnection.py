"""Whatever ends a connection, there is a next one; and no sooner than the backoff says."""

from __future__ import annotations

import itertools
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from websockets.sync.server import ServerConnection

from rxbridge.coinbase import frames
from rxbridge.coinbase.stream import backoff
from rxbridge.messages import Frame
from rxbridge.telemetry.statistics import FeedStatistics
from tests.ports import free_port
from tests.rxbridge.coinbase.servers import (
    HEARTBEAT,
    TICKER,
    FeedServer,
    Impatient,
    Observed,
    RawServer,
    Script,
    acknowledgement,
    frame,
    hold,
    leave,
    refusal,
    reset,
    subscribed,
    upgrade,
    wait_for,
)

Watch = Callable[[Observable[Frame]], Observed]
Serve = Callable[..., FeedServer]
ServeRaw = Callable[..., RawServer]


def feed(url: str, **options: Any) -> Observable[Frame]:
    settings: dict[str, Any] = {"scheduler": Impatient()} | options
    return frames(["BTC-USD"], url=url, **settings)


def reconnections(log: list[str]) -> list[str]:
    return [line for line in log if "[RECONNECTING]" in line]


@pytest.mark.parametrize("code", [1000, 1001, 1003, 1008, 1009, 1011, 1012, 1013, 4000])
def test_it_reconnects_after_every_close_code(feed_server: Serve, watch: Watch, log: list[str], code: int) -> None:
    def close(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        connection.send(TICKER, text=True)
        connection.close(code, "so\nlong")

    def stay(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        connection.send(HEARTBEAT, text=True)
        connection.recv()

    server = feed_server(close, stay)
    statistics = FeedStatistics()
    observed = watch(feed(server.url, statistics=statistics))
    wait_for(lambda: len(observed.frames) == 2)
    assert observed.data == [TICKER, HEARTBEAT]
    first, second = observed.frames
    assert (first.index, second.index) == (0, 0)
    assert first.connection < second.connection
    assert (statistics.connections, statistics.disconnections, statistics.frames) == (2, 1, 2)
    (line,) = reconnections(log)
    assert line.endswith(
        f"(attempt 1): connection to {server.url} lost (close code {code}): "
        r"the server closed it, saying 'so\nlong'"
    )
    assert [one for one in log if "[CLOSED]" in one]


def abrupt(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


def close_without_code(connection: socket.socket) -> None:
    connection.sendall(frame(b"", 8))


def announce_too_much(connection: socket.socket) -> None:
    connection.sendall(frame(b"x" * 70_000)[:10] + b"x" * 1000)
    connection.recv(65_536)


def fragment_too_much(connection: socket.socket) -> None:
    connection.sendall(frame(b"x" * 30_000, final=False) + frame(b"x" * 30_000, 0, final=False))
    connection.recv(65_536)


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (abrupt, "lost (close code 1006): it ended without a word"),
        (reset, "lost (close code 1006): Connection reset by peer"),
        (close_without_code, "lost (close code 1005): the server closed it"),
        (announce_too_much, "lost (close code 1009): a frame of 70,000 bytes is above the limit of 50,000"),
        (fragment_too_much, "lost (close code 1009): a frame of 60,000 bytes is above the limit of 50,000"),
        (lambda connection: connection.sendall(bytes([0x83, 0])), "(close code 1002): the server broke the WebSocket"),
        (lambda connection: connection.sendall(frame(b"\x03\xee", 8)), "(close code 1002): the server broke"),
        (lambda connection: connection.sendall(frame(b"x" * 500)[:100]), "(close code 1006): it ended without a word"),
    ],
)
def test_it_reconnects_after_every_other_end(
    raw_server: ServeRaw, watch: Watch, log: list[str], end: Callable[[socket.socket], None], words: str
) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        upgrade(connection)
        subscribed(connection)
        connection.sendall(frame(TICKER))
        if number == 0:
            end(connection)
            return
        while connection.recv(65_536):
            pass

    server = raw_server(serve)
    observed = watch(feed(server.url, max_frame_bytes=50_000))
    wait_for(lambda: observed.data == [TICKER, TICKER])
    (line,) = reconnections(log)
    assert words in line


def test_the_server_is_told_why_we_close(raw_server: ServeRaw, watch: Watch) -> None:
    goodbyes: list[bytes] = []

    def serve(connection: socket.socket, number: int) -> None:
        upgrade(connection)
        subscribed(connection)
        if number == 0:
            connection.sendall(frame(b"x" * 70_000)[:10])
            goodbyes.append(connection.recv(65_536))
        connection.recv(65_536)

    watch(feed(raw_server(serve).url, max_frame_bytes=50_000))
    wait_for(lambda: goodbyes)
    opcode, mask, masked = goodbyes[0][0], goodbyes[0][2:6], goodbyes[0][6:8]
    code = bytes(byte ^ mask[place] for place, byte in enumerate(masked))
    assert (opcode, int.from_bytes(code, "big")) == (0x88, 1009)


def test_a_refused_connection_is_tried_until_it_is_not(watch: Watch, log: list[str]) -> None:
    scheduler = Impatient()
    statistics = FeedStatistics()
    observed = watch(feed(f"ws://127.0.0.1:{free_port()}", scheduler=scheduler, statistics=statistics))
    wait_for(lambda: len(scheduler.waits) > 50)
    observed.dispose()
    assert "lost: Connection refused" in reconnections(log)[0]
    bases = [min(0.25 * 2**number, 15.0) for number in range(50)]
    assert all(base <= wait <= 2 * base for base, wait in zip(bases, scheduler.waits, strict=False))
    at_the_cap = scheduler.waits[10:50]
    assert len(set(at_the_cap)) > 20
    assert not observed.errors
    assert (statistics.connections, statistics.disconnections) == (0, 0)


def attempts(log: list[str]) -> list[int]:
    return [int(number) for line in reconnections(log) for number in re.findall(r"\(attempt (\d+)\)", line)]


def test_patience_is_restored_by_market_data_only(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def send(*messages: bytes) -> Script:
        def serve(server: FeedServer, connection: ServerConnection) -> None:
            request = server.subscribed(connection)
            for message in messages or (acknowledgement(request),):
                connection.send(message, text=True)

        return serve

    server = feed_server(
        leave,
        send(refusal("internal error")),
        send(),
        send(b"garbage", b"[]", b"{}"),
        send(HEARTBEAT),
        leave,
        send(b'{"type":"a_new_type"}'),
        leave,
        hold,
    )
    watch(feed(server.url))
    wait_for(lambda: len(server.connections) == 9)
    assert attempts(log) == [1, 2, 3, 4, 1, 2, 1, 2]


@given(
    attempt=st.integers(1, 10**6),
    minimum=st.floats(0.001, 10),
    ratio=st.floats(1, 1000),
)
def test_the_wait_stays_within_its_limits(attempt: int, minimum: float, ratio: float) -> None:
    wait = backoff(minimum, minimum * ratio)(attempt, OSError())
    assert minimum <= wait <= minimum * ratio


def test_the_wait_doubles() -> None:
    delay = backoff(0.25, 30.0)
    for attempt, base in enumerate([0.25, 0.5, 1, 2, 4, 8, 15, 15], start=1):
        assert all(base <= delay(attempt, OSError()) <= 2 * base for _ in range(20))


def quiet(raw_server: ServeRaw, *, answer_pings: bool) -> RawServer:
    """Accepts, reads, says nothing; in a thread a connection."""

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection)
        while data := connection.recv(65_536):
            # Pings are short: opcode, length, mask, payload.
            if answer_pings and data[0] == 0x89:
                length = data[1] & 0x7F
                mask, masked = data[2:6], data[6 : 6 + length]
                payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked))
                connection.sendall(frame(payload, 10))

    return raw_server(serve)


@pytest.mark.parametrize(
    ("answer_pings", "words"),
    [(True, "(it still answers pings)"), (False, "(nor does it answer pings)")],
)
def test_silence_is_death_whether_pings_are_answered_or_not(
    raw_server: ServeRaw, watch: Watch, log: list[str], *, answer_pings: bool, words: str
) -> None:
    server = quiet(raw_server, answer_pings=answer_pings)
    statistics = FeedStatistics()
    observed = watch(feed(server.url, stall_seconds=0.15, statistics=statistics))
    line = f"no frame from {server.url} for 0.15 s {words}"
    wait_for(lambda: any(one.endswith(line) for one in reconnections(log)) and server.accepted >= 2)
    assert not observed.errors
    assert statistics.disconnections >= 1


def test_pings_of_the_server_are_no_life(raw_server: ServeRaw, watch: Watch, log: list[str]) -> None:
    stop = threading.Event()

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection)
        while not stop.wait(0.01):
            connection.sendall(frame(b"", 9))

    server = raw_server(serve)
    watch(feed(server.url, stall_seconds=0.15))
    wait_for(lambda: server.accepted >= 2)
    stop.set()
    assert "(nor does it answer pings)" in reconnections(log)[0]


def test_a_frame_that_trickles_is_no_life(raw_server: ServeRaw, watch: Watch, log: list[str]) -> None:
    stop = threading.Event()

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection)
        connection.sendall(frame(b"x" * 60_000)[:4])
        while not stop.wait(0.01):
            connection.sendall(b"x")

    server = raw_server(serve)
    watch(feed(server.url, stall_seconds=0.15))
    wait_for(lambda: server.accepted >= 2)
    stop.set()
    assert "no frame from" in reconnections(log)[0]


def test_a_busy_subscriber_is_no_silence(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        for _ in range(2):
            connection.send(TICKER, text=True)
        connection.recv()

    server = feed_server(serve)
    busy = threading.Event()
    reconnected: list[list[str]] = []

    def take(_: Frame) -> None:
        # What comes after the second one is silence.
        reconnected.append(reconnections(log))
        busy.wait(2.2)

    subscription = feed(server.url, stall_seconds=2.0).subscribe(take)
    wait_for(lambda: len(reconnected) >= 2)
    busy.set()
    subscription.dispose()
    assert reconnected[:2] == [[], []]


def test_heartbeats_keep_a_quiet_product_alive(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        for _ in itertools.count():
            connection.send(HEARTBEAT, text=True)
            threading.Event().wait(0.02)

    server = feed_server(serve)
    observed = watch(feed(server.url, stall_seconds=2.0))
    wait_for(lambda: len(observed.frames) > 120)
    assert not reconnections(log)
