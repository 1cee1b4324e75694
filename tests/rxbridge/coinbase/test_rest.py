"""The REST client, over sockets, against servers that do everything wrong."""

from __future__ import annotations

import json
import socket
import tracemalloc
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxbridge.coinbase import rest
from rxbridge.coinbase.rest import RestClient, RestTrade
from rxbridge.errors import ConfigError, FeedError, RestFailed, RestRefused
from rxbridge.simulator import Simulator
from tests.ports import free_port
from tests.rxbridge.coinbase.conftest import Certificate
from tests.rxbridge.coinbase.servers import RawServer, header, reset

NOW = 1_764_000_000.0
TRADE: dict[str, Any] = {
    "trade_id": 7,
    "side": "sell",
    "size": "0.01000000",
    "price": "100.50000000",
    "time": "2026-11-25T04:00:00.5Z",
}
RawServers: TypeAlias = Callable[..., RawServer]


def answered(status: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def page(*trades: object) -> bytes:
    return answered("200 OK", json.dumps(trades).encode())


def replying(*answers: bytes) -> Callable[[socket.socket, int], None]:
    """One answer a request, over all connections; the last one for all that follow."""
    left = list(answers)

    def serve(connection: socket.socket, _: int) -> None:
        while True:
            header(connection)
            connection.sendall(left.pop(0) if len(left) > 1 else left[0])

    return serve


def client(server: RawServer, **settings: Any) -> RestClient:
    settings.setdefault("read_timeout_seconds", 5.0)
    return RestClient(f"http://127.0.0.1:{server.port}", clock=lambda: NOW, **settings)


def failure(raw_server: RawServers, answer: bytes, **settings: Any) -> RestFailed:
    with pytest.raises(RestFailed) as caught:
        client(raw_server(replying(answer)), **settings).trades("BTC-USD")
    assert caught.value.retryable
    return caught.value


def test_it_asks_as_the_documentation_says(raw_server: RawServers) -> None:
    requests: list[bytes] = []

    def serve(connection: socket.socket, _: int) -> None:
        while True:
            requests.append(header(connection))
            connection.sendall(page(TRADE))

    server = raw_server(serve)
    asked = client(server)
    asked.trades("BTC-USD")
    asked.trades("a/b c", after=8, limit=3)

    assert requests[0].startswith(b"GET /products/BTC-USD/trades?limit=1000 HTTP/1.1\r\n")
    assert requests[1].startswith(b"GET /products/a%2Fb%20c/trades?limit=3&after=8 HTTP/1.1\r\n")
    assert b"\r\nUser-Agent: rxbridge/" in requests[0]
    assert b"\r\nAccept-Encoding: identity\r\n" in requests[0]
    assert server.accepted == 1, "the connection was not kept"


def test_trades_come_oldest_first_and_once(raw_server: RawServers) -> None:
    ids = [9, 8, 8, 7]
    trades = client(raw_server(replying(page(*(TRADE | {"trade_id": one} for one in ids))))).trades("BTC-USD")

    assert trades[0] == RestTrade(7, "100.50000000", "0.01000000", "sell", "2026-11-25T04:00:00.5Z")
    assert [trade.trade_id for trade in trades] == [7, 8, 9]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trade_id": "7"}, RestTrade(7, "100.50000000", "0.01000000", "sell", "2026-11-25T04:00:00.5Z")),
        ({"price": 100.5, "size": 1}, RestTrade(7, 100.5, 1, "sell", "2026-11-25T04:00:00.5Z")),
        ({"side": None, "time": None}, RestTrade(7, "100.50000000", "0.01000000")),
        ({"unknown": [1, {}]}, RestTrade(7, "100.50000000", "0.01000000", "sell", "2026-11-25T04:00:00.5Z")),
    ],
    ids=["an id as text", "numbers as numbers", "nulls that do not matter", "a field more"],
)
def test_odd_records_that_are_trades(raw_server: RawServers, changes: dict[str, Any], expected: RestTrade) -> None:
    assert client(raw_server(replying(page(TRADE | changes)))).trades("BTC-USD") == [expected]


@pytest.mark.parametrize(
    "record",
    [
        TRADE | {"trade_id": None},
        TRADE | {"trade_id": 7.5},
        TRADE | {"trade_id": -1},
        TRADE | {"trade_id": 0},
        TRADE | {"trade_id": 2**70},
        TRADE | {"trade_id": "seven"},
        TRADE | {"trade_id": "9" * 5000},
        TRADE | {"price": None},
        TRADE | {"price": {"amount": 1}},
        TRADE | {"size": [1]},
        TRADE | {"side": 1},
        {key: value for key, value in TRADE.items() if key != "price"},
        {},
        [],
        None,
        "trade",
        17,
    ],
    ids=repr,
)
def test_a_record_that_is_no_trade_is_as_good_as_absent(raw_server: RawServers, record: object) -> None:
    good = TRADE | {"trade_id": 6}

    trades = client(raw_server(replying(page(record, good)))).trades("BTC-USD")
    assert [trade.trade_id for trade in trades] == [6]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>Down for maintenance</body></html>",
        b'{"trades":[]}',
        b'"text"',
        b"null",
        b'[{"trade_id":7,"price":"1"',
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b"[NaN]",
    ],
    ids=["nothing", "html", "object", "text", "null", "cut", "deep", "no UTF-8", "NaN"],
)
def test_an_answer_out_of_shape_is_a_failed_try(raw_server: RawServers, body: bytes) -> None:
    error = failure(raw_server, answered("200 OK", body))

    assert error.status == 200
    assert "no list of trades" in str(error)
    assert len(str(error)) < 600


@pytest.mark.parametrize(
    "status", ["500 Internal Server Error", "503 Unavailable", "403 Forbidden", "401 Unauthorized"]
)
def test_other_statuses_may_be_over_later(raw_server: RawServers, status: str) -> None:
    error = failure(raw_server, answered(status, b'{"message":"not \\u001b[31mnow"}'))

    assert error.status == int(status[:3])
    assert error.retry_after is None
    assert "not \\x1b[31mnow" in str(error)


@pytest.mark.parametrize("status", ["400 Bad Request", "404 Not Found"])
def test_a_refusal_is_final(raw_server: RawServers, status: str) -> None:
    with pytest.raises(RestRefused, match="NotFound") as caught:
        client(raw_server(replying(answered(status, b'{"message":"NotFound"}')))).trades("NO-SUCH")

    assert not caught.value.retryable
    assert isinstance(caught.value, FeedError)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["Retry-After: 7"], 7.0),
        ([f"Retry-After: {formatdate(NOW + 9, usegmt=True)}"], 9.0),
        # The server's clock is an hour off: what counts is the difference on that clock.
        (
            [f"Retry-After: {formatdate(NOW + 3611, usegmt=True)}", f"Date: {formatdate(NOW + 3600, usegmt=True)}"],
            11.0,
        ),
        ([f"Retry-After: {formatdate(NOW - 60, usegmt=True)}"], 0.0),
        (["Retry-After: 99999999999999999999999"], 300.0),
        (["Retry-After: soon"], None),
        (["Retry-After: -1"], None),
        ([], None),
    ],
    ids=["seconds", "date", "other clock", "past", "for ever", "words", "negative", "none"],
)
def test_too_many_requests_says_when_to_come_back(
    raw_server: RawServers, headers: list[str], seconds: float | None
) -> None:
    error = failure(raw_server, answered("429 Too Many Requests", b'{"message":"slow down"}', *headers))

    assert (error.status, error.retry_after) == (429, seconds)


def test_a_redirect_is_not_followed(raw_server: RawServers) -> None:
    elsewhere = raw_server(replying(page(TRADE)))
    error = failure(raw_server, answered("302 Found", b"", f"Location: http://127.0.0.1:{elsewhere.port}/"))

    assert error.status == 302
    assert elsewhere.accepted == 0


def test_the_body_of_a_redirect_has_a_longest_length_too(raw_server: RawServers) -> None:
    """Of a redirect that is not followed, the library would read it all, and unpack it, before anybody looks."""
    location, packed = "Location: http://127.0.0.1/", "Content-Encoding: gzip"
    answer = answered("302 Found", b"x" * 5001, location, packed)

    assert "longer than 5000 bytes" in str(failure(raw_server, answer, max_answer_bytes=5000))


def test_more_records_than_any_page_has(raw_server: RawServers) -> None:
    error = failure(raw_server, answered("200 OK", b"[" + b"1," * 4000 + b"1]"))

    assert "no list of trades" in str(error)
    assert len(str(error)) < 600


def test_a_refusal_that_is_a_flood(raw_server: RawServers) -> None:
    """What is of no interest in it is passed over, not taken apart."""
    told = b'{"x":[' + b"[]," * 200_000 + b'[]],"message":"slow down"}'
    tracemalloc.start()
    assert "slow down" in str(failure(raw_server, answered("503 Unavailable", told)))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert most < 10 * len(told)


def test_an_answer_that_is_too_long(raw_server: RawServers) -> None:
    error = failure(raw_server, page(*[TRADE] * 100), max_answer_bytes=5000)

    assert "longer than 5000 bytes" in str(error)


def test_an_answer_without_an_end(raw_server: RawServers) -> None:
    def serve(connection: socket.socket, _: int) -> None:
        header(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n[")
        while True:
            connection.sendall(b" " * 65_536)

    with pytest.raises(RestFailed, match="longer than"):
        client(raw_server(serve)).trades("BTC-USD")


def test_an_answer_that_trickles(raw_server: RawServers) -> None:
    def serve(connection: socket.socket, _: int) -> None:
        header(connection)
        connection.sendall(answered("200 OK", b"[", length=1000))
        connection.settimeout(0.02)
        while True:
            connection.sendall(b" ")
            try:
                connection.recv(1)
            except TimeoutError:
                continue
            return

    with pytest.raises(RestFailed, match="not arrived within"):
        client(raw_server(serve), read_timeout_seconds=0.2).trades("BTC-USD")


def test_no_answer_at_all(raw_server: RawServers) -> None:
    def serve(connection: socket.socket, _: int) -> None:
        header(connection)
        connection.recv(1)

    with pytest.raises(RestFailed, match="not arrived within"):
        client(raw_server(serve), read_timeout_seconds=0.1).trades("BTC-USD")


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n[", b"no HTTP\r\n\r\n"])
def test_a_connection_that_breaks(raw_server: RawServers, sent: bytes) -> None:
    def serve(connection: socket.socket, _: int) -> None:
        header(connection)
        connection.sendall(sent)
        reset(connection)

    with pytest.raises(RestFailed):
        client(raw_server(serve)).trades("BTC-USD")


def test_nobody_listens() -> None:
    with pytest.raises(RestFailed, match="refused"):
        RestClient(f"http://127.0.0.1:{free_port()}").trades("BTC-USD")


def test_after_a_failure_it_works_again(raw_server: RawServers) -> None:
    def serve(connection: socket.socket, number: int) -> None:
        header(connection)
        if number == 0:
            reset(connection)
        else:
            connection.sendall(page(TRADE))

    one = client(raw_server(serve))
    with pytest.raises(RestFailed):
        one.trades("BTC-USD")

    assert [trade.trade_id for trade in one.trades("BTC-USD")] == [7]


def test_tls_is_verified(raw_server: RawServers, certificate: Callable[[str], Certificate]) -> None:
    trusted = certificate("IP:127.0.0.1")
    server = raw_server(replying(page(TRADE)), tls=trusted.context)
    url = f"https://127.0.0.1:{server.port}"

    with pytest.raises(RestFailed, match=r"(?i)certificate"):
        RestClient(url).trades("BTC-USD")
    assert len(RestClient(url, ca_file=trusted.file).trades("BTC-USD")) == 1


def test_a_certificate_for_another_name(raw_server: RawServers, certificate: Callable[[str], Certificate]) -> None:
    other = certificate("DNS:other.example")
    server = raw_server(replying(page(TRADE)), tls=other.context)

    with pytest.raises(RestFailed, match=r"(?i)certificate|mismatch"):
        RestClient(f"https://127.0.0.1:{server.port}", ca_file=other.file).trades("BTC-USD")


def test_the_proxy_of_the_environment(raw_server: RawServers, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = raw_server(replying(page(TRADE)))
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
    assert len(RestClient("http://coinbase.invalid").trades("BTC-USD")) == 1

    monkeypatch.setenv("NO_PROXY", "coinbase.invalid")
    with pytest.raises(RestFailed):
        RestClient("http://coinbase.invalid").trades("BTC-USD")


@pytest.mark.parametrize("url", ["", "ws://127.0.0.1", "https://", "http://me:secret@127.0.0.1", "http://[1"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError):
        RestClient(url)


def test_certificates_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be loaded"):
        RestClient("https://127.0.0.1", ca_file=str(tmp_path / "none.pem"))


@given(
    st.binary(max_size=300)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*TRADE, "x"]), inner, max_size=6),
    ).map(lambda value: json.dumps(value).encode())
)
def test_no_answer_crashes_it(body: bytes) -> None:
    ids: list[int] = []
    words = ""
    try:
        ids = [trade.trade_id for trade in rest._trades("http://127.0.0.1", body)]
    except RestFailed as error:
        words = str(error)

    assert words.isprintable()
    assert ids == sorted(set(ids))
    assert all(0 < one < 2**63 for one in ids)


def test_every_page_of_a_real_market_is_its_next_trades(wait_for: Callable[..., None]) -> None:
    with Simulator(rate=5000, products=("BTC-USD",), max_trades=2500) as simulator:
        wait_for(lambda: len(simulator.trades("BTC-USD")) == 2501)
        asked = RestClient(simulator.rest_url)
        ids = simulator.trades("BTC-USD")
        found: list[int] = []
        for first in ids[::1000]:
            found += [one.trade_id for one in asked.trades("BTC-USD", after=first + 1000) if one.trade_id >= first]

        assert found == list(ids)
