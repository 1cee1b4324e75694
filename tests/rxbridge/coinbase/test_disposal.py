"""Disposing works in every phase, from every thread, and leaves neither thread nor socket."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from reactivex import Observable, operators
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection

from rxbridge.coinbase import frames
from rxbridge.coinbase.transport import DeadlineSocket, DisposedError, Endpoint, Lifeline, open_transport
from rxbridge.messages import Frame
from rxbridge.telemetry.statistics import FeedStatistics
from tests.ports import free_port
from tests.rxbridge.coinbase.conftest import Certificate
from tests.rxbridge.coinbase.servers import (
    TICKER,
    FeedServer,
    Observed,
    RawServer,
    acknowledgement,
    feed_threads,
    frame,
    hold,
    observe,
    upgrade,
    wait_for,
)

Serve = Callable[..., FeedServer]
ServeRaw = Callable[..., RawServer]


def feed(url: str, **options: Any) -> Observable[Frame]:
    """With limits so long that no wait of these tests ends by itself."""
    settings: dict[str, Any] = {
        "stall_seconds": 3600.0,
        "connect_timeout_seconds": 3600.0,
        "backoff_minimum_seconds": 1800.0,
        "backoff_maximum_seconds": 3600.0,
    }
    return frames(["BTC-USD"], url=url, **(settings | options))


def open_sockets() -> int:
    """How many sockets this process has, where the system tells."""
    try:
        return sum(entry.is_socket() for entry in Path("/dev/fd").iterdir())
    except OSError:
        return 0


def assert_gone(observed: Observed) -> None:
    wait_for(lambda: not feed_threads())
    assert (observed.errors, observed.completed) == ([], 0)


def test_while_tcp_connects(full_listener: int, log: list[str]) -> None:
    observed = observe(feed(f"ws://127.0.0.1:{full_listener}"))
    before = open_sockets()
    observed.dispose()
    assert_gone(observed)
    assert open_sockets() <= before
    assert not log


def test_just_before_tcp_connects(full_listener: int) -> None:
    class Disposed(Lifeline):
        def hold(self, connection: socket.socket) -> None:
            super().hold(connection)
            self.dispose()

    lifeline = Disposed()
    endpoint = Endpoint.of(f"ws://127.0.0.1:{full_listener}")
    with pytest.raises(DisposedError):
        open_transport(endpoint, lifeline, time.monotonic() + 3600)
    lifeline.close()


def test_at_every_moment_of_connecting(feed_server: Serve, log: list[str]) -> None:
    server = feed_server(hold)
    statistics = FeedStatistics()
    before = open_sockets()
    for number in range(60):
        observed = observe(feed(server.url, statistics=statistics))
        threading.Event().wait(number * 0.0001)
        observed.dispose()
        assert not observed.errors
    wait_for(lambda: not feed_threads() and not server.open)
    wait_for(lambda: open_sockets() <= before)
    assert statistics.disconnections == 0
    assert not [line for line in log if "ERROR" in line or "WARNING" in line]


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_while_the_handshake_waits(raw_server: ServeRaw, scheme: str) -> None:
    reading = threading.Event()

    def silent(connection: socket.socket, _number: int) -> None:
        connection.recv(1)
        reading.set()
        while connection.recv(65_536):
            pass

    server = raw_server(silent)
    observed = observe(feed(server.url.replace("ws:", f"{scheme}:")))
    assert reading.wait(10)
    observed.dispose()
    assert_gone(observed)


@pytest.mark.parametrize("secure", [False, True])
def test_while_receiving_it_says_goodbye(
    feed_server: Serve, certificate: Callable[[str], Certificate], log: list[str], *, secure: bool
) -> None:
    codes: list[int | None] = []

    def serve(server: FeedServer, connection: ServerConnection) -> None:
        connection.send(acknowledgement(server.subscribed(connection)), text=True)
        try:
            hold(server, connection)
        except ConnectionClosed as closed:
            codes.append(closed.rcvd.code if closed.rcvd else None)

    own = certificate("IP:127.0.0.1") if secure else None
    server = feed_server(serve, tls=own.context if own else None)
    statistics = FeedStatistics()
    observed = observe(feed(server.url, ca_file=own.file if own else None, statistics=statistics))
    wait_for(lambda: [line for line in log if "[OK]" in line])
    observed.dispose()
    assert_gone(observed)
    wait_for(lambda: not server.open)
    assert log[-1].startswith("INFO [CLOSED]")
    assert statistics.disconnections == 0
    if not secure:
        assert codes == [1000]


def test_in_the_middle_of_a_frame(raw_server: ServeRaw) -> None:
    half = threading.Event()

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection)
        connection.sendall(frame(b"x" * 10_000_000)[:5_000_000])
        half.set()
        while connection.recv(65_536):
            pass

    observed = observe(feed(raw_server(serve).url))
    assert half.wait(10)
    observed.dispose()
    assert_gone(observed)
    assert not observed.frames


def test_under_a_flood(raw_server: ServeRaw) -> None:
    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection)
        while True:
            connection.sendall(frame(TICKER) * 1000)

    observed = observe(feed(raw_server(serve).url))
    wait_for(lambda: len(observed.frames) > 1000)
    observed.dispose()
    count = len(observed.frames)
    assert_gone(observed)
    assert len(observed.frames) <= count + 1


def test_in_the_wait_before_a_reconnection(log: list[str]) -> None:
    threads = set(threading.enumerate())
    observed = observe(feed(f"ws://127.0.0.1:{free_port()}"))
    wait_for(lambda: [line for line in log if "[RECONNECTING]" in line])
    observed.dispose()
    assert_gone(observed)
    wait_for(lambda: set(threading.enumerate()) <= threads)


def test_from_within_the_subscriber(feed_server: Serve) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        for _ in range(5):
            connection.send(TICKER, text=True)
        hold(server, connection)

    server = feed_server(serve)
    observed = observe(feed(server.url).pipe(operators.take(2)))
    wait_for(lambda: observed.completed)
    wait_for(lambda: not feed_threads() and not server.open)
    assert observed.data == [TICKER, TICKER]


def test_from_many_threads_at_once_and_again(feed_server: Serve) -> None:
    server = feed_server(hold)
    observed = observe(feed(server.url))
    wait_for(lambda: server.connections)
    threads = [threading.Thread(target=observed.dispose) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    observed.dispose()
    assert_gone(observed)
    wait_for(lambda: not server.open)


def test_a_name_lookup_in_progress_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    looking, found = threading.Event(), threading.Event()

    def slow(*_args: object, **_options: object) -> list[Any]:
        looking.set()
        assert found.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 9))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    observed = observe(feed("ws://slow.example"))
    assert looking.wait(10)
    observed.dispose()
    found.set()
    assert_gone(observed)


def test_many_connections_leave_nothing(feed_server: Serve) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        connection.send(TICKER, text=True)

    server = feed_server(serve)
    before = open_sockets()
    observed = observe(feed(server.url, backoff_minimum_seconds=0.0001, backoff_maximum_seconds=0.0002))
    wait_for(lambda: len(observed.frames) >= 100)
    observed.dispose()
    assert_gone(observed)
    wait_for(lambda: not server.open)
    wait_for(lambda: open_sockets() <= before)


def test_data_that_never_end_do_not_hide_it() -> None:
    lifeline = Lifeline()
    ours, theirs = socket.socketpair()
    with theirs:
        lifeline.hold(ours)
        transport = DeadlineSocket(ours, lifeline, time.monotonic() + 3600)
        theirs.sendall(b"more" * 1000)
        assert transport.recv(4) == b"more"
        lifeline.dispose()
        with pytest.raises(DisposedError):
            transport.recv(4)
        lifeline.close()


def test_nothing_is_counted_after_it(raw_server: ServeRaw) -> None:
    """Frames that were read in one piece with the last one that was taken are not received by anybody."""

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection, followed_by=frame(TICKER) * 100)
        connection.recv(65_536)

    statistics = FeedStatistics()
    observed = observe(feed(raw_server(serve).url, statistics=statistics).pipe(operators.take(3)))
    wait_for(lambda: not feed_threads())
    assert (statistics.frames, len(observed.frames), observed.completed) == (3, 3, 1)


def test_a_system_without_threads_is_tried_again(
    feed_server: Serve, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    def none_left(thread: threading.Thread) -> None:
        if thread.name == "rxbridge-feed":
            raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", none_left)
    server = feed_server(hold)
    observed = observe(feed(server.url, backoff_minimum_seconds=0.01, backoff_maximum_seconds=0.02))
    wait_for(lambda: [line for line in log if "can't start new thread" in line])
    monkeypatch.undo()
    wait_for(lambda: server.connections)
    observed.dispose()
    assert_gone(observed)
