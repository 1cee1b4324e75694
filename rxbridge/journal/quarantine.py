"""What becomes of a journal file that cannot be used: it is moved aside, and a new one takes its place.

The new file is made from what can still be read, completely, under another name; only then are the two exchanged. So
a process that is killed at any instant leaves the old file, or a new one that is whole.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from rxbridge.errors import JournalCorrupt, JournalError
from rxbridge.journal.bookkeeping import RECORD_GAP, gap_columns, rescue, slowest_cursor
from rxbridge.journal.interface import Gap
from rxbridge.journal.scan import Hole, Scanner
from rxbridge.journal.schema import APPLICATION_ID, BOOKS, connect, create, has_table, single
from rxbridge.journal.sidecar import Sidecar
from rxbridge.journal.store import Store
from rxbridge.messages import Frame

_PARTS = ("-wal", "-shm", "")
_ROWS_A_TRANSACTION = 256


def finish_exchange(path: Path) -> None:
    """Complete an exchange in which a process was killed; the caller has the sidecar exclusively."""
    if _renewed(path).exists():
        _exchange(path, _name_aside(path))


def renew(
    path: Path,
    sidecar: Sidecar,
    error: Exception,
    make_store: Callable[[sqlite3.Connection, Path], Store],
    tell: Callable[[JournalError], None],
) -> None:
    """Put a new journal in the place of the one at `path`; the caller has the sidecar exclusively.

    Cursors, dead letters, gaps and unacknowledged frames go over as far as they can be read. What cannot be is
    recorded as a gap of the kind `quarantined`, and offsets go on above those that were ever given out, if the sidecar
    or the file itself knows them.

    Args:
        path: The journal.
        sidecar: Its sidecar.
        error: What is wrong with it.
        make_store: Makes the writer of the new file.
        tell: Is told what happened.

    Raises:
        sqlite3.Error: The new file cannot be written.
        OSError: Likewise, or the old one cannot be moved.
    """
    aside = _name_aside(path)
    draft = path.with_name(path.name + ".draft")
    for part in _PARTS:
        draft.with_name(draft.name + part).unlink(missing_ok=True)
    reason = f"the file could not be used and is now {aside.name}: {error}"
    with closing(connect(draft, create=True)) as connection:
        create(connection, draft)
        lost = _Salvage(path, connection, make_store(connection, draft), sidecar).run(reason)
    draft.rename(_renewed(path))
    _exchange(path, aside)
    tell(JournalCorrupt(str(path), f"{reason}; {lost} unacknowledged frames are lost"))


def record_disappearance(connection: sqlite3.Connection, store: Store, sidecar: Sidecar) -> Gap | None:
    """In a new journal: go on above the offsets of one that has disappeared, and record the gap; None if none has."""
    last_offset, acknowledged = sidecar.recall("last_offset"), sidecar.recall("acknowledged")
    if not last_offset:
        return None
    lost = max(last_offset - acknowledged, 0)
    reason = "the file has disappeared"
    first = acknowledged + 1 if lost else 0
    gap = Gap("quarantined", reason, time.time_ns(), first, last_offset if lost else 0, lost, 0)
    connection.execute("BEGIN IMMEDIATE")
    store.advance(last_offset)
    connection.execute(RECORD_GAP, gap_columns(gap))
    connection.execute("COMMIT")
    return gap


class _Salvage:
    """Copies what can be read of the journal at `path` to an empty one."""

    def __init__(self, path: Path, target: sqlite3.Connection, store: Store, sidecar: Sidecar) -> None:
        self._path = path
        self._target = target
        self._store = store
        self._sidecar = sidecar
        self._next = sidecar.recall("acknowledged") + 1
        self._missing: list[range] = []

    def run(self, reason: str) -> int:
        """Copy, and record what is missing; the number of frames that is."""
        self._store.load()
        source = _open_damaged(self._path)
        if source is not None:
            with closing(source):
                self._copy_books(source)
                self._copy_frames(source)
        return self._record(reason)

    def _copy_books(self, source: sqlite3.Connection) -> None:
        self._target.execute("BEGIN IMMEDIATE")
        for table, key in BOOKS.items():
            for row in rescue(source, table, key):
                places = ", ".join("?" * len(row))
                # The names are our own; a row that is damaged itself is ignored.
                self._target.execute(f"INSERT OR IGNORE INTO {table} VALUES ({places})", row)  # noqa: S608
        self._target.execute("COMMIT")
        if cursor := slowest_cursor(self._target):
            # The lower is the safer: a damaged file may have lost its newest changes, or a cursor.
            acknowledged = self._sidecar.recall("acknowledged")
            self._next = (min(cursor, acknowledged) if self._sidecar.recall("last_offset") else cursor) + 1

    def _copy_frames(self, source: sqlite3.Connection) -> None:
        for number, frames in enumerate(_readable(source, self._next)):
            if number % _ROWS_A_TRANSACTION == 0:
                self._commit()
                self._target.execute("BEGIN IMMEDIATE")
            first = frames[0].offset
            self._missing.append(range(self._next, first))
            self._store.add_row(frames, after=first - 1)
            self._next = frames[-1].offset + 1
        self._commit()

    def _record(self, reason: str) -> int:
        furthest = single(self._target, "SELECT max(CAST(acknowledged AS INTEGER)) FROM cursors")
        last_offset = max(self._sidecar.recall("last_offset"), self._next - 1, furthest)
        self._missing.append(range(self._next, last_offset + 1))
        known = [
            range(first, last + 1)
            for first, last in self._target.execute(
                "SELECT CAST(first_offset AS INTEGER), CAST(last_offset AS INTEGER) FROM gaps ORDER BY first_offset"
            )
        ]
        lost = [part for missing in self._missing for part in _without(missing, known)]
        if not last_offset:
            reason += " (how far it had come is not known, so offsets begin at 1)"
        now = time.time_ns()
        gaps = [Gap("quarantined", reason, now, part[0], part[-1], len(part), 0) for part in lost]
        self._target.execute("BEGIN IMMEDIATE")
        self._store.advance(last_offset)
        self._target.executemany(
            RECORD_GAP, [gap_columns(gap) for gap in gaps or [Gap("quarantined", reason, now, 0, 0, 0, 0)]]
        )
        self._commit()
        return sum(map(len, lost))

    def _commit(self) -> None:
        if self._target.in_transaction:
            self._target.execute("COMMIT")


def _open_damaged(path: Path) -> sqlite3.Connection | None:
    """Open it if it is a journal of which anything can be read."""
    try:
        source = connect(path, salvage=True)
    except sqlite3.Error:
        # So nothing can be read: the gap says how much that was.
        return None
    try:
        if single(source, "PRAGMA application_id") == APPLICATION_ID:
            return source
    except sqlite3.Error:
        # Likewise.
        pass
    source.close()
    return None


def _readable(source: sqlite3.Connection, position: int) -> Iterator[list[Frame]]:
    try:
        if not has_table(source, "rows"):
            return
        for item in Scanner(source, passes_io_errors=True).scan(position, thoroughly=True):
            if not isinstance(item, Hole):
                yield item
    except sqlite3.Error:
        # Nothing more can be read: the gap says how much that is.
        return


def _without(missing: range, known: list[range]) -> Iterator[range]:
    """The parts of a range that are in none of the known ones, which are in order."""
    start = missing.start
    for part in known:
        if part.start < missing.stop and part.stop > start:
            if part.start > start:
                yield range(start, part.start)
            start = part.stop
    if start < missing.stop:
        yield range(start, missing.stop)


def _exchange(path: Path, aside: Path) -> None:
    # The log first: one that stayed behind would be taken for the new file's.
    for part in _PARTS:
        old = path.with_name(path.name + part)
        if old.exists():
            old.rename(aside.with_name(aside.name + part))
    _renewed(path).rename(path)


def _renewed(path: Path) -> Path:
    return path.with_name(path.name + ".renewed")


def _name_aside(path: Path) -> Path:
    stem = f"{path.name}.corrupt-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}"
    name, number = path.with_name(stem), 1
    while name.exists() or name.with_name(name.name + "-wal").exists():
        number += 1
        name = path.with_name(f"{stem}-{number}")
    return name
