"""The oldest rows of a journal, which are the first to be removed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Generator
from contextlib import closing
from itertools import chain, islice, pairwise

import msgspec

from rxbridge.journal.bookkeeping import RECORD_CORRUPT_GAP, gap_columns
from rxbridge.journal.interface import Gap
from rxbridge.journal.packing import DamagedRow, Row, unpack
from rxbridge.journal.schema import UnusableFile
from rxbridge.messages import Frame

ROWS_AT_ONCE = 256
"""How many rows one transaction removes at most."""

# Without the bodies, so without a proof that they are right. A damaged column may hold a value of any type.
_OLDEST = """
SELECT first_offset, coalesce(CAST(last_received_at AS INTEGER), 0), coalesce(CAST(bytes_before AS INTEGER), -1)
FROM rows ORDER BY first_offset LIMIT ?
"""


# The row of the first offset begins at it or before it.
_COUNTED = """
SELECT first_offset, coalesce(CAST(frames AS INTEGER), 0) FROM rows
WHERE first_offset >= coalesce((SELECT max(first_offset) FROM rows WHERE first_offset <= ?1), 0) AND first_offset <= ?2
"""


class OldRow(msgspec.Struct, frozen=True):
    """What decides about a row.

    Attributes:
        first_offset: The offset of its first frame.
        last_offset: That of its last.
        received_at: When its last frame was received: nanoseconds since the Unix epoch.
        bytes_before: The bytes that were ever stored before it.
        is_newest: Whether it is the newest row as well.
    """

    first_offset: int
    last_offset: int
    received_at: int
    bytes_before: int
    is_newest: bool


def oldest_rows(connection: sqlite3.Connection, last_offset: int, stored_bytes: int) -> Generator[OldRow]:
    """The oldest rows, in order.

    Args:
        connection: Where from.
        last_offset: The newest offset ever given out.
        stored_bytes: The bytes that were ever stored.

    Raises:
        UnusableFile: Their numbers contradict each other: nothing may be removed by such numbers.
    """
    with closing(connection.execute(_OLDEST, (ROWS_AT_ONCE + 1,))) as headers:
        for header, following in islice(pairwise(chain(headers, (None,))), ROWS_AT_ONCE):
            first, received_at, bytes_before = header
            next_offset, _, next_bytes = following or (last_offset + 1, 0, stored_bytes)
            if not (first < next_offset <= last_offset + 1 and 0 <= bytes_before <= next_bytes <= stored_bytes):
                raise UnusableFile(f"the rows at offset {first} are out of order")
            yield OldRow(first, next_offset - 1, received_at, bytes_before, is_newest=following is None)


def frames_between(connection: sqlite3.Connection, first: int, last: int) -> int:
    """How many frames the rows have from an offset to another one, both inclusive, by their headers."""
    rows = connection.execute(_COUNTED, (first, last))
    ranges = (range(max(begin, first), min(begin + count - 1, last) + 1) for begin, count in rows)
    return sum(map(len, ranges))


def sound_frames(connection: sqlite3.Connection, row: OldRow) -> list[Frame]:
    """The frames of a row that is to be dropped; none if it is damaged, which is recorded."""
    columns = connection.execute("SELECT * FROM rows WHERE first_offset = ?", (row.first_offset,)).fetchone()
    try:
        return unpack(Row(*columns))
    except DamagedRow as error:
        count = row.last_offset - row.first_offset + 1
        gap = Gap("corrupt", f"damaged: {error}", time.time_ns(), row.first_offset, row.last_offset, count, 0)
        connection.execute(RECORD_CORRUPT_GAP, gap_columns(gap))
        return []
