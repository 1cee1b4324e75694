"""The channels of orders, listings and auctions through the whole bridge, as real processes."""

from __future__ import annotations

import base64
import json
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from rxbridge.faults import Fault
from rxbridge.journal.sqlite import SqliteJournal
from rxbridge.pulsestream_server import EmbeddedPulseStream
from rxbridge.simulator import Credentials, Simulator

Start: TypeAlias = Callable[..., Any]

CHANNELS = "full,status,auctionfeed,rfq_matches"
KEY = Credentials("the-simulators-key-7", base64.b64encode(b"the simulator's secret").decode(), "its-passphrase-9")
SETTINGS = {
    "PULSESTREAM_API_KEY": "a-key-of-a-tenant",
    "RXBRIDGE_FEED_CHANNELS": CHANNELS,
    "RXBRIDGE_FEED_API_KEY": KEY.key,
    "RXBRIDGE_FEED_API_SECRET": KEY.secret,
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPulseStream]:
    database = str(tmp_path / "stored.sqlite")
    with EmbeddedPulseStream(database=database, api_key=SETTINGS["PULSESTREAM_API_KEY"], rate_limit=0) as one:
        yield one


def stored(folder: Path) -> dict[str, dict[str, Any]]:
    with closing(sqlite3.connect(f"file:{folder / 'stored.sqlite'}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT external_id, payload FROM events").fetchall()
    assert len(dict(rows)) == len(rows), "something is stored twice"
    return {key: json.loads(body)["custom_data"] for key, body in rows}


def trades_of(product: str, events: Iterable[str]) -> set[int]:
    return {int(key.rpartition("-")[2]) for key in events if key.startswith(f"coinbase-{product}-match-")}


def is_whole(trades: set[int], made: range) -> bool:
    """Whether they are all there, from the first of them to the last that was made: what was missed is fetched."""
    return bool(trades) and trades == set(range(min(trades), made[-1] + 1))


def test_all_that_a_key_opens_is_delivered_once_across_reconnects(
    command: Start, wait_for: Start, server: EmbeddedPulseStream, tmp_path: Path
) -> None:
    (tmp_path / "passphrase").write_text(KEY.passphrase)
    settings = {**SETTINGS, "RXBRIDGE_FEED_API_PASSPHRASE_FILE": str(tmp_path / "passphrase")}
    where = ("--pulsestream-url", server.url, "--journal", tmp_path / "journal")
    products = ("BTC-USD", "ETH-USD", "NEW-USD:untraded")
    faults = [Fault("close", at=2.0, every=2.0, code=1012)]
    with Simulator(products=products, rate=60, status_seconds=0.2, credentials=KEY, faults=faults) as simulator:
        run = command(
            *("run", "--feed-url", simulator.url, *where, "--products", "BTC-USD,ETH-USD,NEW-USD"), **settings
        )
        wait_for(lambda: simulator.statistics.faults["close"] >= 2)
        wait_for(lambda: simulator.statistics.frames["rfq_match"] and simulator.statistics.frames["auction"])
        wait_for(lambda: simulator.statistics.frames["status"] > 10)
        simulator.pause()
        made = {product: simulator.trades(product) for product in ("BTC-USD", "ETH-USD")}
        wait_for(lambda: all(is_whole(trades_of(product, stored(tmp_path)), ids) for product, ids in made.items()))
        run.send(signal.SIGTERM)
        assert run.wait() == 0, run.stderr

    events = stored(tmp_path)
    kinds = Counter(payload["kind"] for key, payload in events.items() if "-order-" in key)
    assert {"received", "open", "done"} <= kinds.keys()
    assert any("-rfq-" in key for key in events)
    assert {payload["product_id"] for key, payload in events.items() if "-auction-" in key} == {"NEW-USD"}
    listed = [key for key in events if "-status-" in key]
    hours = {key.split("-status-")[1][:10] for key in listed}
    assert len(listed) == 3 * len(hours), "a status that has not changed is one event an hour"
    with closing(SqliteJournal(tmp_path / "journal", role="read")) as journal:
        assert {gap.channel for gap in journal.market_gaps()} <= {"full", "auctionfeed"}
        assert "full" in {gap.channel for gap in journal.market_gaps()}
    audit = command("verify", "--json", *where, **settings)
    assert audit.wait() == 0, audit.stdout + audit.stderr
    found = json.loads(audit.stdout)
    assert (found["missing"], found["duplicates"], found["dead"], found["trade_holes"]) == (0, 0, 0, 0)
    for text in (run.stdout, run.stderr, audit.stdout, audit.stderr):
        assert not [secret for secret in KEY if secret in text]


def test_a_channel_that_needs_a_key_ends_a_run_without_one_with_what_to_set(
    command: Start, server: EmbeddedPulseStream, tmp_path: Path
) -> None:
    with Simulator(credentials=KEY) as simulator:
        run = command(
            *("run", "--feed-url", simulator.url, "--pulsestream-url", server.url, "--journal", tmp_path / "journal"),
            *("--channels", "full"),
            PULSESTREAM_API_KEY=SETTINGS["PULSESTREAM_API_KEY"],
        )
        assert run.wait() == 78

    assert "the channel 'full' needs a key" in run.stderr
    assert "feed.api_secret" in run.stderr
