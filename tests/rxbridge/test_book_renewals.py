"""Books of the Exchange that are put right on the open connection, through whole bridges as real processes."""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import requests

from rxbridge.faults import Fault
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.simulator import Simulator

KEY = "a-key-that-must-not-leak"
PRODUCTS = ("BTC-USD", "ETH-USD")
DEPTH = 10


class Stage:
    """Bridges on one journal, and an embedded PulseStream."""

    def __init__(self, command: Callable[..., Any], server: EmbeddedPulseStream, folder: Path) -> None:
        self._command = command
        self._server = server
        self._folder = folder

    def start(self, simulator: Simulator, role: str = "both", **settings: str) -> Any:
        reach = ["--feed-url", simulator.url, "--pulsestream-url", self._server.url]
        wanted = ["--channels", "ticker,trades,level2", "--products", ",".join(PRODUCTS), "--role", role]
        return self._command(
            *("run", "--journal", self._folder / "journal", *reach, *wanted),
            PULSESTREAM_API_KEY=KEY,
            RXBRIDGE_EVENTS_BOOK_SECONDS="0.2",
            RXBRIDGE_EVENTS_BOOK_DEPTH=str(DEPTH),
            **settings,
        )

    def newest(self) -> dict[str, tuple[Any, Any]]:
        """Bids and asks of the newest image of each product."""
        query = "SELECT payload FROM events WHERE external_id LIKE '%-book-%' ORDER BY event_timestamp"
        with closing(sqlite3.connect(f"file:{self._folder / 'stored.sqlite'}?mode=ro", uri=True)) as connection:
            images = [json.loads(body)["custom_data"] for (body,) in connection.execute(query)]
        return {image["product_id"]: (numbers(image["bids"]), numbers(image["asks"])) for image in images}

    def gap_reasons(self) -> list[str]:
        """Why books are missing, once no bridge runs."""
        with SqliteJournal(self._folder / "journal") as journal:
            return [gap.reason for gap in journal.market_gaps() if gap.channel == "level2"]


@pytest.fixture
def stage(command: Callable[..., Any], tmp_path: Path) -> Iterator[Stage]:
    with EmbeddedPulseStream(database=str(tmp_path / "stored.sqlite"), api_key=KEY, rate_limit=0) as server:
        yield Stage(command, server, tmp_path)


def numbers(levels: Any) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(level[0]), Decimal(level[1])) for level in levels]


def market(simulator: Simulator) -> dict[str, tuple[Any, Any]]:
    """The best bids and asks of each product, as REST tells them; none while it has been asked too often."""
    books: dict[str, tuple[Any, Any]] = {}
    for product in PRODUCTS:
        answer = requests.get(f"{simulator.rest_url}/products/{product}/book?level=2", timeout=10)
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            return {}
        told = answer.json()
        books[product] = numbers(told["bids"][:DEPTH]), numbers(told["asks"][:DEPTH])
    return books


@pytest.mark.parametrize(
    ("fault", "refresh", "roles"),
    [("truncate", "0", ("both",)), ("truncate", "0", ("feed", "deliver")), ("drop", "0.1", ("both",))],
)
def test_a_book_that_lost_frames_is_exact_again_on_the_same_connection(
    stage: Stage, wait_for: Callable[..., None], fault: str, refresh: str, roles: tuple[str, ...]
) -> None:
    # It ends some time: a book that is in doubt again and again is begun anew less and less often.
    faults = [Fault(fault, probability=0.03, times=8)]
    with Simulator(feed="exchange", products=PRODUCTS, rate=60.0, faults=faults) as simulator:
        options = {"RXBRIDGE_FEED_BOOK_DOUBT_SECONDS": "0.2", "RXBRIDGE_FEED_BOOK_REFRESH_SECONDS": refresh}
        running = [stage.start(simulator, role, **options) for role in roles]
        wait_for(lambda: simulator.statistics.faults.get(fault, 0) > 5 and len(stage.newest()) == len(PRODUCTS))
        # Each has had its first one, and at least one more; no fault comes after the eighth.
        wait_for(lambda: simulator.statistics.frames["snapshot"] >= 2 * len(PRODUCTS))
        simulator.pause()
        books: dict[str, tuple[Any, Any]] = {}
        wait_for(lambda: books or books.update(market(simulator)))
        wait_for(lambda: stage.newest() == books)
        assert simulator.statistics.connections == 1, "the connection stayed open"
        for process in running:
            process.send(signal.SIGTERM)
        for process in running:
            assert process.wait() == 0, process.stderr
    # What Coinbase drops nobody sees.
    assert any("could not be read" in reason for reason in stage.gap_reasons()) == (fault == "truncate")
    feed = running[0].stderr
    assert feed.count("Subscription confirmed:") == 1
    if refresh == "0":
        assert "Beginning anew what is wrong" in feed
