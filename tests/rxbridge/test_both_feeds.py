"""Every channel of both feeds through the whole bridge, as real processes: what was recorded, and what is simulated."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.channels import FeedName
from rxbridge.faults import Fault
from rxbridge.journal import MarketGap
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.messages import line_of
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.recording import read
from rxbridge.simulator import Simulator

KEY = "a-key-that-must-not-leak"
Start: TypeAlias = Callable[..., Any]
KIND = re.compile(r"coinbase-(?P<product>[A-Z]+-[A-Z]+)-(?:(?P<kind>match|candle|book)-)?(?P<rest>.*)")


class Stage:
    """A bridge, and an embedded PulseStream: what it has in the end, and what the bridge says of it."""

    def __init__(self, command: Start, server: EmbeddedPulseStream, folder: Path) -> None:
        self._command = command
        self._server = server
        self._database = folder / "stored.sqlite"
        self._journal = folder / "journal"

    def run(
        self, simulator: Simulator, feed: str, channels: str, products: str, *more: object, **environment: str
    ) -> Any:
        reach = ["--feed-url", simulator.url, "--pulsestream-url", self._server.url, "--journal", self._journal]
        wanted = ["--feed", feed, "--channels", channels, "--products", products]
        return self._command(
            *("run", *reach, *wanted, *more),
            PULSESTREAM_API_KEY=KEY,
            RXBRIDGE_EVENTS_BOOK_SECONDS="0.2",
            **environment,
        )

    def verify(self, feed: str, channels: str) -> dict[str, Any]:
        done = self._command(
            *("verify", "--json", "--pulsestream-url", self._server.url, "--journal", self._journal),
            PULSESTREAM_API_KEY=KEY,
            RXBRIDGE_EVENTS_BOOK_SECONDS="0.2",
            RXBRIDGE_FEED_PROTOCOL=feed,
            RXBRIDGE_FEED_CHANNELS=channels,
        )
        assert done.wait() == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def stored(self) -> dict[str, list[tuple[str, str]]]:
        """Product and rest of the id of every event, by kind; each is there once."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
            rows = Counter(key for (key,) in connection.execute("SELECT external_id FROM events"))
        assert set(rows.values()) <= {1}, "something is stored twice"
        found: dict[str, list[tuple[str, str]]] = {}
        for key in rows:
            if match := KIND.fullmatch(key):
                found.setdefault(match["kind"] or "ticker", []).append((match["product"], match["rest"]))
        return found

    def books(self) -> list[dict[str, Any]]:
        """What the images of books say, in the order of their times."""
        query = "SELECT payload FROM events WHERE external_id LIKE '%-book-%' ORDER BY event_timestamp"
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
            return [json.loads(body)["custom_data"] for (body,) in connection.execute(query)]

    def book_products(self) -> set[str]:
        """Those of which there is an image of the book."""
        return {book["product_id"] for book in self.books()}

    def has_trades(self, made: Mapping[str, range]) -> bool:
        """Whether they are all stored, from the first that was stored to the last that was made."""
        stored = self.stored().get("match", [])
        for product, ids in made.items():
            trades = {int(rest) for name, rest in stored if name == product}
            if not trades or trades != set(range(min(trades), ids[-1] + 1)):
                return False
        return True

    def tickers(self) -> Counter[str]:
        """What the tickers say of their products, and how often."""
        with closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True)) as connection:
            rows = connection.execute("SELECT external_id, payload FROM events").fetchall()
        bodies = [
            json.loads(body)["custom_data"] for key, body in rows if (it := KIND.fullmatch(key)) and not it["kind"]
        ]
        assert bodies
        return Counter(json.dumps(body) for body in bodies)

    def lines(self) -> set[int]:
        """Which connections brought something, of those that were up at the same time."""
        with closing(SqliteJournal(self._journal, role="read")) as journal:
            return {line_of(frame.connection) for frame in journal.read(0, 1_000_000)}

    def gaps(self) -> list[MarketGap]:
        with closing(SqliteJournal(self._journal, role="read")) as journal:
            return [*journal.market_gaps()]


@pytest.fixture
def stage(command: Start, tmp_path: Path) -> Iterator[Stage]:
    with EmbeddedPulseStream(database=str(tmp_path / "stored.sqlite"), api_key=KEY, rate_limit=0) as server:
        yield Stage(command, server, tmp_path)


def candles(stored: Mapping[str, list[tuple[str, str]]]) -> set[tuple[str, str]]:
    """Product and start of each, however often it was told."""
    return {(product, rest.split("-")[0]) for product, rest in stored.get("candle", [])}


def test_the_recording_of_advanced_trade(stage: Stage, real_recording: Callable[[str], Path], wait_for: Start) -> None:
    channels = "ticker,trades,candles,level2"
    with Simulator(recording=partial(read, real_recording("advanced-2026")), speed=6) as simulator:
        run = stage.run(simulator, "advanced", channels, "BTC-USD,ETH-USD")

        def is_there() -> bool:
            stored = stage.stored()
            counts = [len(stored.get(kind, [])) for kind in ("match", "ticker")]
            return counts == [258, 104] and len(candles(stored)) >= 200 and len(stage.book_products()) == 2

        wait_for(is_there, 60)
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr

    stored, books = stage.stored(), stage.books()
    audit = stage.verify("advanced", channels)
    assert (len(stored["match"]), len(stored["ticker"])) == (258, 104)
    assert len(candles(stored)) == 200
    for product in ("BTC-USD", "ETH-USD"):
        ids = sorted(int(rest) for name, rest in stored["match"] if name == product)
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert {book["product_id"] for book in books} == {"BTC-USD", "ETH-USD"}
    assert not any(book["is_crossed"] for book in books)
    assert (audit["missing"], audit["duplicates"], audit["dead"], audit["trade_holes"]) == (0, 0, 0, 0)


def test_the_recording_of_the_exchange(stage: Stage, real_recording: Callable[[str], Path], wait_for: Start) -> None:
    channels = "ticker,matches,level2"
    path = real_recording("exchange-2021")
    products = {json.loads(frame.data).get("product_id") for frame in read(path)} - {None}
    with Simulator(recording=partial(read, path), speed=8) as simulator:
        run = stage.run(simulator, "exchange", channels, ",".join(sorted(products)))

        def is_there() -> bool:
            stored = stage.stored()
            counts = [len(stored.get(kind, [])) for kind in ("match", "ticker")]
            return counts == [45, 45] and len(stage.book_products()) == len(products)

        wait_for(is_there, 60)
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr

    stored, books = stage.stored(), stage.books()
    audit = stage.verify("exchange", channels)
    assert (len(stored["match"]), len(stored["ticker"])) == (45, 45)
    assert {book["product_id"] for book in books} == products
    assert len(products) == 10
    assert not any(book["is_crossed"] for book in books)
    assert (audit["missing"], audit["duplicates"], audit["dead"], audit["trade_holes"]) == (0, 0, 0, 0)


@pytest.mark.parametrize("feed", ["exchange", "advanced"])
def test_nothing_is_lost_of_a_simulated_market_with_books(stage: Stage, wait_for: Start, feed: Any) -> None:
    channels = "ticker,trades,level2" + (",candles" if feed == "advanced" else "")
    # Between two ends there is time enough for all channels, and for a frame to be missed, on a slow machine as well.
    faults = [Fault("drop", probability=0.02, at=1.0), Fault("close", at=2.0, every=6.0, code=1012)]
    with Simulator(feed=feed, products=("BTC-USD", "ETH-USD"), rate=120.0, faults=faults) as simulator:
        run = stage.run(simulator, feed, channels, "BTC-USD,ETH-USD")
        wait_for(lambda: len(stage.stored().get("match", [])) > 120)
        run.send(signal.SIGKILL)
        run.wait()
        again = stage.run(simulator, feed, channels, "BTC-USD,ETH-USD")
        before = len(stage.stored()["match"])
        wait_for(lambda: len(stage.stored()["match"]) > before + 120)
        if feed == "advanced":
            wait_for(lambda: "books need all of them" in run.stderr + again.stderr)
        simulator.pause()
        ends = {product: simulator.trades(product).stop for product in ("BTC-USD", "ETH-USD")}

        def all_there() -> bool:
            stored = stage.stored().get("match", [])
            newest = {product: {int(rest) for name, rest in stored if name == product} for product in ends}
            return all(ids and ids >= set(range(min(ids), ends[product])) for product, ids in newest.items())

        wait_for(all_there)
        # Connections that lose frames may all have been too short for an image.
        wait_for(lambda: {book["product_id"] for book in stage.books()} == set(ends))
        again.send(signal.SIGTERM)
        assert again.wait() == 0, again.stderr

    audit = stage.verify(feed, channels)
    books = stage.books()
    assert (audit["missing"], audit["duplicates"], audit["dead"], audit["trade_holes"]) == (0, 0, 0, 0)
    assert {book["product_id"] for book in books} == {"BTC-USD", "ETH-USD"}
    assert sum(book["is_reset"] for book in books) >= 2
    if feed == "advanced":
        assert not any(book["is_crossed"] for book in books)


@pytest.mark.parametrize("feed", ["exchange", "advanced"])
def test_of_two_connections_that_bring_the_same_the_older_one_is_ended_again_and_again(
    stage: Stage, wait_for: Start, feed: FeedName
) -> None:
    products = ("BTC-USD", "ETH-USD")
    with Simulator(products=products, rate=100, feed=feed) as simulator:
        wanted = ["ticker,trades,level2", ",".join(products), "--verbose"]
        run = stage.run(simulator, feed, *wanted, RXBRIDGE_FEED_CONNECTIONS="2")
        for connections in range(2, 6):
            # The newer one has all its channels, so that the older one may go.
            wait_for(lambda least=connections: run.stderr.count("Subscription confirmed") >= least)
            made = {product: simulator.trades(product).stop for product in products}
            wait_for(lambda before=made: all(simulator.trades(one).stop > before[one] + 10 for one in products))
            simulator.disconnect_oldest()
        simulator.pause()
        made = {product: simulator.trades(product) for product in products}
        wait_for(lambda: stage.has_trades(made))
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr

    assert stage.gaps() == []
    assert stage.lines() == {0, 1}
    # Advanced Trade says with each subscription how things are, which may be as they were, and as they will be.
    told, different = stage.tickers().total(), len(stage.tickers())
    assert told - different <= (2 * simulator.statistics.connections * len(products) if feed == "advanced" else 0)
    audit = stage.verify(feed, "ticker,trades,level2")
    assert (audit["missing"], audit["duplicates"], audit["dead"], audit["trade_holes"]) == (0, 0, 0, 0)
