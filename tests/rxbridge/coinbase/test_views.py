"""Messages, tickers, trades and books, against servers that say what the test wants, and against the simulator."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, assert_type

import msgspec
import pytest
from reactivex import Observable
from reactivex import operators as ops
from websockets.sync.server import ServerConnection

from operators.book_view import BookMessage, BookTrouble, BookView
from rxbridge.channels import FeedName
from rxbridge.coinbase import books, messages, tickers, trades
from rxbridge.errors import ConfigError, MalformedFrame
from rxbridge.messages import Frame, LastTrade, Message, Ticker, Trade
from rxbridge.simulator import Simulator
from tests.rxbridge.coinbase.servers import (
    TICKER,
    FeedServer,
    Impatient,
    Script,
    acknowledgement,
    feed_threads,
    hold,
    leave,
    products_of,
    wait_for,
)

Serve = Callable[..., FeedServer]
SNAPSHOT = b'{"type":"snapshot","product_id":"BTC-USD","bids":[["9","1"]],"asks":[["11","1"]]}'
OTHER = SNAPSHOT.replace(b"BTC-USD", b"ETH-USD")
FEEDS: list[FeedName] = ["exchange", "advanced"]


def match(number: int, kind: str = "match") -> bytes:
    return b'{"type":"%s","trade_id":%d,"product_id":"BTC-USD","price":"1","size":"2"}' % (kind.encode(), number)


def update(price: str) -> bytes:
    return b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","%s","1"]]}' % price.encode()


def saying(*frames: bytes, then: Script = hold) -> Script:
    """Acknowledge, say all this, and stay, or not."""

    def serve(server: FeedServer, connection: ServerConnection) -> None:
        connection.send(acknowledgement(server.subscribed(connection)), text=True)
        for one in frames:
            connection.send(one)
        then(server, connection)

    return serve


def collect(source: Observable[Any], count: int) -> list[Any]:
    """The first so many items; then nothing of it may be left."""
    items = source.pipe(ops.take(count), ops.to_list()).run()
    wait_for(lambda: not feed_threads())
    return items


def test_a_malformed_frame_is_told_and_passed_over(feed_server: Serve, log: list[str]) -> None:
    server = feed_server(saying(b"{", TICKER))
    told: list[tuple[Frame, Exception]] = []
    (ticker,) = collect(
        tickers(["BTC-USD"], url=server.url, malformed=lambda frame, error: told.append((frame, error))), 1
    )

    assert ticker.price == "100.5"
    assert [(frame.data, type(error)) for frame, error in told] == [(b"{", MalformedFrame)]
    assert not [line for line in log if "MALFORMED" in line]

    collect(tickers(["BTC-USD"], url=server.url), 1)
    assert [line for line in log if line.startswith("WARNING [MALFORMED] malformed frame")]


def test_the_callback_may_end_the_stream(feed_server: Serve) -> None:
    def refuse(_frame: Frame, error: Exception) -> None:
        raise error

    with pytest.raises(MalformedFrame):
        collect(messages(["BTC-USD"], url=feed_server(saying(b"{")).url, malformed=refuse), 9)
    wait_for(lambda: not feed_threads())


def test_each_trade_comes_once_whatever_is_repeated_after_a_reconnect(feed_server: Serve) -> None:
    server = feed_server(
        saying(match(7, "last_match"), match(8), match(9), then=leave), saying(match(9, "last_match"), match(11))
    )
    repeated: list[Trade] = []
    found = collect(trades(["BTC-USD"], url=server.url, repeated=repeated.append, scheduler=Impatient()), 4)

    assert [trade.trade_id for trade in found] == [7, 8, 9, 11]
    assert isinstance(found[0], LastTrade)
    assert [trade.trade_id for trade in repeated] == [9]


def test_two_subscriptions_know_nothing_of_each_other(feed_server: Serve) -> None:
    source = trades(["BTC-USD"], url=feed_server(saying(match(8))).url)

    assert [trade.trade_id for trade in collect(source, 1)] == [8]
    assert [trade.trade_id for trade in collect(source, 1)] == [8]


def test_books_begin_anew_with_a_connection(feed_server: Serve) -> None:
    server = feed_server(saying(SNAPSHOT, OTHER, update("10"), then=leave), saying(SNAPSHOT))
    views = collect(books(["BTC-USD", "ETH-USD"], url=server.url, scheduler=Impatient()), 6)

    seen = [(view.product, view.reset, view.best_bid and str(view.best_bid.price)) for view in views]
    assert seen[:3] == [("BTC-USD", False, "9"), ("ETH-USD", False, "9"), ("BTC-USD", False, "10")]
    assert sorted(seen[3:5]) == [("BTC-USD", True, None), ("ETH-USD", True, None)]
    assert seen[5] == ("BTC-USD", False, "9")


BROKEN = {
    "no JSON": b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy",',
    "no number": b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","x","1"]]}',
    "no product": b'{"type":"l2update","changes":[["buy","1","1"]]}',
    "crossed": update("99"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_book_in_doubt_begins_anew_on_the_open_connection(feed_server: Serve, broken: bytes) -> None:
    asked: list[str] = []

    def serve(server: FeedServer, connection: ServerConnection) -> None:
        subscribe = server.subscribed(connection)
        connection.send(acknowledgement(subscribe), text=True)
        for one in (SNAPSHOT, broken, update("9.5")):
            connection.send(one)
        ended = msgspec.json.decode(server.subscribed(connection))
        asked.append(ended["type"])
        left = {"type": "subscriptions", "channels": [{"name": "heartbeat", "product_ids": ["BTC-USD"]}]}
        connection.send(msgspec.json.encode(left), text=True)
        asked.append(msgspec.json.decode(server.subscribed(connection))["type"])
        connection.send(acknowledgement(subscribe), text=True)
        connection.send(SNAPSHOT)
        hold(server, connection)

    server = feed_server(serve)
    told: list[object] = []
    source = books(
        ["BTC-USD"],
        url=server.url,
        malformed=lambda _, error: told.append(type(error).__name__),
        troubled=lambda trouble: told.append(trouble.kind),
        book_doubt_seconds=0.01,
    )
    first, second, *_, last = collect(source.pipe(ops.take_while(lambda _: len(asked) < 2, inclusive=True)), 9)

    assert str(first.best_bid.price) == "9"
    assert second.crossed or second.reset
    assert (str(last.best_bid.price), last.crossed, last.reset) == ("9", False, False)
    assert told in (["malformed"], ["MalformedFrame"], ["crossed"])
    assert asked == ["unsubscribe", "subscribe"]
    assert len(server.connections) == 1


def test_products_of_other_connections_stay_when_one_is_replaced(feed_server: Serve) -> None:
    counts = dict[str, int]()

    def serve(server: FeedServer, connection: ServerConnection) -> None:
        request = server.subscribed(connection)
        (product,) = {product for listed in products_of(request).values() for product in listed}
        connection.send(acknowledgement(request), text=True)
        counts[product] = counts.get(product, 0) + 1
        connection.send(SNAPSHOT.replace(b"BTC-USD", product.encode()))
        if product == "BTC-USD" and counts[product] == 1:
            wait_for(lambda: counts.get("ETH-USD"))
            return
        hold(server, connection)

    server = feed_server(serve)
    options: dict[str, Any] = {"products_per_connection": 1, "scheduler": Impatient()}
    views = collect(books(["BTC-USD", "ETH-USD"], url=server.url, **options), 4)

    assert [view.product for view in views if view.reset] == ["BTC-USD"]


def test_a_broken_frame_of_another_kind_is_no_trouble_of_a_book(feed_server: Serve) -> None:
    server = feed_server(saying(SNAPSHOT, b'{"type":"heartbeat",', update("10")))
    views = collect(books(["BTC-USD"], url=server.url), 2)

    assert [str(view.best_bid.price) for view in views] == ["9", "10"]
    assert len(server.connections) == 1


def test_what_cannot_be_used_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="top=0"):
        books(["BTC-USD"], top=0)
    with pytest.raises(ConfigError, match="connections"):
        books(["BTC-USD"], connections=2)
    with pytest.raises(ConfigError):
        trades([])
    with pytest.raises(ConfigError):
        tickers(["BTC-USD"], url="http://wrong")


@pytest.mark.parametrize("feed", FEEDS)
def test_all_of_it_comes_from_both_feeds(feed: FeedName) -> None:
    with Simulator(feed=feed, rate=200, products=("BTC-USD",)) as simulator:
        told = collect(messages(["BTC-USD"], feed=feed, url=simulator.url), 20)
        quotes = collect(tickers(["BTC-USD"], feed=feed, url=simulator.url), 5)
        done = collect(trades(["BTC-USD"], feed=feed, url=simulator.url), 20)
        views = collect(books(["BTC-USD"], feed=feed, url=simulator.url, top=3), 5)

    assert any(isinstance(message, Trade) for message in told)
    assert all(isinstance(quote, Ticker) and quote.product_id == "BTC-USD" for quote in quotes)
    numbers = [int(trade.trade_id) for trade in done]
    assert numbers == list(range(numbers[0], numbers[0] + 20))
    assert all(view.best_bid.price < view.best_ask.price and len(view.bids) == 3 for view in views)


def test_it_is_typed() -> None:
    assert_type(messages(["BTC-USD"]), Observable[Message])
    assert_type(tickers(["BTC-USD"]), Observable[Ticker])
    assert_type(trades(["BTC-USD"]), Observable[Trade])
    assert_type(books(["BTC-USD"]), Observable[BookView[BookMessage]])


def test_disposing_books_leaves_no_timer(feed_server: Serve) -> None:
    before = set(threading.enumerate())
    server = feed_server(saying(SNAPSHOT))
    stale: list[BookTrouble[BookMessage]] = []
    source = books(["BTC-USD"], url=server.url, stale_after=0.01, troubled=stale.append)
    views: list[BookView[BookMessage]] = []
    subscription = source.subscribe(views.append)
    wait_for(lambda: stale and views[-1].stale)
    subscription.dispose()
    server.close()
    wait_for(lambda: set(threading.enumerate()) <= before)
