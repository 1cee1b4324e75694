"""Reading rows in order, past whatever is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing

import msgspec

from rxbridge.journal.packing import DamagedRow, Row, unpack
from rxbridge.messages import Frame

# Beginning with the row that holds the offset, which may have begun below it.
_ROWS_FROM = """
SELECT * FROM rows
WHERE first_offset >= coalesce((SELECT max(first_offset) FROM rows WHERE first_offset <= ?1), 0)
ORDER BY first_offset
"""
# The condition cannot be searched for, so this goes through the whole tree, whose inner nodes may be wrong.
_ALL_ROWS_FROM = "SELECT * FROM rows WHERE first_offset + frames > ? ORDER BY first_offset"
_ROW = "SELECT * FROM rows WHERE first_offset = ?"
_HOLDING = "SELECT first_offset FROM rows WHERE first_offset <= ? ORDER BY first_offset DESC LIMIT 1"
_FOLLOWING = "SELECT first_offset FROM rows WHERE first_offset >= ? ORDER BY first_offset LIMIT 1"
# A damaged count may be a value of any type and size. The body's length needs no intact body, and a frame takes bytes.
_COUNT = "SELECT min(CAST(frames AS INTEGER), length(body)) FROM rows WHERE first_offset = ?"
_LARGEST_STEP = 2**48


class Hole(msgspec.Struct, frozen=True):
    """Offsets whose frames cannot be read, inclusive, and why."""

    first_offset: int
    last_offset: int
    reason: str


class Scanner:
    """Reads the rows of a journal.

    A row whose checksum is wrong is a hole of its own. Where SQLite cannot read a page, the next offset that it can
    find is searched in growing steps, so readable rows between two unreadable pages may fall into the hole.

    Args:
        connection: Where from.
        passes_io_errors: Whether a page that the disk does not deliver counts as damaged; else that raises.
    """

    def __init__(self, connection: sqlite3.Connection, *, passes_io_errors: bool) -> None:
        self._connection = connection
        self._passable = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
        if passes_io_errors:
            self._passable.add(sqlite3.SQLITE_IOERR)

    def scan(self, position: int, *, thoroughly: bool = False) -> Generator[list[Frame] | Hole]:
        """The frames from offset `position` on, a row at a time, and holes.

        Args:
            position: Where to begin.
            thoroughly: Whether to look at every row of the journal rather than to trust its order.

        Raises:
            sqlite3.Error: Nothing more can be read, or the error is none of damage.
        """
        statement = _ALL_ROWS_FROM if thoroughly else _ROWS_FROM
        while True:
            try:
                for item in self._rows(statement, position):
                    position = _end(item) + 1
                    yield item
            except sqlite3.DatabaseError as error:
                # The error may have come when the row behind the next one was looked at.
                self._check_passable(error)
                item = self._next(position, error)
                position = _end(item) + 1
                yield item
                statement = _ROWS_FROM
            else:
                return

    def _rows(self, statement: str, position: int) -> Generator[list[Frame] | Hole]:
        stored: int | None = None
        with closing(self._connection.execute(statement, (position,))) as cursor:
            for columns in cursor:
                row = Row(*columns)
                # Offsets may leap, where a file was replaced; the count of what was stored does not.
                if stored is not None and row.frames_before > stored and row.first_offset > position:
                    yield Hole(position, row.first_offset - 1, "rows have disappeared")
                    position = row.first_offset
                item = self._content(row, position)
                stored = None if isinstance(item, Hole) else row.frames_before + row.frames
                if item:
                    position = _end(item) + 1
                    yield item

    def _next(self, position: int, error: sqlite3.DatabaseError) -> list[Frame] | Hole:
        """What comes next, where reading on has met damage."""
        reason = f"a page is damaged: {error}"
        try:
            key = self._find(_HOLDING, position)
            if key is None or self._end_of_row(key, None) < position:
                key = self._find(_FOLLOWING, position)
        except sqlite3.DatabaseError as unreadable:
            self._check_passable(unreadable)
            following = self._search(position + 1)
            if following is None:
                raise error from unreadable
            return Hole(position, following - 1, reason)
        if key is None:
            raise error
        try:
            columns = self._connection.execute(_ROW, (key,)).fetchone()
        except sqlite3.DatabaseError as unreadable:
            self._check_passable(unreadable)
            columns = None
        item = None if columns is None else self._content(Row(*columns), position)
        return item or Hole(max(key, position), max(self._end_of_row(key, self._search(key + 1)), position), reason)

    def _content(self, row: Row, position: int) -> list[Frame] | Hole | None:
        """The frames of a row from `position` on; None if it has none."""
        try:
            frames = unpack(row)
        except DamagedRow as error:
            last = self._end_of_row(row.first_offset, self._find(_FOLLOWING, row.first_offset + 1))
            if last < position:
                return None
            return Hole(max(row.first_offset, position), last, f"a row is damaged: {error}")
        return frames[max(position - row.first_offset, 0) :] or None

    def _end_of_row(self, key: int, following: int | None) -> int:
        """The last offset of a row, which is just below the row that follows: its own count may be wrong."""
        if following is not None:
            return following - 1
        count = self._find(_COUNT, key)
        return key + max(count or 1, 1) - 1

    def _search(self, position: int) -> int | None:
        """The first key at or above `position` that can be found; None if there is none."""
        low, high = -1, 0
        found: int | None = None
        # Steps that double, until something can be read; then halves of the last step.
        while high <= _LARGEST_STEP:
            try:
                found = self._find(_FOLLOWING, position + high)
                break
            except sqlite3.DatabaseError as error:
                self._check_passable(error)
                low, high = high, high * 2 + 1
        while high - low > 1 and found is not None:
            middle = (low + high) // 2
            try:
                found = self._find(_FOLLOWING, position + middle)
                high = middle
            except sqlite3.DatabaseError as error:
                self._check_passable(error)
                low = middle
        return found

    def _find(self, statement: str, parameter: int) -> int | None:
        row = self._connection.execute(statement, (parameter,)).fetchone()
        return None if row is None else row[0]

    def _check_passable(self, error: sqlite3.DatabaseError) -> None:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in self._passable:
            raise error


def _end(item: list[Frame] | Hole) -> int:
    return item.last_offset if isinstance(item, Hole) else item[-1].offset
