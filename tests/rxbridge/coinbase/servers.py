"""Servers on loopback that behave as a test says, and what watches the feed meanwhile."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec
from reactivex import Observable
from reactivex.abc import DisposableBase, ScheduledAction, SchedulerBase
from reactivex.scheduler import NewThreadScheduler
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

from rxbridge.messages import Frame

TICKER = b'{"type":"ticker","sequence":1,"product_id":"BTC-USD","price":"100.5","trade_id":7}'
HEARTBEAT = b'{"type":"heartbeat","sequence":1,"last_trade_id":0,"product_id":"BTC-USD"}'
MARKET_TRADES = (
    b'{"channel":"market_trades","timestamp":"2026-01-31T08:00:00Z","sequence_num":2,"events":[{"type":"update",'
    b'"trades":[{"product_id":"BTC-USD","trade_id":"7","price":"100.5","size":"1","side":"BUY"}]}]}'
)
HEARTBEATS = (
    b'{"channel":"heartbeats","timestamp":"2026-01-31T08:00:00Z","sequence_num":1,"events":[{"current_time":'
    b'"2026-01-31 08:00:00.1 +0000 UTC m=+7.1","heartbeat_counter":"7"}]}'
)


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until the condition holds; the seconds are a deadline, not a measure."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.002)


def acknowledgement(*requests: bytes | str) -> bytes:
    """What Coinbase answers when it takes all of these subscribe messages."""
    channels: dict[str, list[str]] = {}
    for request in requests:
        for channel in msgspec.json.decode(request)["channels"]:
            channels.setdefault(channel["name"], []).extend(channel["product_ids"])
    listed = [{"name": name, "product_ids": ids[::-1]} for name, ids in channels.items()]
    return msgspec.json.encode({"type": "subscriptions", "channels": listed[::-1]})


def advanced_acknowledgement(*requests: bytes | str) -> bytes:
    """What Advanced Trade answers when it takes all of these subscribe messages."""
    held: dict[str, list[str]] = {}
    for request in requests:
        message = msgspec.json.decode(request)
        channel = message["channel"]
        held.setdefault(channel, []).extend(message.get("product_ids", [channel]))
    listed = {channel: sorted(set(products), reverse=True) for channel, products in held.items()}
    return msgspec.json.encode(
        {
            "channel": "subscriptions",
            "timestamp": "2026-01-31T08:00:00Z",
            "sequence_num": 0,
            "events": [{"subscriptions": listed}],
        }
    )


def refusal(reason: str, message: str = "Failed to subscribe") -> bytes:
    return msgspec.json.encode({"type": "error", "message": message, "reason": reason})


Script: TypeAlias = "Callable[[FeedServer, ServerConnection], None]"


def hold(_server: FeedServer, connection: ServerConnection) -> None:
    """Stay until the client goes."""
    while True:
        connection.recv()


def leave(_server: FeedServer, _connection: ServerConnection) -> None:
    """Close at once."""


class FeedServer:
    """A WebSocket server whose n-th connection is served by the n-th script, and all later ones by the last."""

    def __init__(self, *scripts: Script, tls: ssl.SSLContext | None = None) -> None:
        self.connections: list[ServerConnection] = []
        self.requests: list[bytes] = []
        self.open = 0
        self._scripts = scripts
        self._lock = threading.Lock()
        self._server: Server = serve(
            self._handle, "127.0.0.1", 0, ssl=tls, max_size=None, ping_interval=None, close_timeout=1
        )
        self._server.SHUTDOWN_POLLING_INTERVAL = 0.005
        self._thread = threading.Thread(target=self._server.serve_forever, name="feed-server")
        self._thread.start()
        scheme = "ws" if tls is None else "wss"
        self.url = f"{scheme}://127.0.0.1:{self._server.socket.getsockname()[1]}"

    def subscribed(self, connection: ServerConnection) -> bytes:
        """Wait for a subscribe message and keep it; the connection's end is an end of its script."""
        request = connection.recv(timeout=10)
        data = request.encode() if isinstance(request, str) else request
        self.requests.append(data)
        return data

    def close(self) -> None:
        for connection in self.connections:
            _shut(connection.socket)
        self._server.shutdown()
        self._thread.join()

    def _handle(self, connection: ServerConnection) -> None:
        with self._lock:
            number = len(self.connections)
            self.connections.append(connection)
            self.open += 1
        try:
            self._scripts[min(number, len(self._scripts) - 1)](self, connection)
        except ConnectionClosed:
            return
        finally:
            with self._lock:
                self.open -= 1


class RawServer:
    """A TCP server that gives each connection to the script, with its number, and closes it when that returns."""

    def __init__(self, script: Callable[[socket.socket, int], None], tls: ssl.SSLContext | None = None) -> None:
        self.accepted = 0
        self._script = script
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"ws://127.0.0.1:{self.port}"
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._acceptor = threading.Thread(target=self._accept, name="raw-server")
        self._acceptor.start()

    def close(self) -> None:
        # Closing does not wake an accept on Linux; shutting down does.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        for connection in list(self._open):
            _shut(connection)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            number, self.accepted = self.accepted, self.accepted + 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, number))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            self._script(connection, number)
        except OSError:
            return
        finally:
            connection.close()


def _shut(connection: socket.socket) -> None:
    try:
        # Also of a TLS connection the socket below: its thread is to wake up, not to say goodbye.
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        return


def header(connection: socket.socket) -> bytes:
    """An HTTP header, and nothing beyond it."""
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            raise ConnectionError("the client has gone")
        received += byte
    return received


def upgrade(connection: socket.socket, followed_by: bytes = b"", extensions: str = "") -> None:
    """The server's side of a WebSocket handshake, and frames in the same breath."""
    request = header(connection)
    key = next(line for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))[19:]
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())  # noqa: S324, RFC 6455
    connection.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: "
        + accept
        + (f"\r\nSec-WebSocket-Extensions: {extensions}".encode() if extensions else b"")
        + b"\r\n\r\n"
        + followed_by
    )


def subscribed(connection: socket.socket) -> None:
    """Read the client's subscribe message, which is longer than a hundred bytes and comes before anything else."""
    received = b""
    while len(received) < 100:
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionError("the client has gone")
        received += piece


def frame(payload: bytes, opcode: int = 1, *, final: bool = True) -> bytes:
    """A WebSocket frame as a server sends it."""
    first = bytes([opcode | (0x80 if final else 0)])
    if len(payload) < 126:
        return first + bytes([len(payload)]) + payload
    if len(payload) < 65_536:
        return first + b"\x7e" + struct.pack("!H", len(payload)) + payload
    return first + b"\x7f" + struct.pack("!Q", len(payload)) + payload


def reset(connection: socket.socket) -> None:
    """End a connection with a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class Impatient(NewThreadScheduler):
    """Runs everything at once, and writes down how long it should have waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def schedule_relative(self, duetime: Any, action: ScheduledAction[Any], state: Any = None) -> DisposableBase:
        self.waits.append(self.to_seconds(duetime))
        return self.schedule(action, state)


@dataclass
class Observed:
    """What a subscription to the feed brought so far."""

    frames: list[Frame] = field(default_factory=list[Frame])
    errors: list[Exception] = field(default_factory=list[Exception])
    completed: int = 0
    subscription: DisposableBase | None = None

    @property
    def data(self) -> list[bytes]:
        return [one.data for one in self.frames]

    def complete(self) -> None:
        self.completed += 1

    def dispose(self) -> None:
        assert self.subscription is not None
        self.subscription.dispose()


def observe(source: Observable[Frame], scheduler: SchedulerBase | None = None) -> Observed:
    observed = Observed()
    observed.subscription = source.subscribe(
        observed.frames.append, observed.errors.append, observed.complete, scheduler=scheduler
    )
    return observed


def feed_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rxbridge-feed"]


def products_of(request: bytes) -> dict[str, Sequence[str]]:
    """The products of a subscribe message, by channel."""
    return {channel["name"]: channel["product_ids"] for channel in msgspec.json.decode(request)["channels"]}
