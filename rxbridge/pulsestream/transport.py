"""One HTTP connection to one host: time limits, size limits, kept connections that have died, and the key."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, cast

import requests
import urllib3

from rxbridge.errors import ConfigError, CutOff, DeliveryError, ReadTimedOut, ServerFailed, Unreachable, quoted
from rxbridge.http_deadlines import DirectSession, TimelyAdapter
from rxbridge.pulsestream.answers import HttpAnswer
from rxbridge.telemetry.redaction import HIDDEN, Redactor
from rxbridge.version import __version__

_LONGEST_IDLE_SECONDS = 4.0
"""PulseStream closes a connection after 5 s without a request; one that old may die under the next request."""

_LATEST_STALE_SECONDS = 1.0
"""A kept connection that is dead says so at once. A later reset has cut off a request that was being worked on."""

_CHUNK_BYTES = 65_536

_NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
_TIMEOUTS = (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError)
_BEFORE_SENDING = (
    # With its subclasses: refused, unresolvable, too slow.
    urllib3.exceptions.ConnectTimeoutError,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    ssl.SSLCertVerificationError,
)
"""What can only go wrong before anything of a request is sent."""


class _Request(NamedTuple):
    method: str
    url: str
    body: bytes | None
    query: Mapping[str, str] | None
    read_timeout_seconds: float


class Transport:
    """Sends one request at a time; those of other threads wait.

    Neither proxies nor credentials from the environment or `.netrc` are used: they could send the key, or the data,
    to another place than the address says. For the same reason no redirect is followed.

    Args:
        key: Sent with every request as `X-API-Key`.
        connect_timeout_seconds: How long opening a connection, or sending, may stall.
        read_timeout_seconds: How long the server may be silent, and how long an answer may take to arrive.
        ca_file: Certificates to trust instead of the usual ones.
        max_answer_bytes: A longer answer is an error.
        clock: Unix time in seconds.
        monotonic: Seconds that only rise.

    Raises:
        ConfigError: The key cannot be sent, or the certificate file is not there.
    """

    def __init__(
        self,
        key: str,
        *,
        connect_timeout_seconds: float,
        read_timeout_seconds: float,
        ca_file: str | Path | None,
        max_answer_bytes: int,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        _check_key(key)
        self._redact = Redactor([key])
        self._session = _session(key, ca_file)
        self._connect_timeout_seconds = connect_timeout_seconds
        self._read_timeout_seconds = read_timeout_seconds
        self._max_answer_bytes = max_answer_bytes
        self._clock = clock
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._idle_since: float | None = None
        self._prepared: dict[tuple[str, str], requests.PreparedRequest] = {}

    def close(self) -> None:
        """Close the connection. A further request opens a new one."""
        self._idle_since = None
        self._session.close()

    def hide(self, text: str) -> str:
        """The text without the key, in whichever way it may be written there."""
        return self._redact(text)

    def exchange(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None = None,
        query: Mapping[str, str] | None = None,
        read_timeout_seconds: float | None = None,
    ) -> HttpAnswer:
        """Send a request and read the answer, whatever its status.

        Args:
            method: The HTTP method.
            url: Where to.
            body: What to send.
            query: Goes into the address.
            read_timeout_seconds: Instead of the transport's own.

        Raises:
            Unreachable: No answer, or not all of it.
            ReadTimedOut: Not in time; the request may still be running there.
            ServerFailed: The answer is too long.
        """
        request = _Request(method, url, body, query, read_timeout_seconds or self._read_timeout_seconds)
        with self._lock:
            try:
                return self._exchange(request)
            except _NETWORK_ERRORS as error:
                problem = self._explained(request, error)
        # Raised out here, the error carries no context: those of the network hold the request, and so the key.
        raise problem

    def _exchange(self, request: _Request) -> HttpAnswer:
        idle_since, self._idle_since = self._idle_since, None
        if idle_since is not None and self._monotonic() - idle_since <= _LONGEST_IDLE_SECONDS:
            started = self._monotonic()
            try:
                return self._send(request)
            except requests.ConnectionError:
                if self._monotonic() - started > _LATEST_STALE_SECONDS:
                    raise
        self._session.close()
        return self._send(request)

    def _send(self, request: _Request) -> HttpAnswer:
        started = self._monotonic()
        with self._session.send(
            self._prepare(request),
            timeout=(self._connect_timeout_seconds, request.read_timeout_seconds),
            stream=True,
            allow_redirects=False,
        ) as response:
            content = self._read(response, request, started)
        self._idle_since = ended = self._monotonic()
        return HttpAnswer(
            url=request.url,
            status=response.status_code,
            headers=response.headers,
            body=content,
            received_at=self._clock(),
            seconds=ended - started,
        )

    def _prepare(self, request: _Request) -> requests.PreparedRequest:
        """The request as the session sends it. Making one takes longer than sending it, and only the body differs."""
        if request.body is None:
            made = requests.Request(request.method, request.url, params=request.query)
            return self._session.prepare_request(made)
        prepared = self._prepared.get((request.method, request.url))
        if prepared is None:
            made = requests.Request(request.method, request.url, data=request.body, params=request.query)
            prepared = self._prepared[request.method, request.url] = self._session.prepare_request(made)
        prepared.body = request.body
        prepared.headers["Content-Length"] = str(len(request.body))
        return prepared

    def _read(self, response: requests.Response, request: _Request, started: float) -> bytes:
        raw = cast("urllib3.HTTPResponse", response.raw)
        content = bytearray()
        # No decompression: none was asked for, and a small answer could unpack to a very large one.
        while chunk := raw.read1(_CHUNK_BYTES, decode_content=False):
            content += chunk
            if len(content) > self._max_answer_bytes:
                raise ServerFailed(response.status_code, f"its answer is longer than {self._max_answer_bytes} bytes")
            # The session's time limit starts anew with every byte that comes; this one does not.
            if self._monotonic() - started > request.read_timeout_seconds:
                raise ReadTimedOut(request.url, request.read_timeout_seconds)
        return bytes(content)

    def _explained(self, request: _Request, error: Exception) -> DeliveryError:
        if isinstance(error, _TIMEOUTS):
            return ReadTimedOut(request.url, request.read_timeout_seconds)
        if isinstance(error, requests.ConnectTimeout):
            return Unreachable(request.url, f"no connection within {self._connect_timeout_seconds:g} s")
        root = _root(error)
        kind = Unreachable if any(isinstance(link, _BEFORE_SENDING) for link in _links(error)) else CutOff
        return kind(request.url, quoted(self.hide(f"{type(root).__name__}: {root}")))


class _Secret(str):
    """A text that a traceback with the values of its variables does not show."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(HIDDEN)


def _session(key: str, ca_file: str | Path | None) -> requests.Session:
    session = DirectSession()
    if ca_file is not None:
        if not Path(ca_file).is_file():
            raise ConfigError("pulsestream.ca_file", f"there is no file {quoted(str(ca_file))}")
        session.verify = str(ca_file)
    adapter = TimelyAdapter(pool_connections=1, pool_maxsize=1, max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.headers.clear()
    session.headers.update(
        {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": f"rxbridge/{__version__}",
            "X-API-Key": _Secret(key),
        }
    )
    return session


def _check_key(key: str) -> None:
    setting, hint = "pulsestream.key", "copy it again, without the line's end"
    if not key:
        raise ConfigError(setting, "is empty", "set PULSESTREAM_API_KEY or PULSESTREAM_API_KEY_FILE")
    if not key.isprintable() or key != key.strip():
        raise ConfigError(setting, "holds control characters, or a blank at an end", hint)
    try:
        key.encode("latin-1")
    except UnicodeEncodeError:
        raise ConfigError(setting, "holds characters that no HTTP header can carry", hint) from None


def _root(error: BaseException) -> BaseException:
    """What the operating system or the TLS library said: "Connection refused", not what four layers make of it."""
    return next(
        link
        for link in _links(error)
        if not isinstance(link, (requests.RequestException, urllib3.exceptions.HTTPError))
        or (link.__cause__ or link.__context__) is None
    )


def _links(error: BaseException) -> Iterator[BaseException]:
    """An error, and what caused it, and so on."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__ or link.__context__
