"""The feed of Advanced Trade against servers on loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from reactivex import Observable
from websockets.sync.server import ServerConnection

from rxbridge.channels import FEED_URLS
from rxbridge.coinbase import frames
from rxbridge.errors import SubscriptionRejected
from rxbridge.messages import Frame
from rxbridge.telemetry.statistics import FeedStatistics
from tests.rxbridge.coinbase.servers import (
    HEARTBEATS,
    MARKET_TRADES,
    FeedServer,
    Impatient,
    Observed,
    RawServer,
    Script,
    advanced_acknowledgement,
    feed_threads,
    frame,
    hold,
    upgrade,
    wait_for,
)

Watch = Callable[[Observable[Frame]], Observed]
Serve = Callable[..., FeedServer]
PRODUCTS = ("BTC-USD", "ETH-USD")
ERROR = b'{"type":"error","message":"authentication failure"}'


def feed(url: str, channels: tuple[str, ...] = ("ticker", "matches"), **options: Any) -> Observable[Frame]:
    settings: dict[str, Any] = {"scheduler": Impatient(), "feed": "advanced"} | options
    return frames(PRODUCTS, channels, url=url, **settings)


def told(log: list[str], words: str) -> list[str]:
    return [line for line in log if words in line]


def snapshot(channel: str) -> bytes:
    """What comes before the acknowledgement of a channel."""
    return msgspec.json.encode({"channel": channel, "timestamp": "", "sequence_num": 0, "events": []})


def serve_like_advanced_trade(bad_channels: tuple[str, ...] = (), alias: str = "") -> Script:
    """One channel a message: first its snapshot, then all that is held; products quoted in `alias` as in USD."""

    def serve(server: FeedServer, connection: ServerConnection) -> None:
        taken: list[bytes] = []
        while True:
            request = server.subscribed(connection)
            channel = msgspec.json.decode(request)["channel"]
            if channel in bad_channels:
                connection.send(ERROR, text=True)
                continue
            taken.append(request.replace(alias.encode(), b"-USD") if alias else request)
            connection.send(snapshot(channel), text=True)
            connection.send(advanced_acknowledgement(*taken), text=True)

    return serve


def test_it_asks_channel_by_channel_and_emits_everything(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    server = feed_server(serve_like_advanced_trade())
    statistics = FeedStatistics()
    observed = watch(feed(server.url, statistics=statistics))
    wait_for(lambda: told(log, "[OK]"))
    assert [msgspec.json.decode(request) for request in server.requests] == [
        {"type": "subscribe", "channel": "heartbeats"},
        {"type": "subscribe", "product_ids": list(PRODUCTS), "channel": "ticker"},
        {"type": "subscribe", "product_ids": list(PRODUCTS), "channel": "market_trades"},
    ]
    names = ("heartbeats", "ticker", "market_trades")
    acknowledgements = [advanced_acknowledgement(*server.requests[:count]) for count in (1, 2, 3)]
    snapshots = [snapshot(name) for name in names]
    assert observed.data == [one for both in zip(snapshots, acknowledgements, strict=True) for one in both]
    ids = ", ".join(PRODUCTS)
    assert log == [
        "INFO [CONNECTED] WebSocket connection established",
        *(f"INFO [SUBSCRIBING] Subscribing to {name} channel..." for name in names),
        f"SUCCESS [OK] Subscription confirmed: ticker ({ids}), market_trades ({ids}), heartbeats",
    ]
    assert (statistics.connections, statistics.rejected_products) == (1, {})


def test_a_refused_channel_costs_only_itself(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    server = feed_server(serve_like_advanced_trade(("ticker",)))
    statistics = FeedStatistics()
    observed = watch(feed(server.url, statistics=statistics))
    wait_for(lambda: told(log, "[OK]"))
    assert told(log, "[REJECTED]") == ["ERROR [REJECTED] Coinbase refuses 'ticker': 'authentication failure'"]
    assert statistics.rejected_products == {}
    assert (ERROR in observed.data, observed.errors, len(server.connections)) == (True, [], 1)


def test_every_channel_refused_is_the_end(feed_server: Serve, watch: Watch) -> None:
    server = feed_server(serve_like_advanced_trade(("ticker", "market_trades")))
    observed = watch(feed(server.url))
    wait_for(lambda: observed.errors)
    (error,) = observed.errors
    assert isinstance(error, SubscriptionRejected)
    assert error.reasons == dict.fromkeys(PRODUCTS, "authentication failure")
    wait_for(lambda: not feed_threads() and not server.open)


def test_what_is_served_in_dollars_is_confirmed_as_it_was_asked_for(
    feed_server: Serve, watch: Watch, log: list[str]
) -> None:
    server = feed_server(serve_like_advanced_trade(alias="-USDC"))
    statistics = FeedStatistics()
    watch(frames(["BTC-USDC"], "candles", feed="advanced", url=server.url, statistics=statistics))
    wait_for(lambda: told(log, "[OK]"))
    assert msgspec.json.decode(server.requests[1])["product_ids"] == ["BTC-USDC"]
    assert told(log, "[OK]") == ["SUCCESS [OK] Subscription confirmed: candles (BTC-USDC), heartbeats"]
    assert statistics.rejected_products == {}


def test_what_is_never_acknowledged_holds_nothing_up(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        while True:
            request = server.subscribed(connection)
            connection.send(snapshot(msgspec.json.decode(request)["channel"]), text=True)

    server = feed_server(serve)
    observed = watch(feed(server.url, acknowledge_seconds=0.05))
    wait_for(lambda: told(log, "[UNCONFIRMED]") and len(observed.frames) == 6)
    assert [msgspec.json.decode(request)["channel"] for request in server.requests] == [
        "heartbeats", "ticker", "market_trades",
    ] * 2  # fmt: skip
    assert len(server.connections) == 1


def test_nobody_asks_again_while_a_snapshot_arrives(
    raw_server: Callable[..., RawServer], watch: Watch, log: list[str]
) -> None:
    """A book of 60 MB takes twice the time in which an answer is due."""
    payload = b'{"channel":"l2_data","events":"' + b"1" * 60_000_000 + b'"}'
    whole = frame(payload)
    pieces = [whole[start : start + 400_000] for start in range(0, len(whole), 400_000)]
    acknowledgement = b'{"channel":"subscriptions","events":[{"subscriptions":{"heartbeats":["heartbeats"]}}]}'

    def serve(connection: socket.socket, _number: int) -> None:
        upgrade(connection)
        connection.recv(65_536)
        for piece in pieces:
            connection.sendall(piece)
            threading.Event().wait(0.02)
        connection.sendall(frame(acknowledgement))
        while connection.recv(65_536):
            pass

    observed = watch(feed(raw_server(serve).url, ("heartbeat",), acknowledge_seconds=1.4))
    wait_for(lambda: told(log, "[OK]"), 30)
    assert not told(log, "asking again")
    assert observed.data == [payload, acknowledgement]


@pytest.mark.parametrize("data", [MARKET_TRADES, HEARTBEATS])
def test_patience_is_restored_by_its_data_and_by_nothing_else(
    feed_server: Serve, watch: Watch, log: list[str], data: bytes
) -> None:
    def send(*messages: bytes) -> Script:
        def serve(server: FeedServer, connection: ServerConnection) -> None:
            request = server.subscribed(connection)
            for message in messages or (advanced_acknowledgement(request),):
                connection.send(message, text=True)

        return serve

    server = feed_server(send(ERROR), send(), send(b"{}", b'{"type":"ticker"}'), send(data), send(ERROR), hold)
    watch(feed(server.url))
    wait_for(lambda: len(server.connections) == 6)
    attempts = [line.split("(attempt ")[1].split(")")[0] for line in told(log, "[RECONNECTING]")]
    assert attempts == ["1", "2", "3", "1", "2"]


def test_silence_is_death_there_too(feed_server: Serve, watch: Watch, log: list[str]) -> None:
    def serve(server: FeedServer, connection: ServerConnection) -> None:
        connection.send(advanced_acknowledgement(server.subscribed(connection)), text=True)
        hold(server, connection)

    server = feed_server(serve)
    watch(feed(server.url, stall_seconds=0.15))
    wait_for(lambda: told(log, f"no frame from {server.url} for 0.15 s") and len(server.connections) >= 2)


@pytest.mark.parametrize(
    ("options", "url"),
    [({}, FEED_URLS["exchange"]), ({"feed": "advanced"}, FEED_URLS["advanced"]), ({"url": "ws://own"}, "ws://own")],
)
def test_each_feed_has_an_address_of_its_own(
    monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], url: str
) -> None:
    connected: list[str] = []

    def connection(plan: Any, *_: object) -> Observable[Frame]:
        connected.append(plan.endpoint.url)
        return Observable()

    monkeypatch.setattr("rxbridge.coinbase.stream.connection", connection)
    frames(["BTC-USD"], **options).subscribe()
    assert connected == [url]
