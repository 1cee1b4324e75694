"""What is written where: the events that PulseStream stored, and the frames that the journal holds."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from rxbridge.backfill import CONSUMER as BACKFILL
from rxbridge.confirmation import CONSUMER as CONFIRMATION
from rxbridge.delivery import CONSUMER
from rxbridge.journal import Gap, MarketGap, SqliteJournal
from rxbridge.messages import OWN_CONNECTION, Frame

TRADES = frozenset({"match", "last_match"})


class Entry(NamedTuple):
    """A frame of a trade or a ticker, as far as the suite needs it."""

    kind: str
    product: str
    trade_id: int
    connection: int


class Books(NamedTuple):
    """What a journal says.

    Attributes:
        entries: Trades and tickers, in order.
        times: When the frames of each connection were received.
        waiting: Frames other than heartbeats that are not acknowledged.
        unconfirmed: Those that are not confirmed, where that was asked for.
        unfollowed: Those in which nobody has looked for holes and disconnects yet.
        gaps: What the file has lost.
        market_gaps: What Coinbase's feed has lost.
        dropped: Frames whose event a policy has dropped.
        too_early: Event ids that PulseStream has refused because their time is in its future.
    """

    entries: list[Entry]
    times: dict[int, set[int]]
    waiting: int
    unconfirmed: int
    unfollowed: int
    gaps: list[Gap]
    market_gaps: list[MarketGap]
    dropped: int
    too_early: frozenset[str]

    def ticker_lines(self) -> list[set[int]]:
        """The connections that brought tickers, in order: for each the times at which frames came."""
        brought = dict.fromkeys(entry.connection for entry in self.entries if entry.kind == "ticker")
        return [self.times[connection] for connection in brought]

    def trades_seen(self, product: str) -> set[int]:
        """The ids of a product's trades that came by a connection."""
        return {
            entry.trade_id
            for entry in self.entries
            if entry.kind in TRADES and entry.product == product and entry.connection != OWN_CONNECTION
        }


def stored(database: Path) -> Counter[str]:
    """How many rows PulseStream has for each event id."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return Counter(dict(connection.execute("SELECT external_id, count(*) FROM events GROUP BY external_id")))


def read_books(path: Path) -> Books:
    """Everything in a journal, which may be in use.

    Raises:
        JournalError: It cannot be read.
    """
    entries: list[Entry] = []
    times: dict[int, set[int]] = {}
    with closing(SqliteJournal(path, role="read")) as journal:
        delivered, confirmed, followed = map(journal.cursor, (CONSUMER, CONFIRMATION, BACKFILL))
        waiting = unconfirmed = unfollowed = 0
        for frame in _all(journal):
            kind, value = _read(frame)
            times.setdefault(frame.connection, set()).add(frame.received_at)
            if kind in TRADES or kind == "ticker":
                entries.append(Entry(kind, str(value.get("product_id")), _trade(value), frame.connection))
            counts = kind != "heartbeat"
            waiting += counts and frame.offset > delivered
            unconfirmed += counts and frame.offset > confirmed
            unfollowed += counts and frame.offset > followed
        return Books(
            entries,
            times,
            waiting,
            unconfirmed,
            unfollowed,
            list(journal.gaps()),
            list(journal.market_gaps()),
            sum(1 for _ in journal.dropped()),
            frozenset(letter.event_id for letter in journal.dead_letters() if "in the future" in letter.reason),
        )


def _all(journal: SqliteJournal) -> Iterator[Frame]:
    after = 0
    while frames := journal.read(after):
        yield from frames
        after = frames[-1].offset


def _read(frame: Frame) -> tuple[str, dict[str, Any]]:
    try:
        value = json.loads(frame.data)
    except (ValueError, RecursionError):
        return "", {}
    if not isinstance(value, dict):
        return "", {}
    return str(value.get("type")), value


def _trade(value: dict[str, Any]) -> int:
    number = value.get("trade_id")
    return number if isinstance(number, int) else 0
