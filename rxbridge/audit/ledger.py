"""The ledger: every event that is expected, with what became of it, in a temporary SQLite file.

So memory stays flat however many there are. Entries are written a thousand at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_PAGE = 1_000
_CACHE_KIBIBYTES = 16_384

_TABLES = f"""
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -{_CACHE_KIBIBYTES};
CREATE TABLE entry (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    frame_offset INTEGER NOT NULL,
    stored INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE given_up (frame_offset INTEGER PRIMARY KEY, state TEXT NOT NULL);
BEGIN;
"""
_MISSING = "FROM entry WHERE state = 'delivered' AND stored = 0"


class Balance(NamedTuple):
    """The sums of a ledger; `Audit` says what they mean."""

    received: int
    delivered: int
    dead: int
    dropped: int
    purged: int
    waiting: int
    stored: int
    duplicates: int
    missing: int


class Ledger:
    """Entries by event id; for a frame that never became an event, by its offset.

    Attributes:
        repeated: Events that were entered more than once.
        spans: The first and the last timestamp of the events of each service.
    """

    def __init__(self, path: Path) -> None:
        self.repeated: int = 0
        self.spans: dict[str, tuple[datetime, datetime]] = {}
        self._expected: list[tuple[str, str, int]] = []
        self._found: list[tuple[str]] = []
        self._settled = False
        self._table = sqlite3.connect(path, isolation_level=None)
        self._table.executescript(_TABLES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.close()

    def expect(self, key: str, timestamp: datetime, offset: int, *, acknowledged: bool, service: str) -> None:
        """Enter an event that was received; one that was entered before is counted as repeated."""
        first, last = self.spans.get(service, (timestamp, timestamp))
        self.spans[service] = min(first, timestamp), max(last, timestamp)
        self._enter(key, "delivered" if acknowledged else "waiting", offset)

    def expect_letter(self, key: str, offset: int, *, acknowledged: bool) -> None:
        """Enter a frame that cannot become an event, so that there has to be a dead letter for it."""
        self._enter(key, "unread" if acknowledged else "waiting", offset)

    def dead(self, keys: Iterable[str]) -> None:
        """Enter that these became dead letters."""
        self._flush()
        self._table.executemany("UPDATE entry SET state = 'dead' WHERE id = ?", ((key,) for key in keys))

    def give_up(self, offsets: Iterable[int], state: str) -> None:
        """Enter that what these frames made was `dropped` or `purged`; it counts so unless it is stored or dead."""
        self._settled = False
        rows = ((offset, state) for offset in offsets)
        self._table.executemany("INSERT OR IGNORE INTO given_up VALUES (?, ?)", rows)

    def found(self, event_id: str) -> None:
        """Enter a row that the server holds."""
        self._found.append((event_id,))
        if len(self._found) >= _PAGE:
            self._flush()

    def missing(self, below: int | None = None) -> Iterator[tuple[str, int]]:
        """Delivered events that the server does not hold: their ids and offsets, in the order of the offsets.

        Args:
            below: Only those with offsets up to this one.
        """
        self._settle()
        self._table.execute(
            f"CREATE TEMPORARY TABLE IF NOT EXISTS lost AS SELECT id, frame_offset {_MISSING} ORDER BY frame_offset"
        )
        limit = 2**63 - 1 if below is None else below
        reached = 0
        while page := self._table.execute(
            "SELECT rowid, id, frame_offset FROM lost WHERE rowid > ? AND frame_offset <= ? ORDER BY rowid LIMIT ?",
            (reached, limit, _PAGE),
        ).fetchall():
            for reached, key, offset in page:  # noqa: B007 - the last one is where the next page begins
                yield key, offset

    def missing_ids(self, count: int) -> tuple[str, ...]:
        """The first of those ids, by offset."""
        self._settle()
        rows = self._table.execute(f"SELECT id {_MISSING} ORDER BY frame_offset, id LIMIT ?", (count,))
        return tuple(key for (key,) in rows)

    def missing_above(self, offset: int) -> int:
        """How many of them have offsets above this one."""
        self._settle()
        (count,) = self._table.execute(f"SELECT count(*) {_MISSING} AND frame_offset > ?", (offset,)).fetchone()
        return count

    def balance(self) -> Balance:
        """Close the books."""
        self._settle()
        states = dict(self._table.execute("SELECT state, count(*) FROM entry GROUP BY state").fetchall())
        stored, duplicates = self._table.execute(
            "SELECT count(*), coalesce(sum(stored - 1), 0) FROM entry WHERE stored > 0"
        ).fetchone()
        (missing,) = self._table.execute(f"SELECT count(*) {_MISSING}").fetchone()
        purged = states.get("purged", 0)
        return Balance(
            received=sum(states.values()),
            delivered=states.get("delivered", 0),
            dead=states.get("dead", 0),
            dropped=states.get("dropped", 0) + purged,
            purged=purged,
            waiting=states.get("waiting", 0),
            stored=stored,
            duplicates=duplicates,
            missing=missing,
        )

    def _enter(self, key: str, state: str, offset: int) -> None:
        self._expected.append((key, state, offset))
        if len(self._expected) >= _PAGE:
            self._flush()

    def _flush(self) -> None:
        self._settled = self._settled and not (self._expected or self._found)
        if self._expected:
            added = self._table.executemany(
                "INSERT OR IGNORE INTO entry (id, state, frame_offset) VALUES (?, ?, ?)", self._expected
            )
            self.repeated += len(self._expected) - added.rowcount
            self._expected.clear()
        if self._found:
            self._table.executemany("UPDATE entry SET stored = stored + 1 WHERE id = ?", self._found)
            self._found.clear()

    def _settle(self) -> None:
        """Let what was given up count so."""
        self._flush()
        if self._settled:
            return
        self._settled = True
        given_up = "SELECT given_up.state FROM given_up WHERE given_up.frame_offset = entry.frame_offset"
        self._table.execute(
            f"UPDATE entry SET state = ({given_up}) "  # noqa: S608 - our own words
            f"WHERE state IN ('delivered', 'unread') AND stored = 0 AND EXISTS ({given_up})"
        )
