"""Coinbase's Exchange REST API, as far as it is needed, for trades and products: one request, one answer, typed.

https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products/get-product-trades. Nothing here waits and
tries again: each failure is an error that says whether that makes sense, and when.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Annotated, Any, cast
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

import msgspec
import requests
import urllib3

from rxbridge.coinbase import catalogue
from rxbridge.errors import ConfigError, RestFailed, RestRefused, quoted
from rxbridge.events.cleaning import whole
from rxbridge.http_deadlines import DirectSession, TimelyAdapter
from rxbridge.version import __version__

MOST_TRADES = 1000
"""The most trades that one request brings, whatever its `limit`."""

_LONGEST_RETRY_AFTER_SECONDS = 300.0
"""Coinbase's limits are by the second; who asks for more than this does not mean it."""

_CHUNK_BYTES = 65_536
_NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
_TIMEOUTS = (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError)
_FINAL = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
"""What says something of the request itself. Anything else, such as 403 from a gateway, may be over later."""


class RestTrade(msgspec.Struct, frozen=True, gc=False):
    """A trade as REST lists it: poorer than on the feed by the order ids and the sequence. `side` is the maker's."""

    trade_id: int
    price: str | int | float
    size: str | int | float
    side: str | None = None
    time: str | None = None


class _Record(msgspec.Struct, gc=False):
    trade_id: int | str
    price: str | int | float
    size: str | int | float
    side: str | None = None
    time: str | None = None


class _Error(msgspec.Struct, gc=False):
    message: str | None = None


_ERROR = msgspec.json.Decoder(_Error)
_PAGE = msgspec.json.Decoder(Annotated[list[msgspec.Raw], msgspec.Meta(max_length=4 * MOST_TRADES)])
_RECORD = msgspec.json.Decoder(_Record)


class RestClient:
    """Asks for trades and products, one request at a time.

    TLS is verified. Proxies are taken from HTTPS_PROXY and NO_PROXY, as for the feed; nothing else of the environment
    is used, and no redirect is followed.

    Args:
        url: The API's address, without a path.
        connect_timeout_seconds: How long opening a connection, or sending, may stall.
        read_timeout_seconds: How long the server may be silent, and how long an answer may take to arrive.
        ca_file: A file of further trusted certificates (PEM), beside those of the system.
        max_answer_bytes: A longer answer about trades is an error; a thousand of them take about 150,000.
        clock: Unix time in seconds.

    Raises:
        ConfigError: The address or the file cannot be used.
    """

    def __init__(
        self,
        url: str = "https://api.exchange.coinbase.com",
        *,
        connect_timeout_seconds: float = 5.0,
        read_timeout_seconds: float = 10.0,
        ca_file: str | None = None,
        max_answer_bytes: int = 2**20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url: str = url.rstrip("/")
        self.timeout_seconds: float = connect_timeout_seconds + 2 * read_timeout_seconds
        self._host = _host(url)
        self._timeouts = (connect_timeout_seconds, read_timeout_seconds)
        self._max_answer_bytes = max_answer_bytes
        self._clock = clock
        self._session = _session(_context(ca_file) if url.startswith("https:") else None)

    def close(self) -> None:
        """Close the connection. A further request opens a new one."""
        self._session.close()

    def trades(self, product: str, *, after: int | None = None, limit: int = MOST_TRADES) -> list[RestTrade]:
        """The newest `limit` trades of a product with an id below `after`, oldest first.

        Since ids rise by one, `after = first + limit` gives those from `first` on, and so a way upwards. A record that
        is none, because its id, price or size is not there or of an odd kind, is left out.

        Args:
            product: Its id.
            after: Only trades older than the one with this id; None for the newest there are.
            limit: How many at most, up to 1000.

        Raises:
            RestFailed: No answer, or none that can be used.
            RestRefused: Coinbase does not know the product, or the address.
        """
        query = {"limit": str(limit)} | ({} if after is None else {"after": str(after)})
        url = f"{self.url}/products/{quote(product, safe='')}/trades"
        return _trades(url, self._get(url, query, self._max_answer_bytes))

    def products(self) -> dict[str, catalogue.Product]:
        """All products that Coinbase lists, delisted ones included, by id.

        Raises:
            RestFailed: No answer, or none that can be used.
            RestRefused: There is no such list at this address.
        """
        url = f"{self.url}/products"
        return catalogue.parse(url, self._get(url, {}, catalogue.MOST_BYTES))

    def _get(self, url: str, query: Mapping[str, str], max_bytes: int) -> bytes:
        try:
            with self._session.get(
                url,
                params=query,
                timeout=self._timeouts,
                stream=True,
                allow_redirects=False,
                proxies=_proxies(self._host),
            ) as response:
                body = self._read(response, url, max_bytes)
        except _NETWORK_ERRORS as error:
            self._session.close()
            late = f"it has not arrived within {self._timeouts[1]:g} s" if isinstance(error, _TIMEOUTS) else None
            raise RestFailed(url, late or _words(error)) from error
        if response.status_code == HTTPStatus.OK:
            return body
        if response.status_code in _FINAL:
            raise RestRefused(url, response.status_code, _detail(body))
        retry_after = _retry_after(response.headers, self._clock())
        raise RestFailed(url, quoted(_detail(body)), status=response.status_code, retry_after=retry_after)

    def _read(self, response: requests.Response, url: str, max_bytes: int) -> bytes:
        raw = cast("urllib3.HTTPResponse", response.raw)
        content = bytearray()
        # No decompression: none was asked for, and a small answer could unpack to a very large one.
        while chunk := raw.read1(_CHUNK_BYTES, decode_content=False):
            content += chunk
            if len(content) > max_bytes:
                problem = f"it is longer than {max_bytes} bytes"
                self._session.close()
                raise RestFailed(url, problem, status=response.status_code)
        return bytes(content)


class _Adapter(TimelyAdapter):
    """Brings a TLS context of our own to direct connections and to those by way of a proxy."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self._context = context
        super().__init__(pool_connections=1, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:
        """As `TimelyAdapter` does."""
        super().init_poolmanager(*args, ssl_context=self._context, **settings)

    def proxy_manager_for(self, proxy: str, **settings: Any) -> Any:
        """As `TimelyAdapter` does."""
        return super().proxy_manager_for(proxy, ssl_context=self._context, **settings)


def _session(context: ssl.SSLContext | None) -> requests.Session:
    session = DirectSession()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(context))
    session.headers.clear()
    session.headers.update(
        {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            # Coinbase refuses requests without one.
            "User-Agent": f"rxbridge/{__version__}",
        }
    )
    return session


def _context(ca_file: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context()
        if ca_file is not None:
            context.load_verify_locations(ca_file)
    except OSError as error:  # an SSLError is one too
        raise ConfigError("ca_file", f"{quoted(str(ca_file))} cannot be loaded: {error}") from error
    return context


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError as error:
        raise ConfigError("backfill.url", f"{quoted(url)} is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ConfigError("backfill.url", f"{quoted(url)} is no address of a REST API", "It reads https://host")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("backfill.url", "it holds a user name or a password", "The API needs none")
    return host


def _proxies(host: str) -> dict[str, str]:
    """What HTTPS_PROXY, HTTP_PROXY and NO_PROXY say for this host, as for the feed."""
    return {} if proxy_bypass(host) else {name: url for name, url in getproxies().items() if name in ("http", "https")}


def _trades(url: str, body: bytes) -> list[RestTrade]:
    try:
        records = _PAGE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RestFailed(url, f"no list of trades ({error}): {quoted(body, 80)}", status=HTTPStatus.OK) from error
    trades: dict[int, RestTrade] = {}
    for record in records:
        trade = _trade(record)
        if trade is not None:
            trades[trade.trade_id] = trade
    return [trades[trade_id] for trade_id in sorted(trades)]


def _trade(raw: msgspec.Raw) -> RestTrade | None:
    try:
        record = _RECORD.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # The trade is then missing in the answer, and what is missing is noticed by its id.
        return None
    trade_id = whole(record.trade_id, minimum=1)
    if trade_id is None:
        return None
    return RestTrade(trade_id, record.price, record.size, record.side, record.time)


def _detail(body: bytes) -> str:
    """What an answer says went wrong: `{"message": ...}` where it is Coinbase's own."""
    try:
        message = _ERROR.decode(body).message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        message = None
    return message if message is not None else body[:200].decode("utf-8", "backslashreplace")


def _retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds that a `Retry-After` asks for, in either form (RFC 9110, section 10.2.3); None without a usable one.

    A date is compared with the server's own `Date`, so that a wrong clock on either side does no harm.
    """
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:10])
    else:
        until = _moment(text)
        if until is None:
            return None
        sent = _moment(headers.get("Date", ""))
        seconds = until - (now if sent is None else sent)
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER_SECONDS)


def _moment(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _words(error: BaseException) -> str:
    """What the operating system or the TLS library said, rather than what four layers make of it."""
    while isinstance(error, (requests.RequestException, urllib3.exceptions.HTTPError)):
        cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    return quoted(f"{type(error).__name__}: {error}")
