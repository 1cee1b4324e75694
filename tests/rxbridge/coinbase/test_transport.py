"""Addresses, TLS, proxies, and whatever can go wrong before the first frame; against servers on loopback."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
from reactivex import Observable
from websockets.sync.server import ServerConnection

from rxbridge.coinbase import frames
from rxbridge.coinbase.transport import Endpoint
from rxbridge.errors import ConfigError
from rxbridge.messages import Frame
from tests.ports import free_port
from tests.rxbridge.coinbase.conftest import Certificate
from tests.rxbridge.coinbase.servers import (
    TICKER,
    FeedServer,
    Impatient,
    Observed,
    RawServer,
    header,
    upgrade,
    wait_for,
)

Watch = Callable[[Observable[Frame]], Observed]
Serve = Callable[..., FeedServer]


def send_a_ticker(server: FeedServer, connection: ServerConnection) -> None:
    connection.recv()
    connection.send(TICKER, text=True)
    connection.recv()


def feed(url: str, **options: Any) -> Observable[Frame]:
    options = {"scheduler": Impatient(), "backoff_minimum_seconds": 0.01, "backoff_maximum_seconds": 0.02} | options
    return frames(["BTC-USD"], url=url, **options)


def the_reconnection(log: list[str]) -> str:
    wait_for(lambda: [line for line in log if "[RECONNECTING]" in line])
    return next(line for line in log if "[RECONNECTING]" in line)


@pytest.mark.parametrize(
    "url",
    ["https://host", "host", "wss://", "ws:///path", "wss://host:port/", "wss://[::1", "wss://" + "a" * 70 + ".b"],
)
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ConfigError) as refused:
        frames(["BTC-USD"], url=url)
    assert refused.value.setting == "url"


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as refused:
        frames(["BTC-USD"], url="wss://user:hunter2@host/")
    assert "hunter2" not in str(refused.value)


def test_a_missing_certificate_file_is_refused_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        frames(["BTC-USD"], ca_file="/nowhere/ca.pem")
    assert refused.value.setting == "ca_file"


def test_the_ports_are_those_of_the_schemes() -> None:
    assert (Endpoint.of("ws://host/x").port, Endpoint.of("wss://host").port, Endpoint.of("ws://h:9/").port) == (
        80,
        443,
        9,
    )


def test_a_certificate_of_our_own_authority_is_accepted(
    feed_server: Serve, certificate: Callable[[str], Certificate], watch: Watch
) -> None:
    own = certificate("IP:127.0.0.1")
    server = feed_server(send_a_ticker, tls=own.context)
    observed = watch(feed(server.url, ca_file=own.file))
    wait_for(lambda: observed.data == [TICKER])


@pytest.mark.parametrize(
    ("names", "trusted", "words"),
    [
        ("IP:127.0.0.1", False, "self-signed certificate"),
        ("DNS:somewhere.else", True, "IP address mismatch"),
    ],
)
def test_a_wrong_certificate_is_refused_and_said_plainly(
    feed_server: Serve,
    certificate: Callable[[str], Certificate],
    watch: Watch,
    log: list[str],
    *,
    names: str,
    trusted: bool,
    words: str,
) -> None:
    own = certificate(names)
    server = feed_server(send_a_ticker, tls=own.context)
    observed = watch(feed(server.url, ca_file=own.file if trusted else None))
    line = the_reconnection(log)
    assert "the server's certificate is not valid" in line
    assert words in line.replace("self signed", "self-signed")
    assert not server.connections
    assert not observed.errors


def test_tls_to_a_server_without_is_an_error(
    raw_server: Callable[..., RawServer], watch: Watch, log: list[str]
) -> None:
    server = raw_server(lambda connection, _: connection.sendall(b"220 this is a mail server\r\n" * 10))
    watch(feed(server.url.replace("ws:", "wss:")))
    assert "TLS failed" in the_reconnection(log)


def test_a_large_message_passes_tls(
    feed_server: Serve, certificate: Callable[[str], Certificate], watch: Watch
) -> None:
    own = certificate("IP:127.0.0.1")
    large = b'{"type":"snapshot","x":"' + b"1" * 3_000_000 + b'"}'

    def serve(server: FeedServer, connection: ServerConnection) -> None:
        connection.recv()
        for _ in range(3):
            connection.send(large, text=True)
            connection.send(TICKER, text=True)
        connection.recv()

    observed = watch(feed(feed_server(serve, tls=own.context).url, ca_file=own.file))
    wait_for(lambda: len(observed.frames) == 6)
    assert observed.data == [large, TICKER] * 3


def test_an_unknown_name_is_said_and_tried_again(watch: Watch, log: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: object, **_options: object) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    watch(feed("wss://feed.invalid"))
    wait_for(lambda: len([line for line in log if "[RECONNECTING]" in line]) >= 3)
    assert "its name cannot be resolved: Name or service not known" in the_reconnection(log)


def test_a_second_address_is_tried_when_the_first_refuses(
    feed_server: Serve, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = feed_server(send_a_ticker)
    port = int(server.url.rsplit(":", 1)[1])
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", number)) for number in (free_port(), port)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: both)
    observed = watch(feed("ws://two.addresses"))
    wait_for(lambda: observed.data == [TICKER])


def test_an_address_that_swallows_everything_leaves_time_for_the_next(
    feed_server: Serve, watch: Watch, full_listener: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = (full_listener, int(feed_server(send_a_ticker).url.rsplit(":", 1)[1]))
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: both)
    observed = watch(feed("ws://two.addresses", connect_timeout_seconds=0.6))
    wait_for(lambda: observed.data == [TICKER])


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 9\r\n\r\nslow\ndown",
            r"'429 Too Many Requests': 'slow\ndown'",
        ),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "'503 Service Unavailable'"),
        (b"HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:9/\r\n\r\n", "broke the WebSocket protocol"),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n", "broke the WebSocket protocol"),
        (b"HTTP/1.1 101 S\r\nX: " + b"x" * 100_000, "longer than 65536 bytes"),
        (b"", "ended without a word"),
        (b"\x00\xff\xfe\r\n\r\n", "broke the WebSocket protocol"),
    ],
)
def test_a_handshake_that_fails_is_said_and_tried_again(
    raw_server: Callable[..., RawServer], watch: Watch, log: list[str], answer: bytes, words: str
) -> None:
    def refuse(connection: socket.socket, _number: int) -> None:
        connection.recv(65_536)
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(65_536)

    server = raw_server(refuse)
    observed = watch(feed(server.url))
    wait_for(lambda: server.accepted >= 2)
    assert words in the_reconnection(log)
    assert not observed.errors


def test_a_handshake_that_trickles_for_ever_is_given_up(
    raw_server: Callable[..., RawServer], watch: Watch, log: list[str]
) -> None:
    stop = threading.Event()

    def trickle(connection: socket.socket, _number: int) -> None:
        while not stop.wait(0.02):
            connection.sendall(b"H")

    server = raw_server(trickle)
    watch(feed(server.url, connect_timeout_seconds=0.2))
    wait_for(lambda: server.accepted >= 2)
    stop.set()
    assert "no answer in time" in the_reconnection(log)


class Proxy:
    """An HTTP proxy that connects everyone to one port, or refuses."""

    def __init__(self, raw_server: Callable[..., RawServer], port: int, status: bytes = b"200 Connection established"):
        self.requests: list[bytes] = []
        self._port = port
        self._status = status
        self.url = raw_server(self._serve).url.replace("ws:", "http:")

    def _serve(self, connection: socket.socket, _number: int) -> None:
        self.requests.append(header(connection))
        connection.sendall(b"HTTP/1.1 " + self._status + b"\r\nVia: test\r\n\r\n")
        with socket.create_connection(("127.0.0.1", self._port)) as server:
            back = threading.Thread(target=_pump, args=(server, connection))
            back.start()
            _pump(connection, server)
            back.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.mark.parametrize("secure", [False, True])
def test_the_proxy_of_the_environment_is_used(
    feed_server: Serve,
    raw_server: Callable[..., RawServer],
    certificate: Callable[[str], Certificate],
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
    *,
    secure: bool,
) -> None:
    own = certificate("DNS:feed.example")
    server = feed_server(send_a_ticker, tls=own.context if secure else None)
    proxy = Proxy(raw_server, int(server.url.rsplit(":", 1)[1]))
    variable = "HTTPS_PROXY" if secure else "HTTP_PROXY"
    monkeypatch.setenv(variable.lower(), proxy.url.replace("//", "//user:p%40ss@"))
    url = "wss://feed.example:8443/" if secure else "ws://feed.example:8443/"
    observed = watch(feed(url, ca_file=own.file if secure else None))
    wait_for(lambda: observed.data == [TICKER])
    (request,) = proxy.requests
    assert request.startswith(b"CONNECT feed.example:8443 HTTP/1.1\r\nHost: feed.example:8443\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"user:p@ss") in request


def test_a_proxy_is_left_out_for_hosts_that_want_none(
    feed_server: Serve, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1/")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    observed = watch(feed(feed_server(send_a_ticker).url))
    wait_for(lambda: observed.data == [TICKER])


@pytest.mark.parametrize(
    ("proxy", "words"),
    [("http", "the proxy refused it: it answered 'HTTP/1.1 407 No'"), ("socks5", "a proxy of the kind 'socks5'")],
)
def test_a_proxy_that_refuses_is_said_without_its_password(
    raw_server: Callable[..., RawServer],
    watch: Watch,
    log: list[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    proxy: str,
    words: str,
) -> None:
    refusing = Proxy(raw_server, 1, status=b"407 No")
    monkeypatch.setenv("http_proxy", refusing.url.replace("http://", f"{proxy}://user:hunter2@"))
    watch(feed("ws://feed.example/"))
    assert words in the_reconnection(log)
    assert not any("hunter2" in line for line in log)


def test_a_frame_in_the_same_segment_as_the_handshake_is_received(
    raw_server: Callable[..., RawServer], watch: Watch
) -> None:
    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection, followed_by=b"\x81\x02{}")
        connection.recv(65_536)

    observed = watch(feed(raw_server(serve).url))
    wait_for(lambda: observed.data == [b"{}"])
