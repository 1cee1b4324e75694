"""Servers that never come to an end: whatever part of an answer it is, the client gives it up in time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from rxbridge.coinbase.rest import RestClient
from rxbridge.errors import ReadTimedOut, RestFailed
from rxbridge.pulsestream.client import PulseStreamClient

SECONDS = 0.4
"""The read time-out; what a server sends comes many times within it."""

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

ENDLESS: dict[str, tuple[bytes, bytes]] = {
    "nothing": (b"", b""),
    "an interim answer after the other": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "many interim answers at once": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 5000),
    "a status line that trickles": (b"HTTP/1.1 200 ", b"O"),
    "a header that trickles": (OK + b"X: ", b"x"),
    "headers that trickle": (OK, b"X"),
    "a body that trickles": (OK + b"Content-Length: 1000000\r\n\r\n", b" "),
    "chunks that trickle": (CHUNKED, b"1\r\n \r\n"),
    "a chunk's extension that trickles": (CHUNKED + b"1;", b"x"),
    "trailers without end": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "a flood of trailers": (CHUNKED + b"2\r\n{}\r\n0\r\n", b"X: y\r\n" * 5000),
}


@pytest.fixture
def endless() -> Iterator[Callable[[bytes, bytes], str]]:
    """Starts a server that says the first text once and the second one for ever, and gives its address."""
    stop = threading.Event()
    listeners: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def serve(listener: socket.socket, once: bytes, again: bytes) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with closing(connection), suppress(OSError):
                    connection.recv(65_536)
                    connection.sendall(once)
                    while not stop.wait(0.01):
                        connection.sendall(again)

    def start(once: bytes, again: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threads.append(threading.Thread(target=serve, args=(listener, once, again)))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    stop.set()
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("name", ENDLESS)
def test_pulsestream_s_answer(endless: Callable[[bytes, bytes], str], name: str) -> None:
    with (
        PulseStreamClient(endless(*ENDLESS[name]), "a-key", read_timeout_seconds=SECONDS) as client,
        pytest.raises(ReadTimedOut),
    ):
        client.check()


@pytest.mark.parametrize("name", ENDLESS)
def test_the_answer_of_coinbase_s_rest_api(
    endless: Callable[[bytes, bytes], str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with (
        closing(RestClient(endless(*ENDLESS[name]), read_timeout_seconds=SECONDS)) as client,
        pytest.raises(RestFailed, match="not arrived within"),
    ):
        client.trades("BTC-USD")


def test_the_way_through_a_proxy(endless: Callable[[bytes, bytes], str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's answer to CONNECT is read by the library alone, header by header."""
    monkeypatch.setenv("HTTPS_PROXY", endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    with (
        closing(
            RestClient("https://api.example", connect_timeout_seconds=SECONDS, read_timeout_seconds=SECONDS)
        ) as client,
        pytest.raises(RestFailed),
    ):
        client.trades("BTC-USD")


def test_one_answer_s_deadline_is_not_the_next_one_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a kept connection each answer has the whole time again, though all of them together take longer."""
    now = [0.0]
    monkeypatch.setattr("rxbridge.http_deadlines.monotonic", lambda: now[0])
    body = b'{"status":"ok","limit":1}'
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with closing(connection):
                for _ in range(4):
                    connection.recv(65_536)
                    now[0] += 10
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with PulseStreamClient(url, "a-key", read_timeout_seconds=25) as client:
            client.check()
            client.check()
        thread.join()
