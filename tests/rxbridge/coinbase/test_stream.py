"""The feed against servers on loopback: what is asked, what is emitted, what is counted and told."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from reactivex import Observable, operators
from websockets.sync.server import ServerConnection

from rxbridge.coinbase import frames
from rxbridge.errors import ConfigError, ConnectionLost, SubscriptionRejected
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
    feed_threads,
    frame,
    hold,
    products_of,
    refusal,
    subscribed,
    upgrade,
    wait_for,
)

Watch = Callable[[Observable[Frame]], Observed]
Serve = Callable[..., FeedServer]
PRODUCTS = ("BTC-USD", "ETH-USD", "FOO-USD")
INVALID = "FOO-USD is not a valid product"


def feed(url: str, products: tuple[str, ...] = PRODUCTS, **options: Any) -> Observable[Frame]:
    settings: dict[str, Any] = {"scheduler": Impatient()} | options
    return frames(products, url=url, **settings)


def told(log: list[str], words: str) -> list[str]:
    return [line for line in log if words in line]


def test_it_connects_when_subscribed_and_not_before(feed_server: Serve, watch: Watch) -> None:
    server = feed_server(hold)
    source = feed(server.url)
    assert not feed_threads()
    first, second = watch(source), watch(source)
    wait_for(lambda: len(server.connections) == 2)
    assert len(feed_threads()) == 2
    first.dispose()
    second.dispose()
    wait_for(lambda: not server.open)


def test_it_asks_at_once_for_the_channels_and_the_heartbeat(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        connection.send(acknowledgement(server.subscribed(connection)), text=True)
        connection.recv()

    server = feed_server(serve)
    statistics = FeedStatistics()
    watch(feed(server.url, statistics=statistics))
    wait_for(lambda: told(log, "[OK]"))
    assert [msgspec.json.decode(request) for request in server.requests] == [
        {
            "type": "subscribe",
            "channels": [{"name": name, "product_ids": list(PRODUCTS)} for name in ("ticker", "matches", "heartbeat")],
        }
    ]
    ids = "BTC-USD, ETH-USD, FOO-USD"
    assert log == [
        "INFO [CONNECTED] WebSocket connection established",
        "INFO [SUBSCRIBING] Subscribing to ticker channel...",
        "INFO [SUBSCRIBING] Subscribing to matches channel...",
        "INFO [SUBSCRIBING] Subscribing to heartbeat channel...",
        f"SUCCESS [OK] Subscription confirmed: ticker ({ids}), matches ({ids}), heartbeat ({ids})",
    ]
    assert (statistics.connections, statistics.disconnections, statistics.rejected_products) == (1, 0, {})


def test_compression_is_not_negotiated(feed_server: Serve, watch: Watch) -> None:
    server = feed_server(hold)
    watch(feed(server.url))
    wait_for(lambda: server.connections)
    request = server.connections[0].request
    assert request is not None
    assert "Sec-WebSocket-Extensions" not in request.headers


def test_every_message_is_emitted_as_it_came_with_its_place(feed_server: Serve, watch: Watch) -> None:
    invalid = b'{"type":"ticker","product_id":"\xff"}'
    answers: list[bytes] = []

    def serve(server: FeedServer, connection: ServerConnection) -> None:
        request = server.subscribed(connection)
        answers.append(acknowledgement(request))
        connection.send(TICKER, text=True)  # data may come before the acknowledgement
        connection.send(answers[0], text=True)
        connection.send([b'{"type":', b'"match"', b"}"], text=True)
        connection.send(b"\x00\x01binary")
        connection.send(invalid, text=True)
        connection.send(b"", text=True)
        connection.send(b"[1,2]", text=True)
        connection.send(refusal("unasked"), text=True)
        connection.send(HEARTBEAT, text=True)
        connection.recv()

    server = feed_server(serve)
    statistics = FeedStatistics()
    observed = watch(feed(server.url, statistics=statistics))
    wait_for(lambda: HEARTBEAT in observed.data)
    assert observed.data == [
        TICKER,
        answers[0],
        b'{"type":"match"}',
        b"\x00\x01binary",
        invalid,
        b"",
        b"[1,2]",
        refusal("unasked"),
        HEARTBEAT,
    ]
    assert [one.index for one in observed.frames] == list(range(9))
    assert len({one.connection for one in observed.frames}) == 1
    times = [observed.frames[0].connection, *(one.received_at for one in observed.frames)]
    assert times == sorted(times)
    assert all(type(data) is bytes for data in observed.data)
    assert (statistics.frames, statistics.bytes) == (9, sum(map(len, observed.data)))
    assert statistics.last_frame_at == observed.frames[-1].received_at
    assert not observed.errors


def serve_like_coinbase(bad: dict[str, str]) -> Script:
    """Refuses a message with a bad product or channel for the reason given, acknowledges, and sends a ticker."""

    def serve(server: FeedServer, connection: ServerConnection) -> None:
        taken: list[bytes] = []
        while True:
            request = server.subscribed(connection)
            asked = products_of(request)
            names = {*asked, *(product for products in asked.values() for product in products)}
            wrong = sorted(names & set(bad))
            if wrong:
                connection.send(refusal(bad[wrong[0]]), text=True)
                continue
            taken.append(request)
            connection.send(acknowledgement(*taken), text=True)
            connection.send(TICKER, text=True)

    return serve


@pytest.mark.parametrize("reason", [INVALID, "something went wrong"])
def test_one_bad_product_costs_only_itself(feed_server: Serve, watch: Watch, log: list[str], reason: str) -> None:
    server = feed_server(serve_like_coinbase({"FOO-USD": reason}))
    statistics = FeedStatistics()
    observed = watch(feed(server.url, statistics=statistics))
    wait_for(lambda: told(log, "[OK]") and TICKER in observed.data)
    assert statistics.rejected_products == {"FOO-USD": reason}
    assert told(log, "[REJECTED]") == [
        line for line in log if "[REJECTED]" in line and f"'FOO-USD': '{reason}'" in line
    ]
    assert len(told(log, "[REJECTED]")) == 1
    last = told(log, "[OK]")[-1]
    assert "BTC-USD" in last
    assert "ETH-USD" in last
    assert "FOO-USD" not in last
    assert (len(server.connections), observed.errors) == (1, [])


def test_a_refused_channel_costs_only_itself(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    reason = "level2 and ticker_batch channels now require authentication"
    server = feed_server(serve_like_coinbase({"ticker_batch": reason}))
    statistics = FeedStatistics()
    watch(frames(["BTC-USD"], ["ticker", "ticker_batch"], url=server.url, statistics=statistics))
    wait_for(lambda: told(log, "[OK]"))
    assert told(log, "[REJECTED]") == [f"ERROR [REJECTED] Coinbase refuses 'ticker_batch': '{reason}'"]
    wait_for(lambda: statistics.settled)
    assert (statistics.rejected_channels, statistics.rejected_products) == ({"ticker_batch": reason}, {})
    assert set(products_of(server.requests[-1])) == {"ticker", "heartbeat"}


def test_text_of_the_server_cannot_forge_log_lines(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    reason = "FOO-USD is bad\nINFO [OK] Subscription confirmed \x1b[2J"
    server = feed_server(serve_like_coinbase({"FOO-USD": reason}))
    watch(feed(server.url))
    wait_for(lambda: told(log, "[OK]"))
    assert all(line.isprintable() for line in log)


def test_a_rejection_is_remembered_by_the_next_connection(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def and_close(server: FeedServer, connection: ServerConnection) -> None:
        request = server.subscribed(connection)
        connection.send(refusal(INVALID), text=True)
        request = server.subscribed(connection)
        connection.send(acknowledgement(request), text=True)

    server = feed_server(and_close, serve_like_coinbase({"FOO-USD": INVALID}))
    watch(feed(server.url))
    wait_for(lambda: len(told(log, "[OK]")) == 2)
    assert [list(products_of(request)["ticker"]) for request in server.requests] == [
        ["BTC-USD", "ETH-USD", "FOO-USD"],
        ["BTC-USD", "ETH-USD"],
        ["BTC-USD", "ETH-USD"],
    ]
    assert len(told(log, "[REJECTED]")) == 1


def test_a_rejection_is_forgotten_in_time(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def and_close(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        connection.send(refusal(INVALID), text=True)
        connection.send(acknowledgement(server.subscribed(connection)), text=True)

    def accept(server: FeedServer, connection: ServerConnection) -> None:
        connection.send(acknowledgement(server.subscribed(connection)), text=True)
        connection.recv()

    server = feed_server(and_close, accept)
    statistics = FeedStatistics()
    watch(feed(server.url, statistics=statistics, rejection_retry_seconds=1e-9))
    wait_for(lambda: len(told(log, "[OK]")) == 2)
    assert list(products_of(server.requests[-1])["ticker"]) == list(PRODUCTS)
    assert statistics.rejected_products == {}


def test_all_products_refused_is_the_end(feed_server: Serve, watch: Watch) -> None:
    bad = {product: f"{product} is not a valid product" for product in PRODUCTS}
    server = feed_server(serve_like_coinbase(bad))
    statistics = FeedStatistics()
    observed = watch(feed(server.url, statistics=statistics))
    wait_for(lambda: observed.errors)
    (error,) = observed.errors
    assert isinstance(error, SubscriptionRejected)
    assert error.reasons == bad == statistics.rejected_products
    wait_for(lambda: not feed_threads() and not server.open)
    assert len(server.connections) == 1


def test_all_products_refused_after_they_were_taken_may_pass(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def accept(server: FeedServer, connection: ServerConnection) -> None:
        connection.send(acknowledgement(server.subscribed(connection)), text=True)

    def refuse(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        connection.send(refusal("BTC-USD is not a valid product"), text=True)
        connection.recv()

    server = feed_server(accept, refuse, accept, hold)
    observed = watch(feed(server.url, ("BTC-USD",)))
    wait_for(lambda: len(told(log, "[OK]")) == 2)
    assert told(log, "it refuses every product now")
    assert not observed.errors


def test_what_is_not_acknowledged_is_asked_for_again_then_told(
    feed_server: Serve, watch: Watch, log: list[str]
) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        request = server.subscribed(connection)
        only = {name: ids for name, ids in products_of(request).items() if name != "matches"}
        lacking = msgspec.json.encode({"channels": [{"name": n, "product_ids": ids} for n, ids in only.items()]})
        while True:
            connection.send(acknowledgement(lacking), text=True)
            connection.send(TICKER, text=True)
            server.subscribed(connection)

    server = feed_server(serve)
    statistics = FeedStatistics()
    observed = watch(feed(server.url, ("BTC-USD",), statistics=statistics, acknowledge_seconds=1.5))
    wait_for(lambda: told(log, "[UNCONFIRMED]"))
    assert told(log, "[UNCONFIRMED]") == [
        "ERROR [UNCONFIRMED] Asked for twice and never acknowledged: matches (BTC-USD)"
    ]
    assert dict(products_of(server.requests[1])) == {"matches": ["BTC-USD"]}
    assert statistics.rejected_products == {"BTC-USD": "never acknowledged, though asked for twice: matches"}
    assert (len(server.requests), len(server.connections)) == (2, 1)
    wait_for(lambda: observed.data.count(TICKER) == 2)


def test_no_acknowledgement_at_all_stops_nothing(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        while True:
            server.subscribed(connection)
            connection.send(TICKER, text=True)

    server = feed_server(serve)
    observed = watch(feed(server.url, acknowledge_seconds=0.05))
    wait_for(lambda: told(log, "[UNCONFIRMED]"))
    wait_for(lambda: observed.data == [TICKER, TICKER])
    assert len(server.connections) == 1


def test_pings_of_the_server_are_answered(raw_server: Callable[..., RawServer], watch: Watch) -> None:
    pongs: list[bytes] = []

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection)
        subscribed(connection)
        connection.sendall(frame(b"are you there", 9) + frame(TICKER))
        pongs.append(connection.recv(65_536))
        connection.recv(1)

    watch(feed(raw_server(serve).url))
    wait_for(lambda: pongs)
    head, mask, masked = pongs[0][:2], pongs[0][2:6], pongs[0][6:]
    assert head == bytes([0x8A, 0x80 | 13])
    assert bytes(byte ^ mask[place % 4] for place, byte in enumerate(masked)) == b"are you there"


@pytest.mark.parametrize("size", [10_000_000, 60_000_000])
def test_large_messages_pass(raw_server: Callable[..., RawServer], watch: Watch, size: int) -> None:
    payload = b'{"type":"snapshot","asks":"' + b"1" * size + b'"}'

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection)
        connection.sendall(frame(payload) + frame(TICKER))
        while connection.recv(65_536):
            pass

    observed = watch(feed(raw_server(serve).url))
    wait_for(lambda: len(observed.frames) == 2, 30)
    assert observed.data == [payload, TICKER]


def test_a_subscriber_that_raises_ends_the_feed_and_is_told(feed_server: Serve) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        connection.send(TICKER, text=True)
        connection.recv()

    class FullError(Exception):
        pass

    def fail(_frame: Frame) -> None:
        raise FullError

    server = feed_server(serve)
    errors: list[Exception] = []
    source = feed(server.url)
    source.subscribe(fail, errors.append)
    source.pipe(operators.do_action(fail)).subscribe(on_error=errors.append)
    wait_for(lambda: len(errors) == 2)
    assert [type(error) for error in errors] == [FullError, FullError]
    wait_for(lambda: not feed_threads() and not server.open)
    assert len(server.connections) == 2


def test_a_subscriber_that_leaves_by_sys_exit_leaves_no_connection(feed_server: Serve) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        connection.send(TICKER, text=True)
        connection.recv()

    server = feed_server(serve)
    errors: list[Exception] = []
    feed(server.url).subscribe(lambda _: sys.exit(3), errors.append)
    wait_for(lambda: len(errors) == 1)
    assert str(errors[0]) == "SystemExit(3)"
    wait_for(lambda: not feed_threads() and not server.open)


@pytest.mark.parametrize(
    ("setting", "options"),
    [
        ("products", {"products": []}),
        ("products", {"products": ["BTC-USD", ""]}),
        ("channels", {"channels": []}),
        ("channels", {"channels": ["candles"]}),
        ("feed", {"feed": "advance"}),
        ("stall_seconds", {"stall_seconds": 0}),
        ("max_frame_bytes", {"max_frame_bytes": -1}),
        ("backoff_maximum_seconds", {"backoff_minimum_seconds": 2, "backoff_maximum_seconds": 1}),
    ],
)
def test_arguments_that_cannot_be_used_are_refused_at_once(setting: str, options: dict[str, Any]) -> None:
    settings: dict[str, Any] = {"products": ["BTC-USD"]} | options
    with pytest.raises(ConfigError) as refused:
        frames(**settings)
    assert refused.value.setting == setting


def test_one_product_may_be_given_as_text(feed_server: Serve, watch: Watch) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        server.subscribed(connection)
        hold(server, connection)

    server = feed_server(serve)
    watch(frames("BTC-USD", "ticker", url=server.url))
    wait_for(lambda: server.requests)
    assert dict(products_of(server.requests[0])) == {"ticker": ["BTC-USD"], "heartbeat": ["BTC-USD"]}


def test_without_reconnect_the_end_of_the_first_connection_is_the_error() -> None:
    errors: list[Exception] = []
    ended = threading.Event()

    def failed(error: Exception) -> None:
        errors.append(error)
        ended.set()

    frames(["BTC-USD"], url=f"ws://127.0.0.1:{free_port()}", reconnect=False).subscribe(on_error=failed)

    assert ended.wait(30)
    assert isinstance(errors[0], ConnectionLost)
