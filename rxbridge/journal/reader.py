"""The reading side of a journal's SQLite file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from rxbridge.errors import JournalCorrupt, JournalError
from rxbridge.journal import bookkeeping
from rxbridge.journal.interface import DeadLetter, Gap, JournalSize, MarketGap
from rxbridge.journal.scan import Hole, Scanner
from rxbridge.journal.schema import SCHEMA_VERSION, UnusableFile, check, connect, identity, single
from rxbridge.journal.sidecar import Sidecar
from rxbridge.journal.trouble import trouble
from rxbridge.messages import Frame

_T = TypeVar("_T")

_READ_BYTES = 2**20
_PATIENCE_SECONDS = 5.0
_RETRY_SECONDS = 0.1
_OLDEST = "FROM rows ORDER BY first_offset LIMIT 1"
_NEWEST = "FROM rows ORDER BY first_offset DESC LIMIT 1"
# The names are our own.
_NEWEST_OFFSET = f"SELECT first_offset + frames - 1 {_NEWEST}"
_LAST_OFFSET = f"SELECT max(last_offset, coalesce(({_NEWEST_OFFSET}), 0)) FROM state"  # noqa: S608
_SIZE = f"""
SELECT
    (SELECT frames_before + frames {_NEWEST}) - (SELECT frames_before {_OLDEST}),
    (SELECT bytes_before + length(body) {_NEWEST}) - (SELECT bytes_before {_OLDEST}),
    (SELECT first_offset {_OLDEST}),
    ({_LAST_OFFSET})
"""


class Reader:
    """Reads frames and books, from any thread, in transactions that last no longer than a call.

    Args:
        path: The journal, which must exist.
        found: Is told of each hole that is met, again each time.
        damaged: Is told when the file cannot be read at all.

    Raises:
        JournalError: The file was written by a newer version, or cannot be opened.
    """

    def __init__(self, path: Path, *, found: Callable[[Hole], None], damaged: Callable[[JournalCorrupt], None]) -> None:
        self._path = path
        self._found = found
        self._damaged = damaged
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._closed = False
        self._sidecar = Sidecar(path, writable=False)
        try:
            self._retrying(lambda connection, _: self._check(connection))
        except BaseException:
            self.close()
            raise

    def read(self, after: int, limit: int) -> tuple[list[Frame], int]:
        """The next frames above `after`: `limit` at most, and about a mebibyte unless one alone is larger.

        Returns:
            The frames; and the newest offset that there was when they were read, 0 if there was none.
        """
        frames, holes, newest = self._retrying(
            lambda connection, patient: _read(connection, after, limit, passes_io_errors=not patient)
        )
        for hole in holes:
            self._found(hole)
        return frames, newest

    def newest(self) -> int:
        """The newest offset that can be read, 0 if none can."""
        return self._retrying(lambda connection, _: single(connection, _NEWEST_OFFSET))

    def last_offset(self) -> int:
        """The newest offset ever given out."""
        return self._retrying(lambda connection, _: single(connection, _LAST_OFFSET))

    def cursor(self, consumer: str) -> int:
        """What `consumer` has acknowledged."""
        statement = "SELECT acknowledged FROM cursors WHERE consumer = ?"
        name = bookkeeping.storable(consumer)
        return self._retrying(lambda connection, _: single(connection, statement, (name,)))

    def size(self) -> JournalSize:
        """How much there is; nothing is ever pending here."""
        return self._retrying(lambda connection, _: _size(connection))

    def dead_letters(self, after: int) -> Iterator[DeadLetter]:
        """All of them above `after`, by offset and event id, a page a transaction."""
        seen: tuple[int, str] | None = None
        while page := self._retrying(
            lambda connection, _, seen=seen: bookkeeping.dead_letters(connection, after, seen)
        ):
            yield from page
            seen = (page[-1].offset, page[-1].event_id)

    def gaps(self) -> Iterator[Gap]:
        """All of them, oldest first, a page a transaction."""
        after = 0
        while page := self._retrying(lambda connection, _, after=after: bookkeeping.gaps(connection, after)):
            for after, gap in page:  # noqa: B007 - the last one is where the next page begins
                yield gap

    def let_go(self) -> int:
        """How many frames were let go."""
        return self._retrying(lambda connection, _: bookkeeping.let_go(connection))

    def market_gaps(self) -> Iterator[MarketGap]:
        """All of them, oldest first, a page a transaction."""
        after = 0
        while page := self._retrying(lambda connection, _, after=after: bookkeeping.market_gaps(connection, after)):
            for after, gap in page:  # noqa: B007 - the last one is where the next page begins
                yield gap

    def dropped(self, after: int) -> Iterator[int]:
        """The offsets above `after` whose events were dropped, ascending, a page a transaction."""
        while page := self._retrying(lambda connection, _, after=after: bookkeeping.drops(connection, after)):
            for last_offset, offsets in page:
                yield from (offset for offset in offsets if offset > after)
                after = last_offset

    def recall(self, name: str) -> bytes | None:
        """The note of this name."""
        statement = "SELECT value FROM notes WHERE name = ?"
        row = self._retrying(
            lambda connection, _: connection.execute(statement, (bookkeeping.storable(name),)).fetchone()
        )
        return None if row is None else bytes(row[0])

    def close(self) -> None:
        """Let go of the file; reading raises from now on. Twice is as good as once."""
        with self._lock:
            self._closed = True
            self._disconnect()
            self._sidecar.close()

    def _retrying(self, read: Callable[[sqlite3.Connection, bool], _T]) -> _T:
        """Call `read`, again for a while if the disk fails; it is told whether there is still time for that."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            patient = time.monotonic() < deadline
            try:
                with self._lock:
                    return read(self._connected(), patient)
            except BaseException as error:
                # Whatever it is, a transaction may have been left open.
                with self._lock:
                    self._disconnect()
                if not isinstance(error, sqlite3.Error):
                    raise
                if trouble(error) == "damaged":
                    corrupt = JournalCorrupt(str(self._path), f"cannot be read: {error}")
                    self._damaged(corrupt)
                    raise corrupt from error
                if not patient:
                    raise JournalError(str(self._path), f"cannot be read: {error}") from error
            time.sleep(_RETRY_SECONDS)

    def _connected(self) -> sqlite3.Connection:
        if self._closed:
            raise JournalError(str(self._path), "is closed")
        if self._connection is not None and identity(self._path) != self._identity:
            # The file was replaced, because it was damaged.
            self._disconnect()
        if self._connection is None:
            with self._sidecar.shared():
                self._connection = connect(self._path)
                self._identity = identity(self._path)
            self._connection.execute("PRAGMA query_only = ON").close()
        return self._connection

    def _check(self, connection: sqlite3.Connection) -> None:
        version = check(connection, self._path)
        if version == 0:
            raise JournalError(str(self._path), "is empty: nothing has ever fed it")
        if version < SCHEMA_VERSION:
            problem = f"was written by an older rxbridge (schema {version}); `rxbridge run` brings it up to date"
            raise JournalError(str(self._path), problem)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _read(
    connection: sqlite3.Connection, after: int, limit: int, *, passes_io_errors: bool
) -> tuple[list[Frame], list[Hole], int]:
    frames: list[Frame] = []
    holes: list[Hole] = []
    size = 0
    # One transaction: what it finds must agree with itself.
    connection.execute("BEGIN")
    with closing(Scanner(connection, passes_io_errors=passes_io_errors).scan(after + 1)) as items:
        for item in items:
            if isinstance(item, Hole):
                holes.append(item)
                continue
            frames += item
            size += sum([len(frame.data) for frame in item])
            if len(frames) >= limit or size >= _READ_BYTES:
                break
    newest = single(connection, _NEWEST_OFFSET)
    # After damage was met, SQLite refuses to commit even what has changed nothing.
    connection.execute("ROLLBACK")
    if newest > after and not frames and not holes:
        raise UnusableFile(f"there are frames up to {newest}, but none to be found above {after}")
    return frames[:limit], holes, newest


def _size(connection: sqlite3.Connection) -> JournalSize:
    frames, size, first_offset, last_offset = connection.execute(_SIZE).fetchone()
    return JournalSize(frames or 0, size or 0, first_offset or 0, last_offset or 0, pending_frames=0)
