"""Recorded markets through the whole bridge with `events.book = "full"`: the books are those of the frames, exactly."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests

from operators import OrderBook
from rxbridge.coinbase.decoding import decode
from rxbridge.events.rebuilding import rebuilt_books
from rxbridge.messages import BookSnapshot, BookUpdate, Frame
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.recording import read
from rxbridge.simulator import Simulator

KEY = "a-key-that-must-not-leak"
SETTINGS = {"PULSESTREAM_API_KEY": KEY, "RXBRIDGE_EVENTS_BOOK": "full"}


def books_of(path: Path) -> dict[str, OrderBook]:
    """The books of a recording after its last frame."""
    books: dict[str, OrderBook] = {}
    for index, recorded in enumerate(read(path)):
        for message in decode(Frame(recorded.data, recorded.received_at, 1, index)):
            if isinstance(message, BookSnapshot) and message.product_id:
                books[message.product_id] = OrderBook()
                books[message.product_id].apply_snapshot(message.bids, message.asks)
            elif isinstance(message, BookUpdate) and message.product_id:
                books[message.product_id].apply_update(message.changes)
    return books


def parts_in(database: Path) -> list[dict[str, Any]]:
    query = "SELECT payload FROM events WHERE external_id LIKE '%-book-part-%'"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return [json.loads(body)["custom_data"] for (body,) in connection.execute(query)]


def rebuilt_from(database: Path) -> tuple[dict[str, OrderBook], list[str]]:
    """The books of all parts that PulseStream has, and what is wrong with them."""
    troubles: list[str] = []
    return rebuilt_books(parts_in(database), troubled=lambda *trouble: troubles.append(str(trouble))), troubles


def same(rebuilt: dict[str, OrderBook], books: dict[str, OrderBook]) -> bool:
    return rebuilt.keys() == books.keys() and all(
        (rebuilt[product].bids(), rebuilt[product].asks()) == (book.bids(), book.asks())
        for product, book in books.items()
    )


def prices(levels: Any) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(level[0]), Decimal(level[1])) for level in levels]


@pytest.mark.parametrize(("name", "feed"), [("advanced-2026", "advanced"), ("exchange-2021", "exchange")])
def test_a_recorded_market_is_rebuilt_from_what_pulsestream_has(
    *,
    command: Callable[..., Any],
    wait_for: Callable[..., None],
    tmp_path: Path,
    real_recording: Callable[[str], Path],
    name: str,
    feed: str,
) -> None:
    path, database = real_recording(name), tmp_path / "stored.sqlite"
    books = books_of(path)
    looked_at = {0}

    def is_whole() -> bool:
        # To rebuild them takes a while: only where something is new.
        count = len(parts_in(database))
        new = count not in looked_at
        looked_at.add(count)
        return new and same(rebuilt_from(database)[0], books)

    with (
        EmbeddedPulseStream(database=str(database), api_key=KEY, rate_limit=0) as server,
        Simulator(recording=partial(read, path), speed=6) as simulator,
    ):
        where = ["--journal", tmp_path / "journal", "--pulsestream-url", server.url]
        wanted = ["--feed-url", simulator.url, "--feed", feed, "--channels", "level2", "--products", ",".join(books)]
        run = command("run", *where, *wanted, **SETTINGS)
        wait_for(is_whole, 60)
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr
        audit = command(
            *("verify", "--json", *where),
            **SETTINGS,
            RXBRIDGE_FEED_PROTOCOL=feed,
            RXBRIDGE_FEED_CHANNELS="level2",
        )
        assert audit.wait() == 0, audit.stdout + audit.stderr
    told = json.loads(audit.stdout)
    assert (told["missing"], told["duplicates"], told["dead"]) == (0, 0, 0)

    rebuilt, troubles = rebuilt_from(database)
    assert troubles == []
    assert same(rebuilt, books)
    assert all(book.bids() for book in books.values())


def test_a_killed_delivery_makes_the_same_parts_again(
    command: Callable[..., Any], wait_for: Callable[..., None], tmp_path: Path
) -> None:
    database = tmp_path / "stored.sqlite"
    where: list[object] = ["--journal", tmp_path / "journal"]
    with (
        EmbeddedPulseStream(database=str(database), api_key=KEY, rate_limit=0) as server,
        Simulator(feed="exchange", products=("BTC-USD",), rate=50.0, book_depth=8_000) as simulator,
    ):
        where += ["--pulsestream-url", server.url]
        wanted = ["--feed-url", simulator.url, "--channels", "level2", "--products", "BTC-USD"]
        feed = command("run", *where, *wanted, "--role", "feed", **SETTINGS)
        for parts in (2, 20):
            # Batches of one, so that it ends between two parts of a frame.
            delivery = command("run", *where, *wanted, "--role", "deliver", **SETTINGS, RXBRIDGE_BATCH_COUNT="1")
            wait_for(lambda least=parts: len(parts_in(database)) >= least)
            delivery.send(signal.SIGKILL)
            delivery.wait()
        simulator.pause()
        told = requests.get(f"{simulator.rest_url}/products/BTC-USD/book?level=2", timeout=10).json()
        delivery = command("run", *where, *wanted, "--role", "deliver", **SETTINGS)

        def is_exact() -> bool:
            books, troubles = rebuilt_from(database)
            if troubles or "BTC-USD" not in books:
                return False
            bids, asks = books["BTC-USD"].bids(), books["BTC-USD"].asks()
            return (list(bids), list(asks)) == (prices(told["bids"]), prices(told["asks"]))

        wait_for(is_exact)
        for process in (feed, delivery):
            process.send(signal.SIGTERM)
            assert process.wait() == 0, process.stderr
        audit = command("verify", "--json", *where, **SETTINGS, RXBRIDGE_FEED_CHANNELS="level2")
        assert audit.wait() == 0, audit.stdout + audit.stderr
    answer = json.loads(audit.stdout)
    assert (answer["missing"], answer["duplicates"], answer["dead"]) == (0, 0, 0)
