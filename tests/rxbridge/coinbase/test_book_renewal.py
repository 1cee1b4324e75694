"""Order books that are begun anew on the open connection, against servers on loopback."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from reactivex import Observable
from websockets.sync.server import ServerConnection

from rxbridge.channels import FeedName
from rxbridge.coinbase.renewal import BooksInDoubt
from rxbridge.coinbase.stream import frames
from rxbridge.errors import ConfigError
from rxbridge.messages import Frame
from rxbridge.telemetry.statistics import FeedStatistics
from tests.rxbridge.coinbase.servers import HEARTBEAT, HEARTBEATS, FeedServer, Impatient, Observed, wait_for

Watch = Callable[[Observable[Frame]], Observed]
Serve = Callable[..., FeedServer]
UNNUMBERED = HEARTBEATS.replace(b'"sequence_num":1,', b"")
BTC, ETH = "BTC-USD", "ETH-USD"


class Market:
    """Serves a connection: heartbeats all the time, an acknowledgement to each message, a snapshot to each book.

    Attributes:
        held: What the connection holds now.
        begun: How often each pair was subscribed without being held.
    """

    def __init__(self, feed: FeedName) -> None:
        self.held: set[tuple[str, str]] = set()
        self.begun: Counter[tuple[str, str]] = Counter()
        self._feed = feed

    def __call__(self, _server: FeedServer, connection: ServerConnection) -> None:
        while True:
            try:
                request = msgspec.json.decode(connection.recv(timeout=0.01))
            except TimeoutError:
                connection.send(HEARTBEAT if self._feed == "exchange" else UNNUMBERED, text=True)
                continue
            asked = self._asked(request)
            if request["type"] == "subscribe":
                self.begun.update(asked - self.held)
                self.held |= asked
            else:
                self.held -= asked
            connection.send(self._acknowledgement(), text=True)

    def _asked(self, request: dict[str, Any]) -> set[tuple[str, str]]:
        if self._feed == "advanced":
            channel = request["channel"]
            return {(channel, product) for product in request.get("product_ids", [channel])}
        return {(one["name"], product) for one in request["channels"] for product in one["product_ids"]}

    def _acknowledgement(self) -> bytes:
        listed: dict[str, list[str]] = {}
        for channel, product in sorted(self.held):
            listed.setdefault(channel, []).append(product)
        if self._feed == "advanced":
            return msgspec.json.encode({"channel": "subscriptions", "events": [{"subscriptions": listed}]})
        channels = [{"name": channel, "product_ids": products} for channel, products in listed.items()]
        return msgspec.json.encode({"type": "subscriptions", "channels": channels})


def feed(server: FeedServer, feed: FeedName, statistics: FeedStatistics, **options: Any) -> Observable[Frame]:
    return frames(
        (BTC, ETH),
        ("ticker", "level2"),
        feed=feed,
        url=server.url,
        statistics=statistics,
        scheduler=Impatient(),
        **options,
    )


@pytest.mark.parametrize(("name", "book"), [("exchange", "level2_batch"), ("advanced", "level2")])
def test_a_book_in_doubt_is_begun_anew_and_nothing_else_is_touched(
    feed_server: Serve, watch: Watch, log: list[str], name: FeedName, book: str
) -> None:
    market, statistics, in_doubt = Market(name), FeedStatistics(), BooksInDoubt()
    server = feed_server(market)
    seen = watch(feed(server, name, statistics, in_doubt=in_doubt, book_doubt_seconds=0.01))
    wait_for(lambda: statistics.settled == 1)
    before = market.begun.copy()
    newest = seen.frames[-1]
    in_doubt.set({(newest.connection, ETH): newest.index, (newest.connection + 1, BTC): newest.index})
    wait_for(lambda: statistics.settled == 2)
    assert market.begun - before == {(book, ETH): 1}
    assert {(book, ETH), (book, BTC), ("ticker", ETH)} <= market.held
    assert (statistics.renewed_books, statistics.connections) == (1, 1)
    assert len([line for line in log if "Subscription confirmed:" in line]) == 1, "a renewal is no news"
    assert any("Beginning anew what is wrong: ETH-USD" in line for line in log)


def test_every_book_of_the_exchange_has_its_turn(feed_server: Serve, watch: Watch) -> None:
    market, statistics = Market("exchange"), FeedStatistics()
    server = feed_server(market)
    watch(feed(server, "exchange", statistics, book_refresh_seconds=0.1))
    # It goes on and on, one after the other.
    books = {("level2_batch", BTC), ("level2_batch", ETH)}
    wait_for(lambda: all(market.begun[book] >= 3 for book in books))
    assert {pair for pair, times in market.begun.items() if times > 1} == books
    wait_for(lambda: statistics.renewed_books >= 4)


def test_times_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="book_refresh_seconds"):
        frames([BTC], book_refresh_seconds=-1.0)
    with pytest.raises(ConfigError, match="book_doubt_seconds"):
        frames([BTC], book_doubt_seconds=0.0)
