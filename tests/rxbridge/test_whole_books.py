"""Recorded markets through the whole bridge with `events.book = "full"`: the books are those of the frames, exactly."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

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


@pytest.mark.parametrize(("name", "feed"), [("advanced-2026", "advanced"), ("exchange-2021", "exchange")])
def test_a_recorded_market_is_rebuilt_from_what_pulsestream_has(
    command: Callable[..., Any], tmp_path: Path, real_recording: Callable[[str], Path], name: str, feed: str
) -> None:
    path, database = real_recording(name), tmp_path / "stored.sqlite"
    books = books_of(path)
    with (
        EmbeddedPulseStream(database=str(database), api_key=KEY, rate_limit=0) as server,
        Simulator(recording=partial(read, path), speed=6) as simulator,
    ):
        where = ["--journal", tmp_path / "journal", "--pulsestream-url", server.url]
        wanted = ["--feed-url", simulator.url, "--feed", feed, "--channels", "level2", "--products", ",".join(books)]
        run = command("run", *where, *wanted, "--exit-when-idle", 1.5, **SETTINGS)
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

    query = "SELECT payload FROM events WHERE external_id LIKE '%-book-part-%'"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        payloads = [json.loads(body)["custom_data"] for (body,) in connection.execute(query)]
    troubles: list[str] = []
    rebuilt = rebuilt_books(payloads, troubled=lambda *trouble: troubles.append(str(trouble)))
    assert troubles == []
    assert rebuilt.keys() == books.keys()
    for product, book in books.items():
        assert (rebuilt[product].bids(), rebuilt[product].asks()) == (book.bids(), book.asks())
        assert book.bids()
