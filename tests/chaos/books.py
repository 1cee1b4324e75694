"""What is written where: the events that PulseStream stored, and the frames that the journal holds.

Frames are read here without the help of what they test.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

from rxbridge.backfill import CONSUMER as BACKFILL
from rxbridge.confirmation import CONSUMER as CONFIRMATION
from rxbridge.journal import Gap, MarketGap, SqliteJournal
from rxbridge.messages import OWN_CONNECTION, Frame
from rxbridge.progress import CONSUMER

Levels: TypeAlias = tuple[tuple[Decimal, Decimal], ...]
Kind: TypeAlias = Literal["trade", "ticker", "book"]

_EXCHANGE: dict[str, Kind] = {
    "match": "trade",
    "last_match": "trade",
    "ticker": "ticker",
    "snapshot": "book",
    "l2update": "book",
}
_ADVANCED: dict[str, tuple[Kind, str]] = {
    "market_trades": ("trade", "trades"),
    "ticker": ("ticker", "tickers"),
    "l2_data": ("book", ""),
}
"""By channel: what its events hold, and in which field; nothing where the event itself is it."""

_HEARTBEATS = frozenset({"heartbeat", "heartbeats"})

_NUMBER = re.compile(rb'\{"channel":[^{}\[\]]*?"sequence_num":(\d+)[,}]')
"""Also of a frame that was damaged behind it. One that was damaged before it has none."""


class Entry(NamedTuple):
    """A trade, a ticker, or a message of a book, as far as the suite needs it; the id is 0 where there is none."""

    kind: Kind
    product: str
    trade_id: int
    connection: int


class Jump(NamedTuple):
    """Two frames of one connection, one after the other, between whose numbers others are missing.

    Attributes:
        before: Which frame of all that were received the first of them is.
        first: When it was received, in nanoseconds since the Unix epoch.
        last: Likewise for the second.
        lost: How many are missing.
    """

    before: int
    first: int
    last: int
    lost: int


class Books(NamedTuple):
    """What a journal says.

    Attributes:
        entries: Trades, tickers and books, in order.
        times: When the frames of each connection were received, in order.
        jumps: Where frames of Advanced Trade are missing by their numbers.
        waiting: Frames other than heartbeats that are not acknowledged.
        unconfirmed: Those that are not confirmed, where that was asked for.
        unfollowed: Those in which nobody has looked for holes and disconnects yet.
        gaps: What the file has lost.
        market_gaps: What Coinbase's feed has lost.
        dropped: Frames whose event a policy has dropped.
        too_early: Event ids that PulseStream has refused because their time is in its future.
    """

    entries: list[Entry]
    times: dict[int, list[int]]
    jumps: list[Jump]
    waiting: int
    unconfirmed: int
    unfollowed: int
    gaps: list[Gap]
    market_gaps: list[MarketGap]
    dropped: int
    too_early: frozenset[str]

    def connections(self, kind: Kind) -> list[int]:
        """The connections that brought this, in order."""
        return list(dict.fromkeys(entry.connection for entry in self.entries if entry.kind == kind))

    def trades_seen(self, product: str) -> set[int]:
        """The ids of a product's trades that came by a connection."""
        return {
            entry.trade_id
            for entry in self.entries
            if entry.kind == "trade" and entry.product == product and entry.connection != OWN_CONNECTION
        }


def stored(database: Path) -> Counter[str]:
    """How many rows PulseStream has for each event id."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        return Counter(dict(connection.execute("SELECT external_id, count(*) FROM events GROUP BY external_id")))


class Image(NamedTuple):
    """An image of a product's book, as PulseStream has it: prices and sizes, from the best outwards."""

    event_id: str
    product: str
    bids: Levels
    asks: Levels
    is_crossed: bool


def images(database: Path) -> list[Image]:
    """All images of books that PulseStream has, the newest first."""
    query = "SELECT external_id, payload FROM events WHERE external_id LIKE 'coinbase-%-book-%' ORDER BY id DESC"
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = [(key, json.loads(body)["custom_data"]) for key, body in connection.execute(query)]
    return [
        Image(key, told["product_id"], levels(told["bids"]), levels(told["asks"]), told["is_crossed"])
        for key, told in rows
    ]


def levels(told: Sequence[Sequence[Any]]) -> Levels:
    """Prices and sizes, each of which begins an entry, as numbers."""
    return tuple((Decimal(level[0]), Decimal(level[1])) for level in told)


def read_books(path: Path) -> Books:
    """Everything in a journal, which may be in use.

    Raises:
        JournalError: It cannot be read.
    """
    entries: list[Entry] = []
    times: dict[int, list[int]] = {}
    numbers = _Numbers()
    with closing(SqliteJournal(path, role="read")) as journal:
        delivered, confirmed, followed = map(journal.cursor, (CONSUMER, CONFIRMATION, BACKFILL))
        waiting = unconfirmed = unfollowed = 0
        for frame in _all(journal):
            value = _read(frame)
            times.setdefault(frame.connection, []).append(frame.received_at)
            numbers.see(frame)
            entries.extend(_entries(value, frame.connection))
            counts = (value.get("channel") or value.get("type")) not in _HEARTBEATS
            waiting += counts and frame.offset > delivered
            unconfirmed += counts and frame.offset > confirmed
            unfollowed += counts and frame.offset > followed
        return Books(
            entries,
            times,
            numbers.jumps,
            waiting,
            unconfirmed,
            unfollowed,
            list(journal.gaps()),
            list(journal.market_gaps()),
            sum(1 for _ in journal.dropped()),
            frozenset(letter.event_id for letter in journal.dead_letters() if "in the future" in letter.reason),
        )


class _Numbers:
    """Follows the numbers of the frames of Advanced Trade."""

    def __init__(self) -> None:
        self.jumps: list[Jump] = []
        self._seen = 0
        self._connection = self._offset = self._received_at = 0
        self._newest: int | None = None

    def see(self, frame: Frame) -> None:
        """The next frame of the journal."""
        if frame.offset != self._offset + 1:
            # What the file has lost may have been there when it was followed.
            self._newest = None
        self._offset = frame.offset
        if frame.connection == OWN_CONNECTION:
            return
        if frame.connection != self._connection:
            self._connection, self._newest = frame.connection, None
        found = _NUMBER.match(frame.data[:256])
        number = None if found is None else int(found[1])
        if number is not None and self._newest is not None and number > self._newest + 1:
            lost = number - self._newest - 1
            self.jumps.append(Jump(self._seen - 1, self._received_at, frame.received_at, lost))
        if number is not None:
            self._newest = max(number, self._newest or 0)
        self._received_at = frame.received_at
        self._seen += 1


def _all(journal: SqliteJournal) -> Iterator[Frame]:
    after = 0
    while frames := journal.read(after):
        yield from frames
        after = frames[-1].offset


def _read(frame: Frame) -> dict[str, Any]:
    try:
        value = json.loads(frame.data)
    except (ValueError, RecursionError):
        return {}
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _entries(value: dict[str, Any], connection: int) -> Iterator[Entry]:
    """What a frame of either feed holds; whatever is damaged in it is passed over."""
    name = value.get("channel")
    if name is None:
        if (kind := _EXCHANGE.get(str(value.get("type")))) is not None:
            yield _entry(kind, value, connection)
        return
    if (held := _ADVANCED.get(str(name))) is None:
        return
    kind, items = held
    for event in _objects(value.get("events")):
        for item in _objects(event.get(items)) if items else [event]:
            yield _entry(kind, item, connection)


def _entry(kind: Kind, value: dict[str, Any], connection: int) -> Entry:
    return Entry(kind, str(value.get("product_id")), _trade(value), connection)


def _objects(value: object) -> list[dict[str, Any]]:
    return [one for one in cast("list[Any]", value) if isinstance(one, dict)] if isinstance(value, list) else []


def _trade(value: dict[str, Any]) -> int:
    number = value.get("trade_id")
    if isinstance(number, str) and number.isascii() and number.isdigit():
        return int(number)
    return number if isinstance(number, int) else 0
