"""The way to the server, up to where WebSocket begins: name, TCP, proxy, TLS. Every wait of it can be ended."""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import threading
from base64 import b64encode
from dataclasses import dataclass
from errno import EINPROGRESS
from math import inf
from time import monotonic
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from rxbridge.errors import ConfigError, quoted

_SEND_SECONDS = 5.0
_HEADER_BYTES = 65_536


class DisposedError(Exception):
    """The subscription was disposed of, so there is nothing more to do. Never leaves the adapter."""


class DeadlineExceededError(Exception):
    """The deadline of a `DeadlineSocket` came. What was read so far is not lost, and reading may go on."""


class ProxyRefusedError(Exception):
    """The proxy answered something else than that the way is open."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to connect to; `tls` is None for `ws://`."""

    url: str
    host: str
    port: int
    tls: ssl.SSLContext | None

    @classmethod
    def of(cls, url: str, ca_file: str | None = None) -> Endpoint:
        """Check an address and load the certificates.

        Args:
            url: `wss://host[:port]/path`, or `ws://` for a server of one's own.
            ca_file: A file of further trusted certificates, PEM, beside those of the system.

        Raises:
            ConfigError: The address or the file cannot be used.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
            host.encode("idna")
        except ValueError as error:
            raise ConfigError("url", f"{quoted(url)} is no address: {error}") from error
        if parts.scheme not in ("ws", "wss") or not host:
            raise ConfigError("url", f"{quoted(url)} is no WebSocket address", "It reads wss://host/path")
        if parts.username is not None or parts.password is not None:
            raise ConfigError("url", "it holds a user name or a password", "The feed needs none")
        if parts.scheme == "ws":
            return cls(url, host, port or 80, None)
        try:
            context = ssl.create_default_context()
            if ca_file is not None:
                context.load_verify_locations(ca_file)
        except OSError as error:  # an SSLError is one too
            raise ConfigError("ca_file", f"{quoted(str(ca_file))} cannot be loaded: {error}") from error
        return cls(url, host, port or 443, context)


class Lifeline:
    """Holds the one socket of a connection, so that any thread can end whatever wait the owning thread is in.

    The owner alone reads, writes and closes: a TLS object must not be used from two threads. All that `dispose` does
    to the socket is to shut its reading side, which wakes the owner from connecting, shaking hands and receiving.
    Only a running name lookup cannot be woken; the owner then ends when the resolver returns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.disposed: bool = False

    def hold(self, connection: socket.socket) -> None:
        """Hold this socket from now on, in place of the one before.

        Raises:
            DisposedError: Too late; close it.
        """
        with self._lock:
            self._socket = connection
        self.check()

    def check(self) -> None:
        """For the owner: raise `DisposedError` if there was a `dispose`."""
        if self.disposed:
            raise DisposedError

    def dispose(self) -> None:
        """End the wait of the owner. From any thread, at any time, any number of times."""
        with self._lock:
            self.disposed = True
            if self._socket is not None:
                try:
                    # Not SSLSocket.shutdown, which would take the TLS state away below the owner's feet.
                    socket.socket.shutdown(self._socket, socket.SHUT_RD)
                except OSError:
                    # Not connected any more, or not yet: then the owner is in no wait that lasts.
                    return

    def close(self) -> None:
        """Close the socket that is held, if any. For the owner."""
        with self._lock:
            if self._socket is not None:
                self._socket.close()
                self._socket = None


class DeadlineSocket:
    """The part of a socket that websocket-client uses; reads end at a deadline, however much trickles in before.

    Attributes:
        deadline: On the clock of `time.monotonic`.
        received: Bytes read so far.
        limit: How many bytes may be read at all.
    """

    def __init__(self, connection: socket.socket, lifeline: Lifeline, deadline: float, limit: float = inf) -> None:
        self.deadline = deadline
        self.received: int = 0
        self.limit = limit
        self._connection = connection
        self._lifeline = lifeline

    def recv(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end of the stream.

        Raises:
            DisposedError: The lifeline was disposed of. A flood of data would hide that its reading side is shut.
            DeadlineExceededError: There were none until the deadline.
            OSError: The connection broke, or sent more than the limit.
        """
        self._lifeline.check()
        left = self.deadline - monotonic()
        if left <= 0:
            raise DeadlineExceededError
        self._connection.settimeout(left)
        try:
            data = self._connection.recv(size)
        except TimeoutError as error:
            if error.errno is not None:  # the kernel's: the peer has not confirmed what we sent
                raise
            raise DeadlineExceededError from None
        self.received += len(data)
        if self.received > self.limit:
            raise OSError(f"the answer is longer than {self.limit:g} bytes")
        return data

    def send(self, data: bytes) -> int:
        """As much of `data` as fits, waiting some seconds at most; what we send is small."""
        self._connection.settimeout(_SEND_SECONDS)
        return self._connection.send(data)

    def gettimeout(self) -> float:
        """websocket-client asks whether the socket is blocking, which it is."""
        return _SEND_SECONDS

    def fileno(self) -> int:
        """The descriptor, to wait for room to send."""
        return self._connection.fileno()

    def close(self) -> None:
        """websocket-client closes after a failed handshake; closing twice does no harm."""
        self._connection.close()


def open_transport(endpoint: Endpoint, lifeline: Lifeline, deadline: float) -> DeadlineSocket:
    """Resolve, connect (through the proxy of the environment, if it names one) and secure a connection.

    Raises:
        DisposedError: The lifeline was disposed of.
        OSError: Any step failed; `ssl.SSLError`, `socket.gaierror` and `TimeoutError` are among its kinds.
        ProxyRefusedError: The proxy would not let us through.
        DeadlineExceededError: The proxy did not answer until the deadline.
    """
    proxy = _proxy(endpoint)
    if proxy is None:
        connection = _connect(endpoint.host, endpoint.port, lifeline, deadline)
    else:
        connection = _connect(proxy.hostname or "", proxy.port or 80, lifeline, deadline)
        _pass_proxy(DeadlineSocket(connection, lifeline, deadline, _HEADER_BYTES), endpoint, proxy)
    if endpoint.tls is not None:
        secured = endpoint.tls.wrap_socket(connection, server_hostname=endpoint.host, do_handshake_on_connect=False)
        lifeline.hold(secured)
        secured.settimeout(_left(deadline))
        secured.do_handshake()
        connection = secured
    return DeadlineSocket(connection, lifeline, deadline, _HEADER_BYTES)


def _connect(host: str, port: int, lifeline: Lifeline, deadline: float) -> socket.socket:
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    failure: OSError = OSError(f"the name {host} has no address")
    for tried, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = socket.socket(family, kind, protocol)
        lifeline.hold(connection)
        try:
            # A share of the time for each address, so that one that swallows everything leaves some for the next.
            _connect_to(connection, address, lifeline, _left(deadline) / (len(addresses) - tried))
        except OSError as error:
            lifeline.close()
            failure = error
        else:
            return connection
    raise failure


def _connect_to(connection: socket.socket, address: Any, lifeline: Lifeline, seconds: float) -> None:
    # In two steps, because a socket can be woken only once it is connecting: whoever disposes before that is seen
    # in between, and whoever does after it wakes the selector.
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.settimeout(0.0)
    code = connection.connect_ex(address)
    if code == EINPROGRESS:
        lifeline.check()
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_WRITE)
            if not selector.select(seconds):
                raise TimeoutError("no answer in time")
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if code:
        raise OSError(code, os.strerror(code))


def _left(deadline: float) -> float:
    return max(deadline - monotonic(), 0.001)


def _proxy(endpoint: Endpoint) -> SplitResult | None:
    """The proxy that HTTPS_PROXY (HTTP_PROXY for `ws://`) and NO_PROXY name for this host, as `requests` takes it."""
    if proxy_bypass(endpoint.host):
        return None
    address = getproxies().get("http" if endpoint.tls is None else "https")
    return urlsplit(address if "://" in address else "http://" + address) if address else None


def _pass_proxy(connection: DeadlineSocket, endpoint: Endpoint, proxy: SplitResult) -> None:
    """Ask an HTTP proxy for a tunnel (CONNECT, RFC 9110, section 9.3.6)."""
    if proxy.scheme != "http":
        raise ProxyRefusedError(f"a proxy of the kind {quoted(proxy.scheme)} is not supported, only http")
    target = f"[{endpoint.host}]:{endpoint.port}" if ":" in endpoint.host else f"{endpoint.host}:{endpoint.port}"
    request = f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n"
    if proxy.username is not None:
        login = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
        request += f"Proxy-Authorization: Basic {b64encode(login.encode()).decode()}\r\n"
    connection.send(f"{request}\r\n".encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        # One byte at a time: what follows the header belongs to the server behind the proxy.
        byte = connection.recv(1)
        if not byte:
            raise ProxyRefusedError(f"it closed the connection after {quoted(answer)}")
        answer += byte
    status = answer.split(b"\r\n", 1)[0]
    if not status.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
        raise ProxyRefusedError(f"it answered {quoted(status)}")
