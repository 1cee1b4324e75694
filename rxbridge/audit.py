"""The proof: what the journal received, held against what PulseStream holds.

The journal is read through the very pipeline that delivers, and the server through its search, each once and in
order; ids meet in a temporary SQLite table, so that memory stays flat however many there are.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import reactivex

from rxbridge.delivery import CONSUMER
from rxbridge.events import SERVICE, EncodedEvent
from rxbridge.journal import DeadLetter, Journal
from rxbridge.messages import Frame
from rxbridge.pipeline import events
from rxbridge.pulsestream import PulseStreamClient, stored_events
from rxbridge.telemetry.statistics import DeliveryStatistics

Report = Callable[[str, int, int], None]
"""Is told of progress: what is being read, how far, of how much (0 if that is not known)."""


class Audit(msgspec.Struct, frozen=True):
    """The result, in events.

    Attributes:
        received: Events that the received frames made or should have made.
        delivered: Those that are acknowledged as stored.
        dead: Those that are dead letters.
        dropped: Those that the journal's overflow policy gave up.
        waiting: Those that are still to be delivered.
        stored: Received events that the server holds.
        duplicates: Rows that the server holds beyond one for each of them.
        missing: Delivered events that the server does not hold.
        ignored: Frames that make no event; not among the received.
        repeated: Frames whose event was received before; not among the received.
        unreadable: Frames that the journal's file lost, which may have made events that nobody can know of.
        missing_ids: The first hundred of the missing.
    """

    received: int
    delivered: int
    dead: int
    dropped: int
    waiting: int
    stored: int
    duplicates: int
    missing: int
    ignored: int
    repeated: int
    unreadable: int
    missing_ids: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing lost, nothing stored twice, nothing unaccounted for."""
        accounted = self.delivered + self.dead + self.dropped + self.waiting
        return self.received == accounted and self.missing == self.duplicates == self.unreadable == 0

    def __str__(self) -> str:
        """The line that every audit ends with."""
        names = ("received", "delivered", "dead", "dropped", "waiting", "stored", "duplicates", "missing")
        counts = " ".join(f"{name}={getattr(self, name)}" for name in names)
        return f"audit {'ok' if self.ok else 'FAILED'}: {counts}"


def audit(
    journal: Journal,
    client: PulseStreamClient,
    *,
    channels: Sequence[str],
    report: Report = lambda _what, _done, _total: None,
) -> Audit:
    """Compare what the journal holds with what PulseStream holds.

    Frames that the journal has pruned, because they were delivered long ago, are outside of the audit.

    Args:
        journal: May be in use by a running bridge; the audit then speaks of the moment at which it began.
        client: Where to look.
        channels: Whose messages become events.
        report: Is told of progress.

    Raises:
        Unreachable: PulseStream cannot be asked.
        Unauthorized: It refuses the key.
    """
    with tempfile.TemporaryDirectory(prefix="rxbridge-audit-") as folder, Ledger(Path(folder) / "ledger") as ledger:
        # Before the frames: what is dropped meanwhile is then counted in one place at most.
        gaps = list(journal.gaps())
        counted = _read_journal(journal, ledger, channels, report)
        for letter in journal.dead_letters():
            ledger.dead(letter)
        if ledger.first is not None and ledger.last is not None:
            end = ledger.last + timedelta(milliseconds=1)
            for done, row in enumerate(stored_events(client, service=SERVICE, start=ledger.first, end=end), 1):
                ledger.found(row.event_id)
                if done % 1000 == 0:
                    report("PulseStream", done, counted.received)
        return ledger.balance(
            dropped=sum(gap.events for gap in gaps if gap.kind == "dropped"),
            unreadable=sum(max(gap.frames, 1) for gap in gaps if gap.kind != "dropped"),
            ignored=counted.ignored,
            repeated=counted.repeated,
        )


def _read_journal(journal: Journal, ledger: Ledger, channels: Sequence[str], report: Report) -> DeliveryStatistics:
    cursor, size = journal.cursor(CONSUMER), journal.size()
    counted = DeliveryStatistics()

    def frames() -> Iterator[Frame]:
        after = max(size.first_offset - 1, 0)
        while after < size.last_offset and (read := journal.read(after)):
            yield from (frame for frame in read if frame.offset <= size.last_offset)
            after = read[-1].offset
            report("journal", after - size.first_offset + 1, size.last_offset - size.first_offset + 1)

    def expect(event: EncodedEvent) -> None:
        if not ledger.expect(event.event_id, event.timestamp, acknowledged=event.offset <= cursor):
            counted.repeated += 1

    def expect_letter(letter: DeadLetter) -> None:
        ledger.expect(_key(letter), None, acknowledged=letter.offset <= cursor)

    failures: list[Exception] = []
    reactivex.from_iterable(frames()).pipe(
        events(channels=channels, environment="", statistics=counted, dead_letter=expect_letter)
    ).subscribe(expect, failures.append)
    if failures:
        raise failures[0]
    return counted


def _key(letter: DeadLetter) -> str:
    """A frame that never became an event is known by its offset."""
    return letter.event_id or f"frame {letter.offset}"


class Ledger:
    """Every event that is expected, with what became of it, in a temporary SQLite file."""

    def __init__(self, path: Path) -> None:
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._table = sqlite3.connect(path, isolation_level=None)
        self._table.executescript(
            """
            PRAGMA journal_mode = OFF;
            PRAGMA synchronous = OFF;
            CREATE TABLE entry (
                id TEXT PRIMARY KEY,
                state TEXT NOT NULL,
                stored INTEGER NOT NULL DEFAULT 0
            ) WITHOUT ROWID;
            BEGIN;
            """
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.close()

    def expect(self, key: str, timestamp: datetime | None, *, acknowledged: bool) -> bool:
        """Enter what was received; False if it was entered before."""
        if timestamp is not None:
            self.first = timestamp if self.first is None else min(self.first, timestamp)
            self.last = timestamp if self.last is None else max(self.last, timestamp)
        state = "unread" if timestamp is None else "delivered"
        added = self._table.execute(
            "INSERT OR IGNORE INTO entry (id, state) VALUES (?, ?)", (key, state if acknowledged else "waiting")
        )
        return added.rowcount == 1

    def dead(self, letter: DeadLetter) -> None:
        """Enter that something became a dead letter."""
        self._table.execute("UPDATE entry SET state = 'dead' WHERE id = ?", (_key(letter),))

    def found(self, event_id: str) -> None:
        """Enter a row that the server holds."""
        self._table.execute("UPDATE entry SET stored = stored + 1 WHERE id = ?", (event_id,))

    def balance(self, *, dropped: int, unreadable: int, ignored: int, repeated: int) -> Audit:
        """Close the books."""
        states = dict(self._table.execute("SELECT state, count(*) FROM entry GROUP BY state").fetchall())
        stored, duplicates = self._table.execute(
            "SELECT count(*), coalesce(sum(stored - 1), 0) FROM entry WHERE stored > 0"
        ).fetchone()
        missing = "FROM entry WHERE state = 'delivered' AND stored = 0"
        return Audit(
            received=sum(states.values()) + dropped,
            delivered=states.get("delivered", 0),
            dead=states.get("dead", 0),
            dropped=dropped,
            waiting=states.get("waiting", 0),
            stored=stored,
            duplicates=duplicates,
            missing=self._table.execute(f"SELECT count(*) {missing}").fetchone()[0],
            ignored=ignored,
            repeated=repeated,
            unreadable=unreadable,
            missing_ids=tuple(key for (key,) in self._table.execute(f"SELECT id {missing} ORDER BY id LIMIT 100")),
        )
