"""Other products while the feed runs, against servers on loopback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from reactivex import Observable
from websockets.sync.server import ServerConnection

from rxbridge.channels import FeedName
from rxbridge.coinbase import ProductsInForce, frames
from rxbridge.errors import ConfigError
from rxbridge.messages import Frame
from rxbridge.telemetry.statistics import FeedStatistics
from tests.rxbridge.coinbase.servers import (
    HEARTBEAT,
    HEARTBEATS,
    FeedServer,
    Impatient,
    Observed,
    refusal,
    wait_for,
)

Watch = Callable[[Observable[Frame]], Observed]
Serve = Callable[..., FeedServer]
BTC, ETH, FOO = "BTC-USD", "ETH-USD", "FOO-USD"


class Market:
    """Serves one connection after the other: heartbeats all the time, and an answer to each message.

    Attributes:
        held: The products that the newest connection holds, by channel.
        verbs: What the messages of all connections were, in order.
    """

    def __init__(self, feed: FeedName, refused: str = "") -> None:
        self.held: dict[str, set[str]] = {}
        self.verbs: list[str] = []
        self._feed = feed
        self._refused = refused

    def __call__(self, _server: FeedServer, connection: ServerConnection) -> None:
        held: dict[str, set[str]] = {}
        self.held = held
        while True:
            try:
                request = msgspec.json.decode(connection.recv(timeout=0.01))
            except TimeoutError:
                connection.send(HEARTBEAT if self._feed == "exchange" else HEARTBEATS, text=True)
                continue
            self.verbs.append(request["type"])
            asked = self._asked(request)
            if any(self._refused in products for products in asked.values()):
                connection.send(refusal(f"{self._refused} is not a valid product"), text=True)
                continue
            for channel, products in asked.items():
                known = held.get(channel, set[str]())
                held[channel] = known | products if request["type"] == "subscribe" else known - products
            connection.send(self._acknowledgement(held), text=True)

    def _asked(self, request: dict[str, Any]) -> dict[str, set[str]]:
        if self._feed == "advanced":
            return {request["channel"]: set(request.get("product_ids", [request["channel"]]))}
        return {channel["name"]: set(channel["product_ids"]) for channel in request["channels"]}

    def _acknowledgement(self, held: dict[str, set[str]]) -> bytes:
        listed = {channel: sorted(products) for channel, products in held.items() if products}
        if self._feed == "advanced":
            return msgspec.json.encode({"channel": "subscriptions", "events": [{"subscriptions": listed}]})
        channels = [{"name": channel, "product_ids": products} for channel, products in listed.items()]
        return msgspec.json.encode({"type": "subscriptions", "channels": channels})


def feed(server: FeedServer, products: ProductsInForce, protocol: FeedName, statistics: FeedStatistics) -> Any:
    return frames(products, ("ticker",), feed=protocol, url=server.url, statistics=statistics, scheduler=Impatient())


@pytest.mark.parametrize("protocol", ["exchange", "advanced"])
def test_products_come_and_go_on_the_connection_that_is_open(
    feed_server: Serve, watch: Watch, protocol: FeedName
) -> None:
    market, products, statistics = Market(protocol), ProductsInForce((BTC,)), FeedStatistics()
    server = feed_server(market)
    watch(feed(server, products, protocol, statistics))
    wait_for(lambda: statistics.settled == 1)
    products.set((ETH, BTC))
    wait_for(lambda: statistics.settled == 2)
    assert market.held["ticker"] == {BTC, ETH}
    products.set((ETH,))
    wait_for(lambda: statistics.settled == 3)
    assert market.held["ticker"] == {ETH}
    if protocol == "exchange":
        assert market.held["heartbeat"] == {ETH}
    assert statistics.connections == len(server.connections) == 1
    assert market.verbs[-1] == "unsubscribe"


@pytest.mark.parametrize("protocol", ["exchange", "advanced"])
def test_a_reconnection_asks_for_the_products_in_force(feed_server: Serve, watch: Watch, protocol: FeedName) -> None:
    market, products, statistics = Market(protocol), ProductsInForce((BTC,)), FeedStatistics()
    server = feed_server(market)
    watch(feed(server, products, protocol, statistics))
    wait_for(lambda: statistics.settled == 1)
    products.set((ETH,))
    wait_for(lambda: statistics.settled == 2)
    before = len(market.verbs)
    server.connections[0].close()
    wait_for(lambda: statistics.settled == 3)
    assert market.held["ticker"] == {ETH}
    assert "unsubscribe" not in market.verbs[before:]


def test_a_new_product_that_is_refused_costs_the_others_nothing_and_is_forgotten_when_it_goes(
    feed_server: Serve, watch: Watch, log: list[str]
) -> None:
    market, products, statistics = Market("exchange", FOO), ProductsInForce((BTC,)), FeedStatistics()
    server = feed_server(market)
    watch(feed(server, products, "exchange", statistics))
    wait_for(lambda: statistics.settled == 1)
    products.set((BTC, ETH, FOO))
    wait_for(lambda: statistics.settled == 2)
    assert market.held["ticker"] == {BTC, ETH}
    assert list(statistics.rejected_products) == [FOO]
    asked = len(market.verbs)
    products.set((ETH, FOO))
    wait_for(lambda: statistics.settled == 3)
    assert market.verbs[asked:] == ["unsubscribe"], "a refusal is believed"
    products.set((ETH,))
    wait_for(lambda: not statistics.rejected_products)
    products.set((ETH, FOO))
    wait_for(lambda: list(statistics.rejected_products) == [FOO])
    wait_for(lambda: len([line for line in log if "[REJECTED]" in line]) == 2)
    assert statistics.connections == 1


def test_what_was_refused_and_went_while_there_was_no_connection_is_forgotten(feed_server: Serve, watch: Watch) -> None:
    market, products, statistics = Market("exchange", FOO), ProductsInForce((BTC, FOO)), FeedStatistics()

    def leave(server: FeedServer, connection: ServerConnection) -> None:
        connection.recv()
        connection.send(refusal(f"{FOO} is not a valid product"), text=True)
        connection.recv()
        products.set((BTC,))

    server = feed_server(leave, market)
    watch(feed(server, products, "exchange", statistics))
    wait_for(lambda: statistics.settled == 1)
    assert market.held["ticker"] == {BTC}
    assert statistics.rejected_products == {}


@pytest.mark.parametrize("products", [(), ("BTC-USD", "")])
def test_no_products_are_no_change(products: tuple[str, ...]) -> None:
    in_force = ProductsInForce((BTC,))
    with pytest.raises(ConfigError):
        in_force.set(products)
    assert in_force.current == (BTC,)
