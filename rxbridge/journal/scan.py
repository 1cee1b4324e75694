"""Reading rows in order, past whatever is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import closing

import msgspec

from rxbridge.journal.packing import DamagedRow, Row, unpack
from rxbridge.journal.schema import UnusableFile, single
from rxbridge.messages import Frame

# Beginning with the row that holds the offset, which may have begun below it.
_ROWS_FROM = """
SELECT * FROM rows
WHERE first_offset >= coalesce((SELECT max(first_offset) FROM rows WHERE first_offset <= ?1), 0)
ORDER BY first_offset
"""
# The condition cannot be searched for, so this goes through the whole tree, whose inner nodes may be wrong.
_ALL_ROWS_FROM = "SELECT * FROM rows WHERE first_offset + frames > ? ORDER BY first_offset"
_HOLDING_ROW = "SELECT * FROM rows WHERE first_offset <= ? ORDER BY first_offset DESC LIMIT 1"
_FOLLOWING_ROW = "SELECT * FROM rows WHERE first_offset >= ? ORDER BY first_offset LIMIT 1"
# A damaged count may be a value of any type and size. The body's length needs no intact body, and a frame takes bytes.
_END_OF_HOLDING_ROW = """
SELECT first_offset + coalesce(max(min(CAST(frames AS INTEGER), length(body)), 1), 1) - 1 FROM rows
WHERE first_offset <= ? ORDER BY first_offset DESC LIMIT 1
"""
_LONGEST_STEP = 1024
_LONGEST_SEARCH = 2**48
_DAMAGED: list[Frame] = []
"""Stands for a row that cannot be read; a row that can be has at least one frame."""


class Hole(msgspec.Struct, frozen=True):
    """Offsets whose frames cannot be read, inclusive, and why."""

    first_offset: int
    last_offset: int
    reason: str


class Scanner:
    """Reads the rows of a journal, and believes none but those whose checksum is right.

    After a page that SQLite cannot read, the next sound row is searched in growing steps, of a thousand offsets or a
    sixty-fourth of the way at most, so sound rows between two such pages near to each other may be passed over as well.

    Args:
        connection: Where from.
        passes_io_errors: Whether a page that the disk does not deliver counts as damaged; else that raises.
    """

    def __init__(self, connection: sqlite3.Connection, *, passes_io_errors: bool) -> None:
        self._connection = connection
        # A damaged length may be one that SQLite finds too large.
        self._passable = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_TOOBIG}
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
                # It is there, or at the row behind it: SQLite looks ahead.
                self._check_passable(error)
                reason = f"damaged: {error}"
            else:
                return
            row = self._search(position)
            if row is None:
                yield from self._last_hole(position, reason)
                return
            if row[0].offset > position:
                yield Hole(position, row[0].offset - 1, reason)
            yield row
            position = row[-1].offset + 1
            statement = _ROWS_FROM

    def _rows(self, statement: str, position: int) -> Generator[list[Frame] | Hole]:
        begin = position
        stored: int | None = None
        damage = ""
        with closing(self._connection.execute(statement, (position,))) as cursor:
            for columns in cursor:
                row = Row(*columns)
                try:
                    frames = unpack(row)
                except DamagedRow as error:
                    # Not even its offset is certain: the next sound row tells what is missing.
                    if stored is None and not damage:
                        # What is below the oldest row is no hole: it was removed.
                        begin = max(begin, row.first_offset)
                    damage = damage or f"damaged: {error}"
                    continue
                if row.first_offset > position:
                    searched = statement == _ROWS_FROM and stored is None and not damage
                    if searched and row.first_offset != self._oldest():
                        raise UnusableFile(f"a search for offset {position} has led to {row.first_offset}")
                    # Offsets may leap, where a file was replaced; the count of what was stored does not.
                    if not damage and stored is not None and row.frames_before > stored:
                        damage = "rows have disappeared"
                    if damage:
                        yield Hole(begin if begin < row.first_offset else position, row.first_offset - 1, damage)
                damage = ""
                stored = row.frames_before + row.frames
                if frames[-1].offset >= position:
                    yield frames[max(position - row.first_offset, 0) :]
                    begin = position = frames[-1].offset + 1
        if damage:
            yield from self._last_hole(position, damage)

    def _last_hole(self, position: int, reason: str) -> Generator[Hole]:
        """What is damaged at the end, behind which nothing sound is: the rows say where they end, if they are found."""
        last = position - 1
        while True:
            found = self._connection.execute(_END_OF_HOLDING_ROW, (last + 1,)).fetchone()
            if found is None:
                raise UnusableFile(reason)
            if found[0] <= last:
                break
            last = found[0]
        if last >= position:
            yield Hole(position, last, reason)

    def _oldest(self) -> int:
        return single(self._connection, "SELECT first_offset FROM rows ORDER BY first_offset LIMIT 1")

    def _search(self, position: int) -> list[Frame] | None:
        """The first sound row at or above `position` that can be found; None if there is none."""
        low, high, step = position - 1, position, 1
        # Growing steps, until there is something sound or nothing at all; then halves of the last step.
        while (found := self._try_row(high)) is _DAMAGED:
            distance = high - position
            if distance > _LONGEST_SEARCH:
                return None
            low, high, step = high, high + step, min(step * 2, max(_LONGEST_STEP, distance // 64))
        while high - low > 1:
            middle = (low + high) // 2
            row = self._try_row(middle)
            if row is _DAMAGED:
                low = middle
            else:
                high, found = middle, row
        return found or None

    def _try_row(self, position: int) -> list[Frame] | None:
        """As `_next_row`; `_DAMAGED` if that cannot be read."""
        try:
            return self._next_row(position)
        except DamagedRow:
            return _DAMAGED
        except sqlite3.DatabaseError as error:
            self._check_passable(error)
            return _DAMAGED

    def _next_row(self, position: int) -> list[Frame] | None:
        """The frames from `position` on of the row that holds it, or else of the row that follows."""
        for statement in (_HOLDING_ROW, _FOLLOWING_ROW):
            columns = self._connection.execute(statement, (position,)).fetchone()
            if columns is not None:
                frames = [frame for frame in unpack(Row(*columns)) if frame.offset >= position]
                if frames:
                    return frames
        return None

    def _check_passable(self, error: sqlite3.DatabaseError) -> None:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in self._passable:
            raise error


def _end(item: list[Frame] | Hole) -> int:
    return item.last_offset if isinstance(item, Hole) else item[-1].offset
